"""The refinement loop of a registration network, for all that look into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .morphseek_net import MorphSeekNet

__all__ = ["no_displacement", "rollout"]


def no_displacement(image: Tensor) -> Tensor:
    """The field ``(B, 3, D, H, W)`` that moves nothing, on the grid of ``image`` ``(B, C, D, H, W)``."""
    return torch.zeros_like(image[:, :1]).expand(-1, 3, -1, -1, -1)


def rollout(network: MorphSeekNet, image: Tensor, latent: Callable[[Tensor], Tensor] | None = None) -> Iterator[Tensor]:
    """The accumulated field after each refinement step, without end: the caller takes as many as it wants.

    ``MorphSeekNet.forward`` is the same loop for TorchScript and ONNX, which know no generators.

    Args:
        network: in evaluation mode.
        image: ``(B, 2, D, H, W)``, channel 0 moving, channel 1 fixed.
        latent: from the top feature ``(B, C, d, h, w)`` to what is decoded; None takes the policy's mean.

    Yields:
        ``(B, 3, D, H, W)`` in voxels; ``network.steps`` of them lead to the network's own answer.

    Example:
        >>> from itertools import islice
        >>> from morphseek_monai.networks import MorphSeekNet, VoxelMorph
        >>> network = MorphSeekNet(VoxelMorph((4, 8), (8, 8), (4,)), steps=2).eval()
        >>> pair = torch.rand(1, 2, 8, 8, 8)
        >>> [tuple(ddf.shape) for ddf in islice(rollout(network, pair), 2)]
        [(1, 3, 8, 8, 8), (1, 3, 8, 8, 8)]
    """
    moving, fixed = image[:, :1], image[:, 1:]
    ddf = no_displacement(image)
    for t in count():
        scale = network.scale(t)
        if latent is None:
            ddf = network.step(moving, fixed, ddf, scale)
        else:
            encoding = network.observe(moving, fixed, ddf, scale)
            ddf = network.act(encoding.skips, latent(encoding.top), ddf, scale)
        yield ddf
