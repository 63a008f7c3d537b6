"""The inverse of a transform, and how far it is from one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.fields import ddf_to_world, invert, invert_by_voxel, resize_ddf, world_to_ddf
from morphseek_monai.space.grid import Grid

from .compose import compose_transforms
from .transform import field_of, linear_of, make_transform, members, to_ddf

itk = lazy_module("itk")

__all__ = ["InverseError", "Inversion", "invert_transform", "measure_inverse"]

_COARSEST = 16  # voxels: below this the field is inverted outright
_ITERATIONS = 10  # on every finer grid
_TOLERANCE = 1e-3  # voxel
_MOST_POINTS = 250_000  # that the error is measured at
_ROUNDING = 1e-3  # of a voxel: a border that does not move stays on the grid


class InverseError(NamedTuple):
    """Distance in mm between points and where the transform and then its inverse bring them; NaN without points.

    Attributes:
        mean: of all points.
        p95: 95 % of the points are closer.
        maximum: of all points.
        points: how many were measured; those that a displacement field carries off its grid do not count, since
            nothing is known there.
    """

    mean: float
    p95: float
    maximum: float
    points: int


class Inversion(NamedTuple):
    """Result of :func:`invert_transform`.

    Attributes:
        transform: ``itk.CompositeTransform[itk.D, 3]``, the inverse.
        error: measured with it.
    """

    transform: Any
    error: InverseError


def invert_transform(transform: Any, grid: Grid) -> Inversion:
    """Invert a composite of linear transforms and displacement fields.

    Linear members are inverted exactly. A field is inverted on its own grid by the fixed-point iteration of
    :func:`morphseek_monai.fields.invert_by_voxel`, begun on coarser grids, which saves most of the time; where the
    field folds there is no inverse, and the error tells.

    Args:
        transform: points of the fixed image -> points of the moving image.
        grid: of the fixed image, where the error is measured.

    Raises:
        DataError: a member is neither linear nor a displacement field, or is linear but singular.
    """
    composite = itk.CompositeTransform[itk.D, 3].New()
    # of ITK's composites the last acts first: adding the inverses in the order of action reverses it
    for member in reversed(members(transform)):
        composite.AddTransform(_invert_member(member))
    return Inversion(composite, measure_inverse(transform, composite, grid))


def measure_inverse(transform: Any, inverse: Any, grid: Grid) -> InverseError:
    """Measure ``|inverse(transform(x)) - x|`` at voxel centres of a grid.

    Args:
        transform: an ITK transform.
        inverse: of it.
        grid: where; of large grids every second, third, ... voxel along each axis.
    """
    stride = int(np.ceil((np.prod(grid.size) / _MOST_POINTS) ** (1 / 3)))
    strides = [min(stride, n - 1) for n in grid.size]  # two voxels of every axis at least
    size = [-(-n // stride) for n, stride in zip(grid.size, strides, strict=True)]
    coarse = Grid.from_size(size, grid.affine @ np.diag([*strides, 1.0]))
    moved = ddf_to_world(to_ddf(compose_transforms([transform, inverse]), coarse), coarse.affine)
    error = torch.linalg.vector_norm(moved[0], dim=0)[_stays(transform, coarse)].double()
    if not error.numel():
        return InverseError(np.nan, np.nan, np.nan, 0)
    p95 = float(torch.quantile(error, 0.95))
    return InverseError(float(error.mean()), p95, float(error.max()), error.numel())


def _stays(transform: Any, grid: Grid) -> Tensor:
    """Voxels of a grid that every displacement field of a transform leaves on its own grid, ``(X, Y, Z)``."""
    parts = members(transform)
    inside = torch.ones(grid.size, dtype=torch.bool)
    for number, part in enumerate(parts):
        if part.GetNameOfClass() != "DisplacementFieldTransform":
            continue
        own = field_of(part)[1]
        into = np.linalg.solve(own.affine, grid.affine)
        until = compose_transforms(parts[number:][::-1])
        voxels = np.indices(grid.size) + to_ddf(until, grid)[0].double().numpy()
        target: NDArray[np.float64] = np.tensordot(into[:3, :3], voxels, 1) + into[:3, 3].reshape(3, 1, 1, 1)
        last = np.array(own.size).reshape(3, 1, 1, 1) - 1
        inside &= torch.from_numpy(((target >= -_ROUNDING) & (target <= last + _ROUNDING)).all(axis=0))
    return inside


def _invert_member(member: Any) -> Any:
    if member.GetNameOfClass() == "DisplacementFieldTransform":
        values, grid = field_of(member)
        displacement = torch.from_numpy(np.array(values, dtype=np.float32)).permute(3, 2, 1, 0)[None]
        inverse = _invert_field(world_to_ddf(displacement, grid.affine))
        return members(make_transform(np.eye(4), inverse, grid))[-1]
    matrix = linear_of(member)
    if matrix is None:
        raise DataError(
            f"a {member.GetNameOfClass()} cannot be inverted; make it a displacement field first:"
            " morphseek compose --transforms FILE --grid FIXED --out FIELD.h5"
        )
    try:
        inverse_matrix = np.linalg.inv(matrix)
    except np.linalg.LinAlgError as error:
        raise DataError(f"a linear {member.GetNameOfClass()} is singular and has no inverse; register again") from error
    return members(make_transform(inverse_matrix, None, Grid((1, 1, 1), np.eye(4))))[0]


def _invert_field(ddf: Tensor) -> Tensor:
    """Coarse to fine: the inverse on half the grid is a start from which few iterations lead to the inverse."""
    size = list(ddf.shape[2:])
    if min(size) < _COARSEST:
        return invert(ddf).ddf
    coarse = _invert_field(resize_ddf(ddf, [(n + 1) // 2 for n in size]))
    return invert_by_voxel(ddf, _ITERATIONS, _TOLERANCE, resize_ddf(coarse, size))
