"""No registration: the scans as their headers place them."""

from __future__ import annotations

from pathlib import Path

from .program import Applied, main
from .sitk import apply_transform

PACKAGE, SETTINGS = "SimpleITK", "no registration"


def register(fixed: str, moving: str, folder: Path) -> None:
    """Nothing."""


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """The identity."""
    import SimpleITK as sitk

    return apply_transform(fixed, label, sitk.Transform(3, sitk.sitkIdentity))


if __name__ == "__main__":
    main(register, apply)
