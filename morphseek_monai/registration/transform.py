"""The result as an ITK transform: made, written, read, applied to points and images.

ITK counts in LPS millimetres, this package in RAS; the two meet here. A transform maps points of the fixed image to
points of the moving image; an image therefore goes the other way: resampling the *moving* image with it gives the
warped image on the *fixed* grid.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.data.errors import DataError
from morphseek_monai.data.files import replacing, require_file, reserve
from morphseek_monai.data.grid import Grid
from morphseek_monai.data.itk_image import RAS_TO_LPS, place, to_itk
from morphseek_monai.fields import ddf_to_world, world_to_ddf
from morphseek_monai.lazy import lazy_module

itk = lazy_module("itk")

TEXT = (".tfm", ".txt")
WRITABLE = (".h5", ".hdf5", *TEXT)
OVERHEAD = 2**20  # bytes of a transform file, at most, beside its parameters

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
    composite = itk.CompositeTransform[itk.D, 3].New()
    composite.AddTransform(_affine_transform(affine, itk.D))
    if ddf is not None:
        world = ddf_to_world(ddf.detach().cpu().double(), grid.affine)[0]
        composite.AddTransform(field_transform(world.permute(3, 2, 1, 0).numpy(), grid))
    return composite


def field_transform(displacement: NDArray[Any], grid: Grid) -> Any:
    """A displacement field as an ITK transform in double precision.

    Args:
        displacement: ``(Z, Y, X, 3)`` LPS mm, in ITK's order of axes.
        grid: where it is defined.
    """
    transform = itk.DisplacementFieldTransform[itk.D, 3].New()
    lps = RAS_TO_LPS @ grid.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    # ITK's wheel has no images of double vectors; the transform takes the numbers all the same
    geometry = [np.array(grid.size), lps[:3, 3], spacing, (lps[:3, :3] / spacing).ravel()]
    transform.SetFixedParameters(_parameters(np.concatenate(geometry)))
    transform.SetParameters(_parameters(displacement.ravel()))
    return transform


def members(transform: Any) -> list[Any]:
    """The transforms of a composite, nested ones taken apart, in the order they were added: the **last acts first**."""
    if transform.GetNameOfClass() != "CompositeTransform":
        return [transform]
    parts = [itk.down_cast(transform.GetNthTransform(n)) for n in range(transform.GetNumberOfTransforms())]
    return [member for part in parts for member in members(part)]


def write_transform(path: str | os.PathLike[str], transform: Any) -> None:
    """Write a transform, whole or not at all.

    Affine parts and displacement fields are written in single precision (half the file; 1e-5 mm), which every reader
    converts; a transform of another kind keeps the whole file in double precision.

    Args:
        path: ``.h5`` or ``.hdf5`` (binary, compressed), or ``.tfm``, ``.txt`` (text).
        transform: what :func:`make_transform` or :func:`read_transform` returned.

    Raises:
        DataError: the name has another ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in WRITABLE:
        raise DataError(f"transform {path} must end in one of {', '.join(WRITABLE)}; .h5 holds every transform")
    parts = members(transform)
    single = [_single_precision(part) for part in parts]
    whole: Any = itk.CompositeTransform[itk.D if None in single else itk.F, 3].New()
    for part in parts if None in single else single:
        whole.AddTransform(part)
    numbers = sum(part.GetNumberOfParameters() for part in parts)
    with replacing(path) as temporary:
        reserve(temporary, (10 if None in single else 5) * numbers + OVERHEAD)  # of 8 and 4 bytes
        try:
            itk.transformwrite([whole], os.fspath(temporary), compression=True)
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error).strip().splitlines()[-1]) from error
        if path.suffix in TEXT and _is_cut_off(temporary, len(parts)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_transform(path: str | os.PathLike[str]) -> Any:
    """Read any transform file of ITK, ANTs or 3D Slicer as one composite transform in double precision.

    Args:
        path: ``.h5``, ``.tfm``, ``.txt``, ``.mat``; several transforms in one file act as ITK's composites do, the last
            first.

    Raises:
        DataError: it is missing, no transform file, or not three-dimensional.
    """
    require_file(path, "transform")
    try:
        found = itk.transformread(os.fspath(path))
    except Exception as error:  # SWIG raises RuntimeError, or TypeError for a suffix that no reader knows
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        cure = "give a transform file of ITK, e.g. .h5"
        raise DataError(f"transform {path} cannot be read ({reason}); {cure}") from error
    composite = itk.CompositeTransform[itk.D, 3].New()
    for transform in found:
        if transform.GetInputSpaceDimension() != 3:
            raise DataError(f"transform {path} must be 3-D, its {transform.GetNameOfClass()} is not; give another")
        for member in members(transform):
            composite.AddTransform(member)
    return composite


def map_points(transform: Any, points: NDArray[Any]) -> NDArray[np.float64]:
    """Map points, ``(N, 3)`` RAS mm -> ``(N, 3)`` RAS mm."""
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
    outside: float = 0.0,
) -> NDArray[Any]:
    """Resample an image once, by ITK: what ``SimpleITK.Resample`` and ``antsApplyTransforms`` do with the same file.

    Args:
        array: ``(X, Y, Z)`` of the image that is resampled.
        affine: ``(4, 4)`` its voxel -> RAS mm.
        transform: points of ``grid`` -> points of the image.
        grid: of the output.
        interpolation: ``linear``, ``nearest``, ``bspline`` (cubic) or ``sinc`` (Hamming window of radius 3).
        outside: value of points that come from beyond the image.

    Returns:
        ``(X, Y, Z)`` of ``grid``; with ``nearest`` in the array's own dtype, else float32.

    Raises:
        ValueError: an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"resample() 'interpolation' must be of {INTERPOLATIONS}, got {interpolation!r}")
    # float64 holds every label exactly; ITK's wheel knows few integer types
    exact = interpolation == "nearest" and array.dtype != np.float32
    image = to_itk(array.astype(np.float64 if exact else np.float32, copy=False), affine)
    resampler = itk.ResampleImageFilter.New(Input=image, Transform=transform)
    resampler.SetInterpolator(_interpolator(interpolation, type(image)))
    resampler.SetReferenceImage(_reference(grid))
    resampler.SetUseReferenceImage(True)
    resampler.SetDefaultPixelValue(float(outside))
    resampler.Update()
    result: NDArray[Any] = itk.array_from_image(resampler.GetOutput()).transpose(2, 1, 0)
    return result.astype(array.dtype) if exact else result


def to_ddf(transform: Any, grid: Grid) -> Tensor:
    """Sample a whole transform as one displacement field, ``(1, 3, X, Y, Z)`` in voxels of ``grid``."""
    image_type = itk.Image[itk.Vector[itk.F, 3], 3]
    source = itk.TransformToDisplacementFieldFilter[image_type, itk.D].New(Transform=transform)
    source.SetUseReferenceImage(True)
    source.SetReferenceImage(_reference(grid))
    source.Update()
    displacement = torch.from_numpy(itk.array_from_image(source.GetOutput())).permute(3, 2, 1, 0)
    return world_to_ddf(displacement[None].double(), grid.affine).float()


def _reference(grid: Grid) -> Any:
    """An image without voxels that tells where an output lies."""
    image = itk.Image[itk.F, 3].New()
    image.SetRegions([int(n) for n in grid.size])
    return place(image, grid.affine)


def _interpolator(name: str, image: Any) -> Any:
    if name == "nearest":
        return itk.NearestNeighborInterpolateImageFunction[image, itk.D].New()
    if name == "bspline":
        return itk.BSplineInterpolateImageFunction[image, itk.D, itk.F].New()
    if name == "sinc":
        return itk.WindowedSincInterpolateImageFunction[image, 3, itk.HammingWindowFunction[3]].New()
    return itk.LinearInterpolateImageFunction[image, itk.D].New()


def _parameters(values: NDArray[Any]) -> Any:
    vector = itk.vnl_vector_from_array(np.ascontiguousarray(values, dtype=np.float64))
    return itk.OptimizerParameters[itk.D](itk.Array[itk.D](vector))


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


def _is_cut_off(path: Path, transforms: int) -> bool:
    """Whether a text file ends early, for ITK's writer of text does not notice a full disk."""
    text = path.read_bytes()
    return not text.endswith(b"\n") or text.count(b"\nFixedParameters:") < transforms


def _single_precision(transform: Any) -> Any | None:
    """A linear transform or a displacement field in single precision, None for other kinds."""
    if transform.GetNameOfClass() == "DisplacementFieldTransform":
        values, grid = field_of(transform)
        image = itk.image_from_array(values.astype(np.float32), ttype=itk.Image[itk.Vector[itk.F, 3], 3])
        single = itk.DisplacementFieldTransform[itk.F, 3].New()
        single.SetDisplacementField(place(image, grid.affine))
        return single
    matrix = linear_of(transform)
    return None if matrix is None else _affine_transform(matrix, itk.F)


def _affine_transform(matrix: NDArray[Any], pixel: Any) -> Any:
    lps = RAS_TO_LPS @ np.asarray(matrix, dtype=np.float64) @ RAS_TO_LPS
    linear = np.ascontiguousarray(lps[:3, :3], dtype=np.float64 if pixel == itk.D else np.float32)
    transform = itk.AffineTransform[pixel, 3].New()
    transform.SetMatrix(itk.matrix_from_array(linear))
    transform.SetOffset(lps[:3, 3].tolist())
    return transform
