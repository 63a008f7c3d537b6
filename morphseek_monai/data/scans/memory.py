"""Scans that are in memory already, and results of the same type."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.space.itk_image import RAS_TO_LPS, from_itk, itk_affine

from ..pairs.requirements import source_name
from .nifti import load_nibabel
from .request import Loaded, Request, no_number

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor

itk = lazy_module("itk")

KEPT = ("filename_or_obj", "original_affine", "original_channel_dim", "spatial_shape")  # of a MetaTensor's meta data

__all__ = ["is_itk_image", "is_meta_tensor", "load_memory", "memory_name", "meta_tensor_like"]


def memory_name(source: Any) -> str:
    """What to call an object in messages: its file where it knows one, else its type.

    Raises:
        TypeError: no kind of image that is known.
    """
    if is_meta_tensor(source):
        return source_name(source, "MetaTensor")
    if isinstance(source, SpatialImage):
        return str(source.get_filename() or type(source).__name__)
    if is_itk_image(source):
        return "itk.Image"
    raise TypeError(
        "read_scan() 'source' must be a path, a NiBabel image, an itk.Image or a MetaTensor, got"
        f" {type(source).__module__}.{type(source).__name__}; give an array as MetaTensor(array, affine=...)"
    )


def load_memory(source: Any, request: Request) -> Loaded:
    """Copy an image out of an object.

    Args:
        source: what :func:`memory_name` knows.
        request: which volume of it.

    Raises:
        DataError: it is no volume.
    """
    if is_meta_tensor(source):
        return _load_meta_tensor(source, request)
    if isinstance(source, SpatialImage):
        return load_nibabel(source, request)
    return _load_itk_image(source, request)


def is_itk_image(source: Any) -> bool:
    """Whether an object is an image of ITK's Python package, with numbers or vectors."""
    return isinstance(source, itk.DataObject) and source.GetNameOfClass() in ("Image", "VectorImage")


def is_meta_tensor(source: Any) -> TypeGuard[MetaTensor]:
    """Whether an object is a MetaTensor of MONAI, which is not imported for it: whoever has one has done so."""
    module = sys.modules.get("monai.data.meta_tensor")
    return module is not None and isinstance(source, module.MetaTensor)


def _load_meta_tensor(source: MetaTensor, request: Request) -> Loaded:
    if source.ndim not in (3, 4):
        raise DataError(f"{request.who} must be (X, Y, Z) or (1, X, Y, Z), got {tuple(source.shape)}; take one volume")
    tensor = source.as_tensor().detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()  # NumPy has none
    array = tensor.numpy()
    if array.ndim == 4:  # channel first
        array = np.moveaxis(array, 0, -1)
    affine = torch.as_tensor(source.affine).detach().cpu().double().numpy()
    if _is_lps(source):
        affine = RAS_TO_LPS @ affine
    return Loaded(np.array(array[request.select(array.shape)]), affine.copy())


def _load_itk_image(source: Any, request: Request) -> Loaded:
    components = source.GetNumberOfComponentsPerPixel()
    if components != 1:
        raise no_number(request.who, f"RGB or vectors ({components} numbers per voxel)")
    source.Update()  # a filter's output may not have been computed yet
    array = from_itk(source)
    index = request.select(array.shape)  # before the affine, which two dimensions do not have
    return Loaded(array[index], itk_affine(source))


def meta_tensor_like(array: NDArray[Any], affine: NDArray[Any], like: MetaTensor, same_grid: bool) -> MetaTensor:
    """A MetaTensor with another one's layout and device.

    Args:
        array: ``(X, Y, Z)``, or a series ``(X, Y, Z, T)``.
        affine: ``(4, 4)`` voxel -> RAS mm.
        like: channel first gives ``(1, X, Y, Z)`` and ``(T, X, Y, Z)``.
        same_grid: keep its name and what it says of the grid too; the rest, as the tags of a DICOM series, tells about
            another person perhaps.
    """
    from monai.data.meta_tensor import MetaTensor
    from monai.utils.enums import MetaKeys, SpaceKeys

    first = np.moveaxis(array, -1, 0) if array.ndim == 4 else array
    values = torch.from_numpy(np.ascontiguousarray(first)).to(like.device)
    meta = {key: deepcopy(value) for key, value in like.meta.items() if same_grid and key in KEPT}
    if _is_lps(like):
        affine = RAS_TO_LPS @ affine
        meta[MetaKeys.SPACE] = SpaceKeys.LPS
    if like.ndim == 4 and values.ndim == 3:
        values = values[None]
    return MetaTensor(values, affine=torch.from_numpy(affine.copy()), meta=meta)


def _is_lps(source: MetaTensor) -> bool:
    from monai.utils.enums import MetaKeys, SpaceKeys

    return str(source.meta.get(MetaKeys.SPACE, SpaceKeys.RAS)) == str(SpaceKeys.LPS)
