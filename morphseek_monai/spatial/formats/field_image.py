"""Displacement fields as images, by ITK's rule: of ANTs, greedy, elastix, plastimatch, SimpleITK and 3D Slicer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.itk_image import itk_affine, place
from morphseek_monai.spatial.point_map import Field, PointMap

from .base import Format, Source, Target, displacements_of, field_of_displacements, finite, looks_absolute, vectors
from .parts import one_field

itk = lazy_module("itk")

__all__ = ["FORMAT", "write_field_image"]

VECTOR, DISPVECT = 1007, 1006  # NIfTI's codes of intent
OTHERS = (".nrrd", ".nhdr", ".mha", ".mhd")
WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")
_LPS = np.array([-1.0, -1.0, 1.0])


def _recognises(source: Source) -> bool:
    if source.name.endswith(OTHERS):
        return True
    return source.vectors and int(source.nifti.header["intent_code"]) in (VECTOR, DISPVECT)


def _read(source: Source) -> PointMap:
    """ITK takes vectors of intent 1007 as they stand, in LPS mm, and turns those of intent 1006, which are RAS."""
    if source.nifti is None:
        return _by_itk(source.path)
    intent = int(source.nifti.header["intent_code"])
    if source.nifti.shape[3:] != (1, 3):
        raise DataError(
            f"transform {source.path} must be of shape (X, Y, Z, 1, 3) as NIfTI has vectors, got"
            f" {source.nifti.shape}; name its format: FORMAT:PATH"
        )
    values = vectors(source)
    if looks_absolute(values, source.grid):
        raise DataError(
            f"transform {source.path} must hold displacements, got places in mm; write spm:{source.path} where they are"
            " in RAS, as SPM's"
        )
    return PointMap((field_of_displacements(values if intent == DISPVECT else values * _LPS, source.grid),))


def _by_itk(path: Path) -> PointMap:
    name = str(path.absolute())
    try:
        header = itk.ImageIOFactory.CreateImageIO(name, itk.CommonEnums.IOFileMode_ReadMode)
        header.SetFileName(name)
        header.ReadImageInformation()
        dimensions, components = header.GetNumberOfDimensions(), header.GetNumberOfComponents()
        image = itk.imread(name, itk.Vector[itk.F, 3]) if (dimensions, components) == (3, 3) else None
    except Exception as error:  # SWIG raises RuntimeError, and there is no header where no reader knows the file
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise DataError(f"transform {path} cannot be read ({reason}); give a displacement field or .h5") from error
    if image is None:
        raise DataError(
            f"transform {path} must be a 3-D image of 3 components, got {dimensions}-D of {components};"
            " give a displacement field in LPS mm"
        )
    values = itk.array_from_image(image)
    displacements = finite(values.transpose(2, 1, 0, 3).astype(np.float64) * _LPS, path)
    return PointMap((field_of_displacements(displacements, Grid.from_size(values.shape[2::-1], itk_affine(image))),))


def _write(target: Target) -> list[Path]:
    write_field_image(target.path, one_field(target))
    return [target.path]


def write_field_image(path: Path, field: Field) -> None:
    """Write a displacement field in LPS mm, single precision, as every ITK program reads it.

    Args:
        path: ``.nii``, ``.nii.gz`` (intent 1007, vector), ``.nrrd`` or ``.mha``.
        field: what is written.

    Raises:
        DataError: another ending, or the file cannot be written.
    """
    if not path.name.lower().endswith(WRITABLE):
        raise DataError(f"transform {path} must end in one of {', '.join(WRITABLE)}; .nii.gz is read by most programs")
    lps: NDArray[Any] = (displacements_of(field) * _LPS).astype(np.float32)
    with atomic_output(path) as temporary:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            nib.save(nifti_of(lps, field.grid, VECTOR), temporary)
        else:
            image = itk.image_from_array(
                np.ascontiguousarray(lps.transpose(2, 1, 0, 3)), ttype=itk.Image[itk.Vector[itk.F, 3], 3]
            )
            itk.imwrite(place(image, field.grid.affine), str(temporary), compression=True)


def nifti_of(values: NDArray[Any], grid: Grid, intent: int, name: str = "") -> Any:
    """Vectors ``(X, Y, Z, 3)`` as a NIfTI image of shape ``(X, Y, Z, 1, 3)``, sform and qform set alike."""
    image = nib.Nifti1Image(values[:, :, :, None].astype(np.float32), grid.affine)  # type: ignore[no-untyped-call]
    image.set_qform(grid.affine, code=1)  # type: ignore[no-untyped-call]
    image.set_sform(grid.affine, code=1)  # type: ignore[no-untyped-call]
    header: Any = image.header
    header.set_xyzt_units("mm")
    header.set_intent(intent, name=name)
    return image


FORMAT = Format("itk-field", _recognises, _read, _write)
