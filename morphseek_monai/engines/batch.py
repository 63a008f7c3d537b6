"""From a data loader's batch to what the engines compute with."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """One pair.

    Attributes:
        image: ``(1, 2, D, H, W)`` float32, channel 0 moving, channel 1 fixed.
        label: ``(1, 2, D, H, W)`` integers, or None for an unlabelled pair.
        mask: ``(1, 2, D, H, W)``, non-zero where the image counts, or None where everything does.
    """

    image: Tensor
    label: Tensor | None
    mask: Tensor | None


class PairBatch(NamedTuple):
    """A batch of pairs on the device.

    Attributes:
        image: ``(B, 2, D, H, W)`` float32, channel 0 moving, channel 1 fixed.
        label: ``(B, 2, D, H, W)`` integers, zeros where there is none.
        labelled: ``(B,)`` bool, on the CPU.
        mask: ``(B, 2, D, H, W)``, or None.
    """

    image: Tensor
    label: Tensor
    labelled: Tensor
    mask: Tensor | None

    def pair(self, i: int) -> Pair:
        """Pair ``i``, still with a batch axis."""
        one = slice(i, i + 1)
        label = self.label[one] if bool(self.labelled[i]) else None
        return Pair(self.image[one], label, None if self.mask is None else self.mask[one])


def prepare_pairs(
    batchdata: dict[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> PairBatch:
    """Move a batch of pairs to the device.

    Args:
        batchdata: ``image`` ``(B, 2, D, H, W)`` (moving, fixed); optional ``label`` and ``mask`` of the same shape,
            integer; optional ``labelled`` ``(B,)``, which pairs have labels (default: all, if there is a ``label``).
        device: where to.
        non_blocking: see :meth:`torch.Tensor.to`.
        kwargs: further arguments of :meth:`torch.Tensor.to` for the image.

    Raises:
        ValueError: When ``image`` is not a batch of pairs, or ``label`` or ``mask`` is of another shape or not integer.
    """
    image = _plain(batchdata["image"])
    if image.ndim != 5 or image.shape[1] != 2:
        raise ValueError(
            f"prepare_pairs() 'image' must be (B, 2, D, H, W) with channels moving, fixed, got {tuple(image.shape)}; "
            "use morphseek_monai.data.PairDataset"
        )
    label = _integers(batchdata, "label", image)
    mask = _integers(batchdata, "mask", image)
    if label is None:
        label, labelled = torch.zeros_like(image, dtype=torch.uint8), torch.zeros(len(image), dtype=torch.bool)
    else:
        labelled = torch.as_tensor(batchdata.get("labelled", torch.ones(len(image)))).bool().cpu()
    return PairBatch(
        image.to(device=device, dtype=torch.float32, non_blocking=non_blocking, **kwargs),
        label.to(device=device, non_blocking=non_blocking),
        labelled,
        None if mask is None else mask.to(device=device, non_blocking=non_blocking),
    )


def _integers(batchdata: dict[str, Any], key: str, image: Tensor) -> Tensor | None:
    if batchdata.get(key) is None:
        return None
    values = _plain(batchdata[key])
    if values.shape != image.shape or values.is_floating_point():
        raise ValueError(
            f"prepare_pairs() '{key}' must be integer of the image's shape {tuple(image.shape)}, got {values.dtype} "
            f"{tuple(values.shape)}"
        )
    return values


def _plain(x: Tensor) -> Tensor:
    """A MONAI MetaTensor without its metadata: cheaper in every operation, and nothing here needs it."""
    plain: Tensor = x.as_tensor() if hasattr(x, "as_tensor") else x
    return plain
