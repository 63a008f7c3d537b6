"""``morphseek phantom``: write a data set of labelled phantoms."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import DataError
from ..base.option_text import PathText

__all__ = ["phantom"]


def phantom(
    out: PathText,
    kind: str = "brain",
    subjects: int = 12,
    shape: int | Sequence[int] = 48,
    seed: int = 0,
) -> str:
    """Write a data set of labelled phantoms in a public layout.

    Train and evaluate on it with --dataset_dir OUT; the last quarter of the subjects is held out for
    validation.

    Args:
        out: folder to write to; must be new, empty, or hold an earlier phantom of the same kind.
        kind: brain (pairs of different subjects, 12 labels), torso (MR and CT of one subject, 6 labels), both as
            Learn2Reg folders, or liver (CT of different subjects on different grids, 2 labels, MSD Task03_Liver).
        subjects: number of subjects.
        shape: image size in voxels, one number or X,Y,Z; at least 16.
        seed: number that everything random follows from; the same seed gives the same images.

    Returns:
        the path of the dataset json.
    """
    sizes = (shape, shape, shape) if isinstance(shape, int) else shape
    if not isinstance(subjects, int) or not isinstance(seed, int) or not isinstance(sizes, list | tuple):
        raise DataError(
            f"phantom: --subjects and --seed must be whole numbers and --shape N or X,Y,Z,"
            f" got {subjects!r}, {seed!r}, {shape!r}"
        )
    from ..data import write_phantom

    return str(write_phantom(str(out), kind, subjects, sizes, seed=seed))
