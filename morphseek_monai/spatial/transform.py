"""Transforms as ITK has them: made, taken apart, applied to points and images.

ITK counts in LPS millimetres, this package in RAS; the two meet here. A transform maps points of the fixed image to
points of the moving image; an image therefore goes the other way: resampling the *moving* image with it gives the
warped image on the *fixed* grid.

Loading ITK's transforms and filters takes seconds and 700 MiB. Whatever consists of matrices and displacement fields is
therefore applied by PyTorch, and needs none of them where it comes as a
:class:`~morphseek_monai.spatial.point_map.PointMap`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.fields import ddf_to_world, world_to_ddf
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.itk_image import RAS_TO_LPS
from morphseek_monai.spatial.itk_sampling import ddf_by_itk, resample_by_itk
from morphseek_monai.spatial.point_map import Field, PointMap, inside, interpolate, slabs

itk = lazy_module("itk")

INTERPOLATIONS = ("linear", "nearest", "bspline", "sinc")


def make_transform(affine: NDArray[Any], ddf: Tensor | None, grid: Grid) -> Any:
    """Build ``phi(x) = A(x + u(x))`` as an ITK composite transform in double precision.

    Args:
        affine: ``A``, ``(4, 4)``, RAS mm of the fixed image -> RAS mm of the moving image.
        ddf: ``u``, ``(1, 3, X, Y, Z)`` in voxels of ``grid``; zero beyond it. None leaves it out.
        grid: of ``u``.

    Returns:
        ``itk.CompositeTransform[itk.D, 3]`` of the affine and the displacement field; as everywhere in ITK the one
        added last, the field, acts first.
    """
    return composite(PointMap((affine,) if ddf is None else (Field(ddf, grid), affine)))


def composite(point_map: PointMap) -> Any:
    """A map of points as ``itk.CompositeTransform[itk.D, 3]``, 24 bytes per voxel of every field."""
    whole = itk.CompositeTransform[itk.D, 3].New()
    for one in reversed(point_map.maps):
        if isinstance(one, Field):
            world = ddf_to_world(one.ddf.detach().cpu().double(), one.grid.affine)[0]
            whole.AddTransform(field_transform(world.permute(3, 2, 1, 0).numpy(), one.grid))
        else:
            whole.AddTransform(_affine_transform(one))
    return whole


def point_map(transform: Any) -> PointMap | None:
    """The reverse of :func:`composite`, fields in single precision; None where a member is of another kind."""
    if isinstance(transform, PointMap):
        return transform
    maps: list[NDArray[np.float64] | Field] = []
    for member in reversed(members(transform)):  # the member added last acts first
        if member.GetNameOfClass() == "DisplacementFieldTransform":
            values, grid = field_of(member)
            displacement = torch.from_numpy(values.astype(np.float32)).permute(3, 2, 1, 0)
            maps.append(Field(world_to_ddf(displacement[None], grid.affine).contiguous(), grid))
            continue
        matrix = linear_of(member)
        if matrix is None:
            return None
        maps.append(matrix)
    return PointMap(tuple(maps))


def field_transform(displacement: NDArray[Any], grid: Grid) -> Any:
    """A displacement field as an ITK transform in double precision.

    Args:
        displacement: ``(Z, Y, X, 3)`` LPS mm, in ITK's order of axes.
        grid: where it is defined.
    """
    transform = itk.DisplacementFieldTransform[itk.D, 3].New()
    # ITK's wheel has no images of double vectors; the transform takes the numbers all the same
    transform.SetFixedParameters(_parameters(field_geometry(grid)))
    transform.SetParameters(_parameters(displacement.ravel()))
    return transform


def field_geometry(grid: Grid) -> NDArray[np.float64]:
    """ITK's fixed parameters of a displacement field ``(18,)``: size, origin, spacing, direction, LPS mm."""
    lps = RAS_TO_LPS @ grid.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return np.concatenate([np.array(grid.size), lps[:3, 3], spacing, (lps[:3, :3] / spacing).ravel()])


def members(transform: Any) -> list[Any]:
    """The transforms of a composite, nested ones taken apart, in the order they were added: the **last acts first**."""
    if transform.GetNameOfClass() != "CompositeTransform":
        return [transform]
    parts = [itk.down_cast(transform.GetNthTransform(n)) for n in range(transform.GetNumberOfTransforms())]
    return [member for part in parts for member in members(part)]


def map_points(transform: Any, points: NDArray[Any]) -> NDArray[np.float64]:
    """Map points, ``(N, 3)`` RAS mm -> ``(N, 3)`` RAS mm."""
    if isinstance(transform, PointMap):
        return transform.map_points(points)
    flip = RAS_TO_LPS.diagonal()[:3]
    lps = np.asarray(points, dtype=np.float64).reshape(-1, 3) * flip
    mapped = np.array([list(transform.TransformPoint(point)) for point in lps.tolist()], dtype=np.float64)
    result: NDArray[np.float64] = mapped.reshape(-1, 3) * flip
    return result


