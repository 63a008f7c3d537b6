"""greedy: fast diffeomorphic registration, by the package picsl_greedy."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from .convert import from_itk
from .tool import Registration, Tool, grid_of

OPTIONS = "-m NCC 2x2x2 -n 100x70x50x20 -wp 0"


class Greedy(Tool):
    """The deformable stage with greedy's own smoothing and step; the field is not rounded to 0.1 voxels (-wp 0).

    Args:
        threads: threads to use.
    """

    def __init__(self, threads: int) -> None:
        self.greedy = importlib.import_module("picsl_greedy").Greedy3D()
        self.sitk = importlib.import_module("SimpleITK")
        self.folder = TemporaryDirectory()
        self.version = f"picsl_greedy {version('picsl_greedy')}"
        self.settings = f"{OPTIONS}; no affine step"
        self.threads = threads

    def register(self, fixed: str, moving: str) -> Registration:
        """Register; the field stays in memory."""
        self.greedy.execute(f'-d 3 -V 0 -threads {self.threads} {OPTIONS} -i "{fixed}" "{moving}" -o field', field=None)
        field = self.greedy["field"]

        def resample(label: str) -> NDArray[Any]:
            path = f"{self.folder.name}/field.nii.gz"  # greedy takes images from memory, but no fields
            self.sitk.WriteImage(field, path)
            command = f'-d 3 -V 0 -threads {self.threads} -rf "{fixed}" -ri NN -rm "{label}" warped -r "{path}"'
            self.greedy.execute(command, warped=None)
            warped: NDArray[Any] = self.sitk.GetArrayFromImage(self.greedy["warped"]).transpose(2, 1, 0)
            return warped

        return Registration(from_itk(self.sitk.GetArrayFromImage(field), grid_of(fixed)[1]), resample)
