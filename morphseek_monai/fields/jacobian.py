"""Local measures of a deformation: Jacobian determinant, folding, spread of log J, displacement magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .arguments import check_ddf, check_mask

# Derivative maps of this many voxels stay in the processor cache: four times as fast as maps of the whole
# volume, for a fraction of their memory.
SLAB_VOXELS = 2**18


def _slab_determinant(field: torch.Tensor) -> torch.Tensor:
    """Determinant of `I + du/dx` for one field `(3, D, H, W)`, differences as `numpy.gradient`."""
    a, b, c = torch.gradient(field[0], dim=(0, 1, 2))
    d, e, f = torch.gradient(field[1], dim=(0, 1, 2))
    g, h, i = torch.gradient(field[2], dim=(0, 1, 2))
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _determinant(field: torch.Tensor) -> torch.Tensor:
    """`_slab_determinant` slab by slab along D, each with one slice of overlap, `(D, H, W)`."""
    depth = field.shape[1]
    thickness = max(1, SLAB_VOXELS // field[0, 0].numel())
    slabs = []
    for start in range(0, depth, thickness):
        first, stop = max(start - 1, 0), min(start + thickness, depth)
        slab = _slab_determinant(field[:, first : min(stop + 1, depth)])
        slabs.append(slab[start - first : stop - first])
    return torch.cat(slabs)


def _std(values: torch.Tensor) -> torch.Tensor:
    """Population standard deviation, NaN (without a warning) of nothing."""
    return values.std(correction=0) if values.numel() else values.new_full((), torch.nan)


def jacobian_determinant(ddf: torch.Tensor) -> torch.Tensor:
    """Determinant of the Jacobian of `x + u(x)`.

    Derivatives are those of `numpy.gradient`: central differences, one-sided at the borders, so that every
    voxel has a value. 1 keeps the local volume, below 1 shrinks, above 1 expands, 0 or below folds.

    Args:
        ddf: displacement field `u` `(B, 3, D, H, W)`, in voxels.

    Returns:
        Determinants `(B, D, H, W)`.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape or an axis has a single voxel.

    Example:
        >>> ddf = 0.5 * torch.arange(4.0).view(1, 1, 4, 1, 1) * torch.eye(3)[0].view(1, 3, 1, 1, 1)
        >>> jacobian_determinant(ddf.expand(1, 3, 4, 4, 4)).unique()
        tensor([1.5000])
    """
    ddf = check_ddf(ddf, "jacobian_determinant", "ddf")
    return torch.stack([_determinant(field) for field in ddf])


def njd_percent(ddf: torch.Tensor) -> torch.Tensor:
    """Percentage of voxels with a non-positive Jacobian determinant (folded voxels).

    `100 * mean(J <= 0)` over **all** voxels, `J` as in `jacobian_determinant`: the definition of VoxelMorph
    and TransMorph. Learn2Reg's official fold count is always 0, because it is taken after adding 3 to `J`.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.

    Returns:
        Percentages `(B,)`, 0 to 100; NaN for a field with NaN.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape or an axis has a single voxel.

    Example:
        >>> mirror = -2 * torch.arange(4.0).view(1, 1, 4, 1, 1) * torch.eye(3)[0].view(1, 3, 1, 1, 1)
        >>> njd_percent(mirror.expand(1, 3, 4, 4, 4))
        tensor([100.])
    """
    ddf = check_ddf(ddf, "njd_percent", "ddf")
    shares = []
    for field in ddf:
        determinant = _determinant(field)
        folded = torch.count_nonzero(determinant <= 0).double()
        shares.append(folded.masked_fill(determinant.isnan().any(), torch.nan))
    return (100.0 * torch.stack(shares) / ddf[0, 0].numel()).to(ddf.dtype)


def sdlogj(ddf: torch.Tensor) -> torch.Tensor:
    """Standard deviation of `log J` over the voxels with `J > 0`.

    The logarithm of a fold does not exist, so folds are left out here and counted by `njd_percent`; read the
    two together. This is not the number of the Learn2Reg leaderboards, which take `log(J + 3)` (see
    `sdlogj_l2r`).

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.

    Returns:
        Population standard deviations `(B,)`; NaN where every voxel folds, and for a field with NaN.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape or an axis has a single voxel.

    Example:
        >>> sdlogj(torch.zeros(1, 3, 4, 4, 4))
        tensor([0.])
    """
    ddf = check_ddf(ddf, "sdlogj", "ddf")
    determinants = (_determinant(field) for field in ddf)
    return torch.stack([_std(determinant[~(determinant <= 0)].log()) for determinant in determinants])


def sdlogj_l2r(ddf: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """SDlogJ exactly as the official Learn2Reg evaluation computes it (Hering et al., IEEE TMI 2023).

    `std(log(clip(J + 3, 1e-9, 1e9)))` over the volume without its outermost two voxels per side, folds
    included. The `+ 3` compresses the spread, so values compare with the leaderboards, not with `sdlogj`.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.
        mask: optional evaluation mask `(B, 1, D, H, W)` (non-zero counts), as in Learn2Reg tasks with
            `masked_evaluation`; batch 1 is shared.

    Returns:
        Population standard deviations `(B,)`; NaN where the mask is empty.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when the shapes do not fit or an axis has fewer than five voxels.

    Example:
        >>> sdlogj_l2r(torch.zeros(1, 3, 5, 5, 5))
        tensor([0.])
    """
    ddf = check_ddf(ddf, "sdlogj_l2r", "ddf")
    if min(ddf.shape[2:]) < 5:
        raise ValueError(f"sdlogj_l2r() 'ddf' must have at least 5 voxels per axis, got {list(ddf.shape)}")
    if mask is not None:
        check_mask(mask, ddf, "sdlogj_l2r")
    spreads = []
    for item, field in enumerate(ddf):
        # The crop leaves central differences only, on which numpy.gradient and the official filter agree.
        log = (_determinant(field)[2:-2, 2:-2, 2:-2] + 3).clamp(1e-9, 1e9).log()
        if mask is not None:
            log = log[mask[min(item, mask.shape[0] - 1), 0, 2:-2, 2:-2, 2:-2] != 0]
        spreads.append(_std(log))
    return torch.stack(spreads)


def displacement_magnitude(ddf: torch.Tensor, spacing: Sequence[float] | None = None) -> torch.Tensor:
    """Length of the displacement at every voxel.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.
        spacing: voxel sizes along D, H and W in mm; without them the length is in voxels.

    Returns:
        Lengths `(B, D, H, W)`, in voxels, or in mm with `spacing`.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape, an axis has a single voxel, or `spacing` is not three
            numbers.

    Example:
        >>> displacement_magnitude(torch.ones(1, 3, 4, 4, 4), spacing=(2.0, 2.0, 1.0)).unique()
        tensor([3.])
    """
    ddf = check_ddf(ddf, "displacement_magnitude", "ddf")
    if spacing is not None:
        if len(spacing) != 3:
            raise ValueError(f"displacement_magnitude() 'spacing' must be three numbers, got {list(spacing)}")
        ddf = ddf * ddf.new_tensor(list(spacing)).view(3, 1, 1, 1)
    return ddf.square().sum(1).sqrt()  # linalg.vector_norm() is ten times as slow here
