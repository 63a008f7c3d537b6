"""Alignment by moments: centre and size of two images brought together (compiled by TorchScript: plain typing only)."""

from typing import List, Tuple

import torch
from torch import Tensor

from morphseek_monai.fields.axes import build_axes
from morphseek_monai.networks.affine import affine_ddf


def moments_ddf(moving: Tensor, fixed: Tensor, largest_scale: float = 1.5) -> Tensor:
    """Displacement field that lays the moving image's centre of mass and size on those of the fixed image.

    The centre is the mean position weighted by intensity, the size the root mean square distance from it. A stub of
    neck that skull stripping left, or a wide field of view, moves both by little, whereas they decide where the box
    around the foreground lies. Rotation is left to what follows: second moments of a head tell it badly.

    Args:
        moving: ``(B, 1, D, H, W)``, intensities 0 (background) and above; batch 1 is shared.
        fixed: ``(B, 1, D, H, W)`` on the same grid.
        largest_scale: bound on the ratio of the sizes, either way; 1.5 covers an infant's brain beside a man's.

    Returns:
        Displacement field ``(B, 3, D, H, W)``, in voxels, on the fixed grid.

    Example:
        >>> image = torch.zeros(1, 1, 9, 9, 9)
        >>> image[..., 3:6, 3:6, 3:6] = 1
        >>> moments_ddf(image.roll(2, dims=2), image)[0, :, 4, 4, 4].round(decimals=3).abs()
        tensor([2., 0., 0.])
    """
    size: List[int] = [fixed.shape[2], fixed.shape[3], fixed.shape[4]]
    from_centre, from_radius = _moments(moving, size)
    to_centre, to_radius = _moments(fixed, size)
    scale = (from_radius / to_radius).clamp(1.0 / largest_scale, largest_scale)
    shift = from_centre - scale * to_centre
    turn = torch.eye(3, dtype=shift.dtype, device=shift.device) * (scale - 1.0).unsqueeze(2)
    return affine_ddf(torch.cat([turn, shift.unsqueeze(2)], dim=2), size)


def _moments(image: Tensor, size: List[int]) -> Tuple[Tensor, Tensor]:
    """Centre ``(B, 3)`` in coordinates from -1 to 1 between the edges, and radius ``(B, 1)`` in voxels."""
    tiny = 1e-6  # an image without any signal has no centre; it keeps its place instead of becoming NaN
    weights = image[:, 0].float().clamp_min(0.0)
    total = weights.sum([1, 2, 3]).clamp_min(tiny)
    centres: List[Tensor] = []
    square = torch.full_like(total, tiny)
    for i, axis in enumerate(build_axes(size, weights.device, weights.dtype)):
        normalised = (2.0 * axis + 1.0) / size[i] - 1.0
        centre = (weights * normalised).sum([1, 2, 3]) / total
        distance = (normalised - centre[:, None, None, None]) * (size[i] / 2)
        square = square + (weights * distance * distance).sum([1, 2, 3]) / total
        centres.append(centre)
    return torch.stack(centres, dim=1), square.sqrt().unsqueeze(1)
