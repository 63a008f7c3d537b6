"""Resampling by ITK: B-splines, windowed sinc, and transforms of kinds that only ITK knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.fields import world_to_ddf
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.itk_image import place, to_itk

itk = lazy_module("itk")


def resample_by_itk(
    array: NDArray[Any], affine: NDArray[Any], transform: Any, grid: Grid, interpolation: str, outside: float
) -> NDArray[Any]:
    """:func:`~morphseek_monai.spatial.transform.resample` by ITK, for what only ITK interpolates or applies."""
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


def ddf_by_itk(transform: Any, grid: Grid) -> Tensor:
    """:func:`~morphseek_monai.spatial.transform.to_ddf` by ITK, for transforms of any kind."""
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
