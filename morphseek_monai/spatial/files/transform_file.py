"""Transform files of any program; every format is a module of :mod:`morphseek_monai.spatial.formats`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file
from morphseek_monai.space.grid import Grid

from ..format_names import split_format
from ..formats import afni, dipy, field_image, freesurfer, fsl, itk, matrix, mrtrix, niftyreg, spm, x5
from ..formats.base import Format, Source, Target
from ..formats.pairs import write_ants, write_greedy
from ..point_map import PointMap
from ..transform import composite, point_map

__all__ = ["WRITTEN", "read_map", "read_transform", "write_transform"]

# asked in this order: a file that several could take belongs to the first
FORMATS = (
    x5.FORMAT, freesurfer.FORMAT, afni.FORMAT, niftyreg.FORMAT, spm.FORMAT, fsl.FORMAT, dipy.FORMAT,
    field_image.FORMAT, mrtrix.FORMAT, matrix.FORMAT, itk.FORMAT,
)  # fmt: skip
# names under which a format is known too
OTHER_NAMES = {
    "ants": itk.FORMAT._replace(name="ants", write=write_ants),
    "greedy": Format("greedy", matrix.FORMAT.recognises, matrix.read_named, write_greedy),
    "slicer": itk.FORMAT._replace(name="slicer"),
}
NAMED = {**{form.name: form for form in FORMATS}, **OTHER_NAMES, "ras": matrix.FORMAT._replace(read=matrix.read_named)}
WRITTEN = tuple(sorted(name for name, form in NAMED.items() if form.write is not None))

# files of other programs that hold a transform which is not read, and the way on
FOREIGN = (
    (
        re.compile(rb"^\s*\(Transform(ix)? |\(Transform \"", re.M),
        "is a parameter file of elastix, which describes a transform by its parameters; write a transform for ITK with"
        ' (ITKTransformOutputFileNameExtension "h5") in the parameters, or a field with transformix -def all',
    ),
    (
        re.compile(rb"^\s*\{[^}]*markups-schema", re.S),
        "is a file of points of 3D Slicer; give it to map-points --points, as a table",
    ),
)
FOREIGN_ENDINGS = {
    ".m3z": "is a morph of FreeSurfer; write a warp with mri_warp_convert --inm3z IN --outmgzwarp OUT.mgz",
    ".mif": "is an image of MRtrix; write NIfTI with mrconvert IN OUT.nii",
    ".head": "is a dataset of AFNI; write NIfTI with 3dAFNItoNIFTI IN",
    ".brik": "is a dataset of AFNI; write NIfTI with 3dAFNItoNIFTI IN",
    ".xfm": "is a transform of MINC; write an .lta with lta_convert --inmni IN --outlta OUT",
    ".dat": "is a register.dat of FreeSurfer; write an .lta with tkregister2 --ltaout OUT",
    ".npz": "is an array without a place in the body; write it as a NIfTI field",
}


def read_transform(path: str | os.PathLike[str], fixed: Grid | None = None, moving: Grid | None = None) -> Any:
    """:func:`read_map` as one composite ITK transform, whose members the functions of this package take apart.

    Args:
        path: the file, or ``FORMAT:PATH``.
        fixed: grid of the image whose points are mapped.
        moving: grid of the image that they are mapped to.

    Returns:
        ``itk.CompositeTransform[itk.D, 3]``: points of the fixed image -> points of the moving image.

    Raises:
        DataError: as :func:`read_map`.
    """
    found = read_map(path, fixed, moving)
    return composite(found) if isinstance(found, PointMap) else found


def read_map(path: str | os.PathLike[str], fixed: Grid | None = None, moving: Grid | None = None) -> Any:
    """Read a transform file of any program.

    Args:
        path: the file. Its format is told by its content; where that cannot be, or is wrong, write ``FORMAT:PATH``,
            with FORMAT one of itk, itk-field, ras (4 x 4 text), fsl, freesurfer, mrtrix, afni, niftyreg, spm, x5,
            dipy, ants, greedy, slicer. Several transforms in one file of ITK act as its composites do, the last first.
        fixed: grid of the image whose points are mapped; the formats of FSL, AFNI and DIPY need it.
        moving: grid of the image that they are mapped to; those of FSL and AFNI need it.

    Returns:
        points of the fixed image -> points of the moving image: a :class:`PointMap`, or of ITK's files an
        ``itk.CompositeTransform[itk.D, 3]`` in double precision.

    Raises:
        DataError: it is missing, no transform file, not three-dimensional, holds numbers that are not finite, or needs
            an image or a package that is not there.
    """
    name, rest = split_format(path)
    file = Path(rest)
    require_file(file, "transform")
    source = Source(file, fixed, moving)
    form = NAMED[name] if name else _format_of(source)
    if name and form.name not in ("itk", "ants", "slicer") and not _fits(source, form):
        raise DataError(f"transform {file} is no file of {name}; leave {name}: out, or correct it")
    return form.read(source)


def write_transform(
    path: str | os.PathLike[str],
    transform: Any,
    to: str = "itk",
    fixed: Grid | None = None,
    moving: Grid | None = None,
) -> list[Path]:
    """Write a transform in the format of a program, every file whole or not at all.

    Args:
        path: the file; with ``ants`` and ``greedy`` the beginning of the names of two, of a field and an affine.
        transform: points of the fixed image -> points of the moving image, a :class:`PointMap` or an ITK transform.
        to: ``itk`` (``.h5``, ``.tfm``, ``.txt``, ``.mat``), ``slicer`` (the same), ``itk-field`` (one displacement
            field), ``ants``, ``greedy``, ``ras``, ``fsl``, ``freesurfer``, ``mrtrix``, ``afni``, ``x5``.
        fixed: grid of the image whose points are mapped; ``fsl``, ``freesurfer`` and ``afni`` need it. A transform
            whose field does not come first is sampled on it.
        moving: grid of the image that they are mapped to; ``fsl``, ``freesurfer`` and ``afni`` need it.

    Returns:
        the files.

    Raises:
        DataError: an unknown format, another ending than the format's, an image that is needed, or a file that cannot
            be written.
    """
    if to not in WRITTEN:
        raise DataError(f"format of a transform must be one of {', '.join(WRITTEN)}, got {to!r}; choose one")
    writer = NAMED[to].write
    simple = to in ("itk", "slicer")  # these keep members that only ITK knows, and need no PyTorch
    chain = None if simple else point_map(transform)
    return writer(Target(Path(path), chain, transform, fixed, moving)) if writer else []


def _fits(source: Source, form: Format) -> bool:
    """Whether a file is at all of the kind that a format consists of: images, text or HDF5."""
    if form.name == "x5":
        return form.recognises(source)
    if form.name == "itk-field" and source.nifti is None:
        return form.recognises(source)
    return source.nifti is not None or source.text is not None or form.recognises(source)


def _format_of(source: Source) -> Format:
    for ending, way in FOREIGN_ENDINGS.items():
        if source.name.endswith(ending):
            raise DataError(f"transform {source.path} {way}")
    for pattern, way in FOREIGN:
        if pattern.search(source.head):
            raise DataError(f"transform {source.path} {way}")
    for form in FORMATS:
        if form.recognises(source):
            return form
    if source.nifti is not None:
        raise DataError(
            f"transform {source.path} must be an image of displacements, (X, Y, Z, 1, 3) with the intent 1007 or 1006,"
            f" got {source.nifti.shape} with {int(source.nifti.header['intent_code'])}; name its format: FORMAT:PATH"
        )
    return itk.FORMAT  # whose reader says why it is none
