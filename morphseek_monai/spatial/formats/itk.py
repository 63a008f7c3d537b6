"""Transform files of ITK, ANTs, elastix and 3D Slicer."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output, reserve
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.fields import ddf_to_world
from morphseek_monai.space.itk_image import RAS_TO_LPS
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import composite, field_geometry, field_of, linear_of, members

from .base import Format, Source, Target

itk = lazy_module("itk")

__all__ = ["FORMAT", "read_itk", "write_itk"]

TEXT = (".tfm", ".txt")
LINEAR_ONLY = (".mat",)
WRITABLE = (".h5", ".hdf5", *TEXT, *LINEAR_ONLY)
OVERHEAD = 2**20  # bytes of a transform file, at most, beside its parameters
_FIELD = "DisplacementFieldTransform"
_DIGITS = 2**16  # steps per voxel that a displacement is rounded to: noise does not compress
_PLANES = 8  # that are converted together: their voxels are neighbours in memory
_HEADER = {
    "ITKVersion": "5.4.0",  # of the layout
    "HDFVersion": f"HDF5 library version: {h5py.version.hdf5_version}",
    "OSName": "",
    "OSVersion": "",
}


def write_itk(path: str | os.PathLike[str], transform: Any) -> None:
    """Write a transform, whole or not at all.

    HDF5 is written without ITK, whose loading takes longer than all the rest: every member as ITK's own writer has it,
    in double precision, but displacement fields in single precision, which HDF5 converts as it is read, and to 1e-5 of
    a voxel, which makes the file smaller by a third. Text is ITK's, in double precision.

    Args:
        path: ``.h5`` or ``.hdf5`` (binary, compressed), or ``.tfm``, ``.txt`` (text), or ``.mat`` (one matrix alone).
            A single linear transform becomes a plain one in all but HDF5, since programs that read an affine, such as
            greedy and plastimatch, know no composite.
        transform: a :class:`PointMap`, or what :func:`~morphseek_monai.spatial.transform.make_transform` or
            :func:`read_itk` returned.

    Raises:
        DataError: the name has another ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in WRITABLE:
        raise DataError(f"transform {path} must end in one of {', '.join(WRITABLE)}; .h5 holds every transform")
    with atomic_output(path) as temporary:
        if path.suffix in (*TEXT, *LINEAR_ONLY):
            _write_by_itk(temporary, composite(transform) if isinstance(transform, PointMap) else transform, path)
        else:
            entries = _of_map(transform) if isinstance(transform, PointMap) else _of_itk(transform)
            _write_hdf5(temporary, entries)


def read_itk(path: str | os.PathLike[str]) -> Any:
    """Read any transform file of ITK, ANTs or 3D Slicer as one composite transform in double precision.

    Args:
        path: ``.h5``, ``.tfm``, ``.txt``, ``.mat``; several transforms in one file act as ITK's composites do, the last
            first.

    Raises:
        DataError: it is no transform file, not three-dimensional, or has NaN or infinity.
    """
    try:
        found = itk.transformread(os.path.abspath(path))  # loading a module, ITK leaves the working folder for a while
    except Exception as error:  # SWIG raises RuntimeError, or TypeError for a suffix that no reader knows
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        cure = "give a transform file of ITK, e.g. .h5, or a displacement field"
        raise DataError(f"transform {path} cannot be read ({reason}); {cure}") from error
    whole = itk.CompositeTransform[itk.D, 3].New()
    for transform in found:
        if transform.GetInputSpaceDimension() != 3:
            raise DataError(f"transform {path} must be 3-D, its {transform.GetNameOfClass()} is not; give another")
        for member in members(transform):
            _require_finite(member, path)
            whole.AddTransform(member)
    return whole


def _require_finite(transform: Any, path: str | os.PathLike[str]) -> None:
    """NaN is no displacement: it would be no fold, and every image 0 there."""
    values = itk.array_from_vnl_vector(transform.GetParameters())
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        kind = transform.GetNameOfClass()
        raise DataError(f"transform {path} has {bad} NaN or infinite numbers in its {kind}; make it again")


Planes = Callable[[slice], NDArray[np.float32]]


class _Entry(NamedTuple):
    """One transform of a file; of a displacement field ``planes`` gives ``(n, Y, X, 3)`` LPS mm of some of its Z."""

    kind: str
    fixed: NDArray[np.float64]
    parameters: NDArray[np.float64] | None
    planes: Planes | None = None


def _of_map(point_map: PointMap) -> list[_Entry]:
    return [_field(one) if isinstance(one, Field) else _matrix(one) for one in reversed(point_map.maps)]


def _matrix(matrix: NDArray[Any]) -> _Entry:
    lps = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    return _Entry("AffineTransform_double_3_3", np.zeros(3), parameters)


