"""What the programs share: their command line and the files in which they hand over a result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Applied(NamedTuple):
    """A registration in the two forms in which it is judged.

    Attributes:
        label: the moving label map on the fixed grid, ``(D, H, W)`` in the order of the fixed file, by the program's
            own resampler and nearest neighbour.
        field: ``(D, H, W, 3)``, the whole transform with its affine part as displacement in LPS mm: the point ``x`` of
            the fixed scan shows what ``x + field(x)`` of the moving scan shows.
    """

    label: NDArray[Any]
    field: NDArray[Any]

    def save(self, folder: Path) -> None:
        """Write both as ``label.npy`` and ``field.npy``."""
        np.save(folder / "label.npy", np.rint(self.label).astype(np.int16))
        np.save(folder / "field.npy", np.asarray(self.field, dtype=np.float32))

    @classmethod
    def load(cls, folder: Path) -> Applied:
        """Read what :meth:`save` wrote."""
        return cls(np.load(folder / "label.npy"), np.load(folder / "field.npy"))


def main(register: Callable[..., None], apply: Callable[[str, str, Path], Applied]) -> None:
    """Command line of a program: ``register FOLDER FIXED MOVING [ARGUMENT ...]`` or ``apply FOLDER FIXED LABEL``."""
    command, folder, fixed, moving, *arguments = sys.argv[1:]
    if command == "register":
        register(fixed, moving, Path(folder), *arguments)
    else:
        apply(fixed, moving, Path(folder)).save(Path(folder))
