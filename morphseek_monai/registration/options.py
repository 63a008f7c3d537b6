"""The options of one registration: of the command line, the Python call, a table's columns and the record."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from morphseek_monai.base.errors import DataError, require_whole
from morphseek_monai.data.scans.kind import MODALITIES
from morphseek_monai.inference.find import InferenceOptions

__all__ = ["FILE_OPTIONS", "RegisterOptions", "make_options", "text_options", "updated"]

# that name a file
FILE_OPTIONS = ("fixed_mask", "moving_mask", "initial_transform", "fixed_points", "moving_points")


@dataclass(frozen=True)
class RegisterOptions:
    """Options of ``morphseek register``, with the names and defaults that the command line has.

    Attributes:
        bundle: name or folder of the bundle whose network registers; in Python, for many pairs, also a loaded
            :class:`~morphseek_monai.registration.models.model.RegistrationModel`. None takes the one for the
            modalities, see :func:`~morphseek_monai.registration.models.bundles.choose_bundle`.
        affine: ``"auto"`` aligns by 12 parameters, ``"similarity"`` by 7, ``"rigid"`` by 6, and all keep the headers
            where the network registers from them as well; ``"off"`` trusts the headers; a file, or in Python a matrix
            ``(4, 4)``, is used as it is, RAS mm, points of the fixed -> points of the moving image.
        modality: ``"auto"``, ``"mr"`` or ``"ct"``, of both images.
        fixed_modality: of the fixed image, where the two differ.
        moving_modality: of the moving image, where the two differ.
        frame: volume of 4-D images, from 0.
        fixed_frame: of the fixed image only.
        moving_frame: of the moving image only.
        fixed_mask: where the fixed image counts, on any grid: 0 does not, every other number does, as for ANTs' ``-x``
            and greedy's ``-gm``. See :func:`~morphseek_monai.registration.prepare.mask.read_mask`. None for everywhere.
        moving_mask: likewise of the moving image.
        initial_transform: what to start from in place of an alignment of its own: a file of any program, fields too; in
            Python also a matrix, a :class:`~morphseek_monai.spatial.point_map.PointMap` or an ITK transform. The
            result has it in it. A linear one is the same as ``affine``.
        fixed_points: landmarks that the field is to respect, softly: a table of points in mm, in Python also ``(N, 3)``
            RAS mm; needs ``refine``.
        moving_points: the same landmarks in the moving image, line by line.
        space: ``"RAS"`` or ``"LPS"`` of the two tables, unless they tell.
        steps: refinement steps of the network; None takes the bundle's, ``"auto"`` goes on while they help, 0 leaves
            the network out.
        samples: candidates drawn from the latent policy, of which the best is taken. 0 draws none.
        refine: ``"auto"`` fits the field to the pair; ``"off"`` keeps the network's; a number is the most iterations at
            the finest level.
        uncertainty: whether the expected error is mapped, in mm.
        seed: of the alignment's sampling points and the latent samples; same seed, same result.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``"auto"`` takes a GPU if there is one.
        max_memory: e.g. ``"8G"``, or bytes; above it the field is computed on a coarser grid, and notices say so. None
            takes what is free.
        report: whether the folder of the results gets ``report.html`` and ``report.png``.
        transforms: formats of other programs to write beside, ``"itk,greedy"``, see
            :data:`~morphseek_monai.registration.interchange.ENDINGS`; like ``report`` it concerns the folder alone.

    Raises:
        DataError: a value that an option cannot have.
    """

    bundle: Any = None
    affine: Any = "auto"
    modality: str = "auto"
    fixed_modality: str | None = None
    moving_modality: str | None = None
    frame: int | None = None
    fixed_frame: int | None = None
    moving_frame: int | None = None
    fixed_mask: Any = None
    moving_mask: Any = None
    initial_transform: Any = None
    fixed_points: Any = None
    moving_points: Any = None
    space: str | None = None
    steps: int | str | None = None
    samples: int = 0
    refine: int | str = "auto"
    uncertainty: bool = False
    seed: int = 0
    device: str = "auto"
    max_memory: str | int | None = None
    report: bool = True
    transforms: str | None = None

    def __post_init__(self) -> None:
        _ = self.inference  # checks its own numbers
        require_whole("seed", self.seed)
        for role, modality in zip(("fixed", "moving"), self.modalities):
            if modality not in MODALITIES:
                must = f"{role} image modality must be one of {', '.join(MODALITIES)}"
                raise DataError(f"{must}, got {modality!r}; correct it")
        if self.initial_transform is not None and not (isinstance(self.affine, str) and self.affine == "auto"):
            raise DataError(f"initial_transform takes the place of affine, got affine {self.affine} too; give one")
        if (self.fixed_points is None) != (self.moving_points is None):
            raise DataError("fixed_points goes with moving_points, the same landmarks line by line; give both")
        if self.space is not None and self.fixed_points is None:
            raise DataError(f"space is that of fixed_points and moving_points, got {self.space} alone; leave it out")
        if self.fixed_points is not None and self.refine == "off":
            raise DataError("landmarks are respected by the optimiser, which refine off leaves out; set one of them")

    @property
    def inference(self) -> InferenceOptions:
        """What is spent beyond the network's mean."""
        return InferenceOptions(self.steps, self.samples, self.refine)

    @property
    def modalities(self) -> tuple[str, str]:
        """Of the fixed and of the moving image.

        Example:
            >>> RegisterOptions(modality="ct", moving_modality="mr").modalities
            ('ct', 'mr')
        """
        return self.fixed_modality or self.modality, self.moving_modality or self.modality

    @property
    def frames(self) -> tuple[int | None, int | None]:
        """Volumes of the fixed and of the moving image."""
        fixed = self.frame if self.fixed_frame is None else self.fixed_frame
        return fixed, self.frame if self.moving_frame is None else self.moving_frame

    def record(self) -> dict[str, Any]:
        """The options in plain JSON types; ``RegisterOptions(**record)`` repeats the registration.

        A loaded model becomes the name of its bundle, an array a list; an image or a transform in memory, which JSON
        cannot hold, its type.
        """
        values = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        return {**values, "bundle": getattr(self.bundle, "name", _plain(self.bundle))}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value if value is None or isinstance(value, str | int | float | list) else type(value).__name__