def resample(
    array: NDArray[Any],
    affine: NDArray[Any],
    transform: Any,
    grid: Grid,
    interpolation: str = "linear",
    outside: float | None = 0.0,
) -> NDArray[Any]:
    """Resample an image once, as ``SimpleITK.Resample`` and ``antsApplyTransforms`` do with the same transform.

    ``linear`` and ``nearest`` are computed here, slab by slab, the rest by ITK.

    Args:
        array: ``(X, Y, Z)`` of the image that is resampled.
        affine: ``(4, 4)`` its voxel -> RAS mm.
        transform: points of ``grid`` -> points of the image, a :class:`PointMap` or an ITK transform.
        grid: of the output.
        interpolation: ``linear``, ``nearest``, ``bspline`` (cubic) or ``sinc`` (Hamming window of radius 3).
        outside: value of points that come from beyond the image; None, with ``linear`` alone, continues its border.

    Returns:
        ``(X, Y, Z)`` of ``grid``; with ``nearest`` in the array's own dtype, else float32.

    Raises:
        ValueError: an unknown interpolation, or no value outside for one that needs it.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"resample() 'interpolation' must be of {INTERPOLATIONS}, got {interpolation!r}")
    chain = point_map(transform) if interpolation in ("linear", "nearest") else None
    if chain is None:
        if outside is None:
            raise ValueError("resample() 'outside' must be a number for an ITK transform, got None")
        whole = composite(transform) if isinstance(transform, PointMap) else transform
        return resample_by_itk(array, affine, whole, grid, interpolation, outside)
    result = np.empty(grid.size, dtype=array.dtype if interpolation == "nearest" else np.float32)
    if interpolation == "linear":
        volume = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
        for part in slabs(grid):
            result[part] = interpolate(volume, chain.places(grid, part, affine), outside)[0].numpy()
        return result
    if outside is None:
        raise ValueError("resample() 'outside' must be a number with interpolation 'nearest', got None")
    for part in slabs(grid):  # in double precision, or rounding would choose between two voxels at random
        where = chain.places(grid, part, affine, torch.float64)
        known = inside(where, array.shape).numpy()
        nearest = torch.floor(where + 0.5).nan_to_num(0.0)
        index = [nearest[axis].clamp(0, n - 1).long().numpy() for axis, n in enumerate(array.shape)]
        result[part] = np.where(known, array[tuple(index)], np.float64(outside).astype(array.dtype))
    return result


def to_ddf(transform: Any, grid: Grid) -> Tensor:
    """Sample a whole transform as one displacement field, ``(1, 3, X, Y, Z)`` in voxels of ``grid``."""
    chain = point_map(transform)
    if chain is None:
        return ddf_by_itk(transform, grid)
    result = torch.empty(1, 3, *grid.size)
    for part in slabs(grid):
        places = chain.places(grid, part, grid.affine, torch.float64)
        result[0, :, part] = (places - PointMap(()).places(grid, part, grid.affine, torch.float64)).float()
    return result


def field_of(transform: Any) -> tuple[NDArray[Any], Grid]:
    """Displacements ``(Z, Y, X, 3)`` in LPS mm, and the grid, of an ``itk.DisplacementFieldTransform``."""
    geometry = [float(value) for value in transform.GetFixedParameters()]
    x, y, z = (int(n) for n in geometry[:3])
    lps = np.eye(4)
    lps[:3, :3] = np.array(geometry[9:]).reshape(3, 3) * np.array(geometry[6:9])
    lps[:3, 3] = geometry[3:6]
    values: NDArray[Any] = itk.array_from_vnl_vector(transform.GetParameters()).reshape(z, y, x, 3)
    return values, Grid((x, y, z), RAS_TO_LPS @ lps)


def linear_of(transform: Any) -> NDArray[np.float64] | None:
    """Matrix ``(4, 4)``, RAS mm, of a linear ITK transform; None for any other."""
    if not transform.IsLinear():
        return None
    lps = np.eye(4)
    origin = np.array(list(transform.TransformPoint([0.0, 0.0, 0.0])))
    lps[:3, 3] = origin
    for axis in range(3):
        lps[:3, axis] = np.array(list(transform.TransformPoint(np.eye(3)[axis].tolist()))) - origin
    return RAS_TO_LPS @ lps @ RAS_TO_LPS


def _affine_transform(matrix: NDArray[Any]) -> Any:
    lps = RAS_TO_LPS @ np.asarray(matrix, dtype=np.float64) @ RAS_TO_LPS
    transform = itk.AffineTransform[itk.D, 3].New()
    transform.SetMatrix(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3])))
    transform.SetOffset(lps[:3, 3].tolist())
    return transform


def _parameters(values: NDArray[Any]) -> Any:
    vector = itk.vnl_vector_from_array(np.ascontiguousarray(values, dtype=np.float64))
    return itk.OptimizerParameters[itk.D](itk.Array[itk.D](vector))