def _field(field: Field) -> _Entry:
    def planes(part: slice) -> NDArray[np.float32]:
        world = ddf_to_world(field.ddf[..., part].detach().cpu().float(), field.grid.affine)[0]
        return world.permute(3, 2, 1, 0).contiguous().numpy()

    return _Entry(f"{_FIELD}_double_3_3", field_geometry(field.grid), None, planes)


def _of_itk(transform: Any) -> list[_Entry]:
    entries = []
    for member in members(transform):
        fixed = np.array(list(member.GetFixedParameters()))
        kind = f"{member.GetNameOfClass()}_double_3_3"
        if member.GetNameOfClass() == _FIELD:
            values, _ = field_of(member)
            entries.append(_Entry(kind, fixed, None, partial(_converted, values)))
        else:
            entries.append(_Entry(kind, fixed, itk.array_from_vnl_vector(member.GetParameters())))
    return entries


def _converted(values: NDArray[Any], part: slice) -> NDArray[np.float32]:
    return values[part].astype(np.float32)


def _write_hdf5(path: Path, entries: list[_Entry]) -> None:
    numbers = [3 * int(np.prod(entry.fixed[:3])) if entry.planes else 2 * len(entry.fixed) for entry in entries]
    reserve(path, 4 * sum(numbers) + OVERHEAD)
    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w", locking=False) as file:  # nobody else knows the name, and some network disks cannot lock
        for name, value in _HEADER.items():
            file.create_dataset(name, data=[value], dtype=text)
        kinds = ["CompositeTransform_double_3_3", *(entry.kind for entry in entries)]
        for number, kind in enumerate(kinds):
            file.create_dataset(f"TransformGroup/{number}/TransformType", data=[kind], dtype=text)
        for number, entry in enumerate(entries, 1):
            group = file[f"TransformGroup/{number}"]
            group["TransformFixedParameters"] = entry.fixed
            if entry.planes is None:
                group["TransformParameters"] = entry.parameters
            else:
                _write_field(group, entry.planes, entry.fixed)


def _write_field(group: Any, planes: Planes, geometry: NDArray[np.float64]) -> None:
    """Some planes at a time, packed here as HDF5's filters would: zlib lets other threads run, HDF5 does not."""
    x, y, z = (int(n) for n in geometry[:3])
    chunk = 3 * x * y
    data = group.create_dataset(
        "TransformParameters", (z * chunk,), "<f4", chunks=(chunk,), compression="gzip", shuffle=True
    )
    steps = np.float32(_DIGITS / 2 ** np.floor(np.log2(geometry[6:9].min())))  # a power of two: no further error

    def packed(part: slice) -> list[bytes]:
        values = (np.rint(planes(part) * steps) / steps).astype("<f4")
        return [_deflated(plane.view(np.uint8).reshape(-1, 4).T.tobytes()) for plane in values]  # byte by byte

    parts = [slice(start, min(start + _PLANES, z)) for start in range(0, z, _PLANES)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for part, found in zip(parts, pool.map(packed, parts)):
            for number, content in enumerate(found, part.start):
                data.id.write_direct_chunk((number * chunk,), content)


def _deflated(content: bytes) -> bytes:
    """Runs and frequent bytes only: the search for longer repetitions takes as long again, for a tenth of the size."""
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return compressor.compress(content) + compressor.flush()


def _write_by_itk(path: Path, transform: Any, target: Path) -> None:
    parts = members(transform)
    plain = len(parts) == 1 and linear_of(parts[0]) is not None
    if target.suffix in LINEAR_ONLY and not plain:
        kinds = ", ".join(part.GetNameOfClass() for part in parts)
        raise DataError(f"transform {target} must be linear, a .mat holds nothing else, got {kinds}; write .h5")
    whole = itk.CompositeTransform[itk.D, 3].New()  # text has no composites within composites
    for part in parts:
        whole.AddTransform(part)
    reserve(path, 10 * sum(part.GetNumberOfParameters() for part in parts) + OVERHEAD)
    try:
        itk.transformwrite([parts[0] if plain else whole], os.fspath(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error).strip().splitlines()[-1]) from error
    if target.suffix in TEXT:  # ITK's writer of text does not notice a full disk
        content = path.read_bytes()
        if not content.endswith(b"\n") or content.count(b"\nFixedParameters:") < len(parts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _recognises(source: Source) -> bool:
    return source.head.startswith((b"\x89HDF", b"#Insight Transform File")) or source.name.endswith((".tfm", ".mat"))


def _read(source: Source) -> Any:
    return read_itk(source.path)


def _write(target: Target) -> list[Path]:
    write_itk(target.path, target.transform)
    return [target.path]


FORMAT = Format("itk", _recognises, _read, _write)
