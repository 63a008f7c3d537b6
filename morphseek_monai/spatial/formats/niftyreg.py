"""NiftyReg: images of places or displacements in RAS mm, which say so in their header. Its matrices are plain text."""

from __future__ import annotations

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, field_of_displacements, field_of_places, vectors
from .matrix import read_named

__all__ = ["FORMAT"]

NAME = "NREG_TRANS"
PLACES, DISPLACEMENTS = 0, 1  # the header's first parameter of intent


def _recognises(source: Source) -> bool:
    return source.nifti is not None and source.nifti.header.get_intent("label")[2] == NAME


def _read(source: Source) -> PointMap:
    if source.nifti is None:
        return read_named(source)
    kind = int(source.nifti.header["intent_p1"])
    if kind not in (PLACES, DISPLACEMENTS) or not source.vectors:
        raise DataError(
            f"transform {source.path} is a velocity or a spline grid of NiftyReg (kind {kind}); write a field with"
            " reg_transform -ref FIXED -def IN OUT"
        )
    make = field_of_places if kind == PLACES else field_of_displacements
    return PointMap((make(vectors(source), source.grid),))


FORMAT = Format("niftyreg", _recognises, _read)
