"""ANTs: symmetric normalisation (SyN), by the package antspyx."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from .convert import from_world
from .tool import Registration, Tool, grid_of

SETTINGS = {
    "mattes": "SyNOnly as it comes: mutual information of 32 bins, 40x20x0 iterations",
    "CC": "SyN of antsRegistrationSyN.sh, deformable stage only: CC of radius 2, 100x70x50x20 iterations",
}
TYPES = {"mattes": "SyNOnly", "CC": "antsRegistrationSyN[so]"}


class AntsSyN(Tool):
    """The deformable stage alone, from the identity: the images are affinely aligned.

    Args:
        threads: taken from ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS``, which the caller has set.
        metric: ``"mattes"`` (mutual information, the quick one) or ``"CC"`` (slow).
    """

    def __init__(self, threads: int, metric: str) -> None:
        self.ants = importlib.import_module("ants")
        self.version = f"antspyx {version('antspyx')}"
        self.settings = f"{SETTINGS[metric]}; no affine step"
        self.type = TYPES[metric]
        self.folder = TemporaryDirectory()

    def register(self, fixed: str, moving: str) -> Registration:
        """Register; ANTs writes its field, which is read again."""
        reference = self.ants.image_read(fixed)
        result = self.ants.registration(
            reference,
            self.ants.image_read(moving),
            type_of_transform=self.type,
            initial_transform="Identity",
            outprefix=f"{self.folder.name}/",
        )
        transforms = result["fwdtransforms"]  # the field, and the identity it started from
        field = self.ants.image_read(transforms[0]).numpy()

        def resample(label: str) -> NDArray[Any]:
            warped: NDArray[Any] = self.ants.apply_transforms(
                reference, self.ants.image_read(label), transforms, interpolator="nearestNeighbor"
            ).numpy()
            return warped

        return Registration(from_world(field, grid_of(fixed)[1]), resample)
