"""From a data loader's batch to what the engines compute with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def prepare_pairs(
    batchdata: dict[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Move a batch of pairs to the device.

    Args:
        batchdata: ``image`` ``(B, 2, D, H, W)`` (moving, fixed); optional ``label`` of the same shape, integer;
            optional ``labelled`` ``(B,)``, which pairs have labels (default: all, if there is a ``label``).
        device: where to.
        non_blocking: see :meth:`torch.Tensor.to`.
        kwargs: further arguments of :meth:`torch.Tensor.to` for the image.

    Returns:
        image (float32), label (zeros where there is none), labelled (bool, on the CPU).

    Raises:
        ValueError: When ``image`` is not a batch of pairs, or ``label`` has another shape or is not integer.
    """
    image = _plain(batchdata["image"])
    if image.ndim != 5 or image.shape[1] != 2:
        raise ValueError(
            f"prepare_pairs() 'image' must be (B, 2, D, H, W) with channels moving, fixed, got {tuple(image.shape)}; "
            "use morphseek_monai.data.PairDataset"
        )
    label = batchdata.get("label")
    if label is None:
        label, labelled = torch.zeros_like(image, dtype=torch.uint8), torch.zeros(len(image), dtype=torch.bool)
    else:
        label = _plain(label)
        labelled = torch.as_tensor(batchdata.get("labelled", torch.ones(len(image)))).bool().cpu()
    if label.shape != image.shape or label.is_floating_point():
        raise ValueError(
            f"prepare_pairs() 'label' must be integer of the image's shape {tuple(image.shape)}, got {label.dtype} "
            f"{tuple(label.shape)}"
        )
    image = image.to(device=device, dtype=torch.float32, non_blocking=non_blocking, **kwargs)
    return image, label.to(device=device, non_blocking=non_blocking), labelled


def _plain(x: Tensor) -> Tensor:
    """A MONAI MetaTensor without its metadata: cheaper in every operation, and nothing here needs it."""
    plain: Tensor = x.as_tensor() if hasattr(x, "as_tensor") else x
    return plain
