"""Non-diffeomorphic volume: what a deformation folds of the space between the voxels.

Liu et al., "On finite difference Jacobian computation in deformable image registration", IJCV 2024.
"""

from __future__ import annotations

import itertools

import torch

from .arguments import check_ddf, check_mask
from .jacobian import SLAB_VOXELS

# Each tetrahedron by its three edges from the voxel, in voxels. A cube of eight voxels falls into a central one and
# one at each of four corners, in two ways that mirror each other; a voxel is the tip of eight corners and two centres.
# The number is 1 where the edges are right-handed, -1 where they are not.
TETRAHEDRA = {
    **{((x, 0, 0), (0, y, 0), (0, 0, z)): x * y * z for x, y, z in itertools.product((1, -1), repeat=3)},
    **{((s, s, 0), (0, s, s), (s, 0, s)): s for s in (1, -1)},
}
NEIGHBOURS = {edge for edges in TETRAHEDRA for edge in edges}


def ndv_percent(ddf: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Non-diffeomorphic volume (NDV), as the LUMIR challenge counts it.

    At each voxel ten tetrahedra of it and its neighbours are moved by the field. The volume of those that are turned
    inside out is summed (half of it, since the ten belong to two divisions of space) and divided by the number of
    voxels. It measures how much space folds, `njd_percent` how many voxels have a non-positive central difference,
    which misses folds between two voxels: the two differ, by a factor of several in either direction.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.
        mask: optional `(B, 1, D, H, W)`, non-zero counts; batch 1 is shared. LUMIR takes the voxels where the moving
            image is above 0. The outermost voxels of the volume never count.

    Returns:
        Percentages `(B,)`, which have no upper bound; NaN where the mask is empty, and for a field with NaN there.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when the shapes do not fit or an axis has fewer than three voxels.

    Example:
        >>> mirror = -2 * torch.arange(4.0).view(1, 1, 4, 1, 1) * torch.eye(3)[0].view(1, 3, 1, 1, 1)
        >>> ndv_percent(mirror.expand(1, 3, 4, 4, 4))
        tensor([100.])
    """
    ddf = check_ddf(ddf, "ndv_percent", "ddf")
    if min(ddf.shape[2:]) < 3:
        raise ValueError(f"ndv_percent() 'ddf' must have at least 3 voxels per axis, got {list(ddf.shape)}")
    if mask is not None:
        check_mask(mask, ddf, "ndv_percent")
    shares = []
    for item, field in enumerate(ddf):
        inside = torch.ones_like(field[0], dtype=torch.bool)
        if mask is not None:
            inside = mask[min(item, mask.shape[0] - 1), 0] != 0
        inside = inside[1:-1, 1:-1, 1:-1]
        # one number of large float32 sums would lose small folds
        shares.append(100.0 * _inverted_volume(field, inside) / torch.count_nonzero(inside).double())
    return torch.stack(shares).to(ddf.dtype)


def _inverted_volume(field: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Volume in voxels of what is inside out, of one field `(3, D, H, W)`, slab by slab along D."""
    thickness = max(1, SLAB_VOXELS // field[0, 0].numel())
    total = field.new_zeros((), dtype=torch.float64)
    for start in range(0, len(inside), thickness):
        counted = inside[start : start + thickness]
        slab = field[:, start : start + len(counted) + 2].double()
        tip = _shifted(slab, (0, 0, 0))
        moved = {by: _shifted(slab, by) - tip + slab.new_tensor(by).view(3, 1, 1, 1) for by in NEIGHBOURS}
        for edges, hand in TETRAHEDRA.items():
            a, b, c = (moved[edge] for edge in edges)
            volume = _determinant(a, b, c) * (hand / 6)  # negative where it is inside out
            total += (-0.5 * volume.clamp_(max=0)).masked_fill_(~counted, 0).sum()
    return total


def _determinant(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Of three edges `(3, D, H, W)` at every voxel."""
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


def _shifted(field: torch.Tensor, by: tuple[int, int, int]) -> torch.Tensor:
    """Values of the neighbours at the inner voxels."""
    where = [slice(1 + step, size - 1 + step) for step, size in zip(by, field.shape[1:])]
    return field[:, where[0], where[1], where[2]]