def updated(options: RegisterOptions, changes: Mapping[str, Any]) -> RegisterOptions:
    """The options with some of them changed, as the keyword arguments of a call state them.

    Args:
        options: what is not changed.
        changes: by name; ``search``, as the public call has it, is ``steps``, ``samples`` and ``refine`` in one.

    Raises:
        DataError: an unknown name, or a value that an option cannot have.
    """
    values = dict(changes)
    search = values.pop("search", None)
    if search is not None:
        values |= asdict(search)
    _require_known(values, "register()")
    return replace(options, **values)


def make_options(values: Mapping[str, Any], where: str) -> RegisterOptions:
    """Check names and types of what a command line or a table states in plain numbers and words.

    Args:
        values: by name; numbers, words, True and False.
        where: they stand, for the message.

    Raises:
        DataError: an unknown name, or a value of the wrong type.
    """
    hints = _hints()
    _require_known(values, where)
    return RegisterOptions(**{name: _checked(value, hints[name], f"{where}: {name}") for name, value in values.items()})


def _require_known(values: Mapping[str, Any], where: str) -> None:
    known = [item.name for item in fields(RegisterOptions)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise DataError(f"{where}: {', '.join(unknown)} is no option of morphseek register; known: {', '.join(known)}")


def text_options() -> set[str]:
    """Names of the options that are text whatever it looks like: a bundle may be called 1e5."""
    return {name for name, types in _hints().items() if set(types) <= {str, type(None)}}


@cache
def _hints() -> dict[str, tuple[type, ...]]:
    """Types by name, of what text can state."""
    hints = typing.get_type_hints(RegisterOptions)
    hints |= {"bundle": str | None, "affine": str, "max_memory": str | None}
    hints |= dict.fromkeys(FILE_OPTIONS, str | None)
    return {name: typing.get_args(hint) or (hint,) for name, hint in hints.items()}


def _checked(value: Any, types: tuple[type, ...], where: str) -> Any:
    if type(value) in types:  # not isinstance(): True is no number
        return value
    if str in types and int not in types and not isinstance(value, bool):
        return str(value)  # a file named 12, 4000000000 bytes
    words = " or ".join({int: "a whole number", str: "a word", bool: "True or False"}.get(t, "None") for t in types)
    raise DataError(f"{where} must be {words}, got {value!r}; correct it")
