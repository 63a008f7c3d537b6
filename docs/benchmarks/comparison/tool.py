"""What a tool has to do: two image files in, a displacement field of this package out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import nibabel as nib
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai import __version__


class Registration(NamedTuple):
    """Result of one pair.

    Attributes:
        ddf: displacement field ``(1, 3, D, H, W)`` float32, in voxels on the fixed grid.
        resample: warps a label map's file with the tool's own program, nearest neighbour; ``(D, H, W)`` in the order
            of NiBabel. It proves that ``ddf`` says what the tool meant. None where there is no such program.
    """

    ddf: Tensor
    resample: Callable[[str], NDArray[Any]] | None = None


class Tool(ABC):
    """A registration program, loaded and ready.

    Attributes:
        version: of the package it comes from.
        settings: in words; rows of one name have one version and one setting.
        warm_up: register the first pair once more beforehand, untimed.
    """

    version: str
    settings: str
    warm_up: bool = False

    @abstractmethod
    def register(self, fixed: str, moving: str) -> Registration:
        """Register two image files that share one grid; everything that happens here is timed."""


def grid_of(path: str) -> tuple[list[int], NDArray[Any]]:
    """Size and affine (voxel -> RAS mm) of an image file; its voxels are not read."""
    image: Any = nib.load(path)
    return list(image.shape), image.affine


class Identity(Tool):
    """No registration."""

    version = f"morphseek_monai {__version__}"
    settings = "zero field"

    def register(self, fixed: str, moving: str) -> Registration:
        """The zero field on the fixed grid."""
        return Registration(torch.zeros(1, 3, *grid_of(fixed)[0]))
