"""Displacements in voxels <-> displacements in LPS millimetres, the world of ITK, ANTs and 3D Slicer."""

from __future__ import annotations

import numpy as np
import torch

from .arguments import check_vectors


def lps_affine(affine: torch.Tensor | np.ndarray, function: str) -> torch.Tensor:
    """Check a NiBabel affine (voxel -> RAS mm) and return voxel -> LPS mm, `(4, 4)` float64 on the CPU.

    Args:
        affine: voxel -> RAS mm, `(4, 4)`.
        function: name of the calling function, for the error message.

    Raises:
        ValueError: when `affine` is not `(4, 4)` with last row `(0, 0, 0, 1)`, not finite, or not invertible.
    """
    matrix = torch.as_tensor(affine, dtype=torch.float64, device="cpu")
    if matrix.shape != (4, 4):
        raise ValueError(f"{function}() 'affine' must have shape (4, 4), got {list(matrix.shape)}")
    if not bool(matrix.isfinite().all()) or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise ValueError(
            f"{function}() 'affine' must be finite with last row (0, 0, 0, 1), got {matrix.tolist()}; "
            "repair the header"
        )
    if float(torch.linalg.det(matrix[:3, :3])) == 0.0:
        raise ValueError(
            f"{function}() 'affine' must be invertible, got {matrix.tolist()}; repair the header"
        )
    return matrix * torch.tensor([[-1.0], [-1.0], [1.0], [1.0]], dtype=torch.float64)


def multiply(matrix: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Apply a matrix `(3, 3)` to every vector of a field `(B, 3, D, H, W)`."""
    # Products by single numbers rather than matmul(), which autocast and TF32 would round to half precision.
    rows: list[list[float]] = matrix.tolist()
    return torch.stack(
        [r[0] * vectors[:, 0] + r[1] * vectors[:, 1] + r[2] * vectors[:, 2] for r in rows], dim=1
    )


def ddf_to_world(ddf: torch.Tensor, affine: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Convert displacements from voxels to millimetres.

    The point at voxel `x` moves by `A u(x)`, where `A` is the linear part of voxel -> LPS: rotation, voxel
    size, flips and shear all count, the origin does not.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.
        affine: affine of the fixed image, voxel -> RAS mm as in NiBabel and `MetaTensor.affine`, `(4, 4)`.

    Returns:
        Displacements `(B, 3, D, H, W)` on the same grid, in mm; channels left, posterior, superior (LPS).

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape or `affine` is not an invertible `(4, 4)` affine.

    Example:
        >>> affine = torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0]))
        >>> ddf_to_world(torch.ones(1, 3, 2, 2, 2), affine)[0, :, 0, 0, 0]
        tensor([-2., -1.,  3.])
    """
    ddf = check_vectors(ddf, "ddf_to_world", "ddf")
    return multiply(lps_affine(affine, "ddf_to_world")[:3, :3], ddf)


def world_to_ddf(displacement: torch.Tensor, affine: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Convert displacements from millimetres to voxels, the inverse of `ddf_to_world`.

    Args:
        displacement: displacements `(B, 3, D, H, W)` in mm; channels left, posterior, superior (LPS).
        affine: affine of the fixed image, voxel -> RAS mm, `(4, 4)`.

    Returns:
        Displacement field `(B, 3, D, H, W)`, in voxels.

    Raises:
        TypeError: when `displacement` is not floating point.
        ValueError: when `displacement` has the wrong shape or `affine` is not an invertible `(4, 4)` affine.

    Example:
        >>> affine = torch.diag(torch.tensor([2.0, 1.0, 4.0, 1.0]))
        >>> world_to_ddf(torch.ones(1, 3, 2, 2, 2), affine)[0, :, 0, 0, 0]
        tensor([-0.5000, -1.0000,  0.2500])
    """
    displacement = check_vectors(displacement, "world_to_ddf", "displacement")
    return multiply(torch.linalg.inv(lps_affine(affine, "world_to_ddf")[:3, :3]), displacement)
