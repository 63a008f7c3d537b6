"""The transforms of a finished registration once more, as other programs read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.transform_file import write_transform

if TYPE_CHECKING:
    from morphseek_monai.registration.result import RegistrationResult

__all__ = ["ENDINGS", "requested", "write_formats"]

# of the file of a deformable transform; ANTs' and greedy's names are made by their writers
ENDINGS = {
    "itk": ".tfm",
    "itk-field": ".nii.gz",
    "ants": "",
    "greedy": "",
    "fsl": ".nii.gz",
    "freesurfer": ".mgz",
    "mrtrix": ".nii.gz",
    "afni": ".nii.gz",
    "x5": ".x5",
    "slicer": ".h5",
}


def requested(names: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """The formats that a user asks for.

    Args:
        names: ``itk,greedy``, or a list; None for none.

    Raises:
        DataError: a name is not known.
    """
    if names is None:
        return ()
    asked = tuple(str(name).strip() for name in (names.split(",") if isinstance(names, str) else names))
    for name in asked:
        if name not in ENDINGS:
            raise DataError(f"transforms must be of {', '.join(ENDINGS)}, got {name!r}; write --transforms itk,greedy")
    return asked


def write_formats(folder: Path, result: RegistrationResult, names: tuple[str, ...]) -> list[str]:
    """Write ``NAME...`` and, for the other direction, ``NAME_inverse...``.

    Args:
        folder: made if missing.
        result: of the registration.
        names: what :func:`requested` returned.

    Returns:
        one line for every format that could not be written, and why; the others are there, and nothing of the
        registration is lost.
    """
    missing = []
    for name in names:
        grids = (result.fixed.grid, result.moving.grid)
        try:
            for points, (here, there), end in ((result.forward, grids, ""), (result.backward, grids[::-1], "_inverse")):
                write_transform(folder / f"{name}{end}{ENDINGS[name]}", points, name, here, there)
        except DataError as error:
            missing.append(f"no transforms for {name}: {error}")
    return missing
