"""Find a bundle by name, by folder, or by what is to be registered."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from morphseek_monai.base.errors import DataError

if TYPE_CHECKING:
    from morphseek_monai.data.scans.scan import Scan

# modalities of fixed and moving -> bundle
DEFAULTS = {
    ("mr", "mr"): "morphseek_brain_mri_oasis",
    ("ct", "ct"): "morphseek_liver_ct_lits",
    ("mr", "ct"): "morphseek_abdomen_mr_ct",
}


def bundle_folders() -> list[Path]:
    """Where bundles are looked for: ``$MORPHSEEK_BUNDLES``, a clone beside the package, an installation."""
    own = os.environ.get("MORPHSEEK_BUNDLES")
    clone = Path(__file__).resolve().parents[3] / "bundles"
    return [*([Path(own)] if own else []), clone, Path(sys.prefix) / "share" / "morphseek_monai" / "bundles"]


def find_bundle(name: str | os.PathLike[str]) -> Path:
    """The folder of a bundle.

    Args:
        name: a folder, or the name of a bundle in one of :func:`bundle_folders`.

    Raises:
        DataError: there is none.
    """
    for path in (Path(name), *(folder / name for folder in bundle_folders())):
        if (path / "configs").is_dir():
            return path
    found = [path for folder in bundle_folders() for path in folder.glob("*/configs/register.json")]
    known = sorted({path.parents[1].name for path in found})
    names = ", ".join(known) or "none found"
    raise DataError(f"bundle {name} is no folder of a bundle; give one, or a name of: {names}")


def choose_bundle(
    bundle: str | os.PathLike[str] | None, scans: Sequence[Scan], modalities: Sequence[str]
) -> Path:
    """The bundle to register with.

    Args:
        bundle: name or folder; None chooses by modality: brains for MR, livers for CT, abdomens for CT to MR. A scan
            does not say what it shows, so an MR of anything else needs its bundle named.
        scans: fixed and moving.
        modalities: of both, ``"auto"`` guesses.

    Raises:
        DataError: there is no such bundle, or none for these modalities.
    """
    if bundle is not None:
        return find_bundle(bundle)
    from morphseek_monai.data.scans.kind import guess_modality  # reads scans; a bundle is looked up without

    kinds = [guess_modality(s.array) if m == "auto" else m for s, m in zip(scans, modalities)]
    name = DEFAULTS.get((kinds[0], kinds[1]))
    if name is None:
        raise DataError(f"no bundle registers moving {kinds[1]} to fixed {kinds[0]}; swap the two, or give --bundle")
    return find_bundle(name)
