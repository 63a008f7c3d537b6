"""MIND-SSC descriptors in two halves, for the loss and for networks (compiled by TorchScript: plain typing only)."""

from typing import List

import torch
from torch import Tensor
from torch.nn import functional as F

from morphseek_monai.networks.box_mean import box_mean


def neighbour_differences(image: Tensor, dilation: int) -> Tensor:
    """Squared differences of the 12 pairs of face neighbours that do not lie opposite each other.

    Args:
        image: ``(B, 1, D, H, W)``; beyond its edge the nearest voxel counts.
        dilation: distance of the six neighbours in voxels.

    Returns:
        ``(B, 12, D, H, W)``.
    """
    padded = F.pad(image, [dilation] * 6, mode="replicate")
    neighbours: List[Tensor] = []
    for k in range(6):  # opposite ones are k and 5 - k
        moved = padded
        for axis in range(3):
            start = dilation
            if axis == k:
                start = 0
            elif axis == 5 - k:
                start = 2 * dilation
            moved = moved.narrow(axis + 2, start, image.shape[axis + 2])
        neighbours.append(moved)
    squares: List[Tensor] = []
    for i in range(6):
        for j in range(i):
            if i + j != 5:
                squares.append((neighbours[i] - neighbours[j]).square())
    return torch.cat(squares, dim=1)


def describe_differences(ssd: Tensor, smallest: float = 1e-10) -> Tensor:
    """From mean squared differences of patches to descriptors ``exp(-(ssd - min) / mean(ssd - min))``.

    Args:
        ssd: ``(B, 12, D, H, W)``.
        smallest: lower bound of the variance. The default is the square of one step of a 16 bit image scaled to
            [0, 1]: below it there is no contrast, only rounding.

    Returns:
        ``(B, 12, D, H, W)`` in (0, 1]; 1 where nothing can be seen.
    """
    excess = ssd - ssd.amin(dim=1, keepdim=True)
    variance = excess.mean(dim=1, keepdim=True)
    typical = variance.detach().mean(dim=[1, 2, 3, 4], keepdim=True)
    lowest = (1e-3 * typical).clamp(min=smallest)
    highest = (1e3 * typical).clamp(min=smallest)
    return torch.exp(excess / -torch.minimum(torch.maximum(variance, lowest), highest))


def mind_ssc(image: Tensor, radius: int, dilation: int) -> Tensor:
    """Descriptors of an image without its gradient; :class:`~morphseek_monai.losses.MINDSSCLoss` says what they are.

    Args:
        image: ``(B, 1, D, H, W)`` float32.
        radius: half edge of the cubic patches in voxels.
        dilation: distance of the six neighbours in voxels.

    Returns:
        ``(B, 12, D, H, W)`` in (0, 1].
    """
    differences = F.pad(neighbour_differences(image.detach(), dilation), [radius] * 6, mode="replicate")
    return describe_differences(box_mean(differences, 2 * radius + 1))
