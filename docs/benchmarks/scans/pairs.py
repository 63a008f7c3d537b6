"""Which scans are registered to which: the listing docs/benchmarks/real_pairs.json, and the files that it names.

    pairs = load_pairs("DATA", split="tune", name="brains")

Settings are chosen on the pairs of ``tune``; the pairs of ``report`` are for the figures that are published. No person
is in both splits of one set, but for the lungs (two people: one direction each) and the mice (four: every reported pair
has the mouse that ``tune`` has not).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

LISTING = Path(__file__).resolve().parents[1] / "real_pairs.json"
SPLITS = ("tune", "report")


class Pair(NamedTuple):
    """Two scans of one set.

    Attributes:
        set: name of the set.
        split: ``"tune"`` or ``"report"``.
        fixed: id of the fixed scan.
        moving: id of the moving scan.
        fixed_image: file.
        moving_image: file.
        fixed_label: file, on the grid of its image.
        moving_label: file, on the grid of its image.
        inner: labels whose outline the scans do not give away; None where all are.
        unit: of distances, ``"mm"``, or ``"voxels"`` where the files have lost their voxel size.
    """

    set: str
    split: str
    fixed: str
    moving: str
    fixed_image: str
    moving_image: str
    fixed_label: str
    moving_label: str
    inner: tuple[int, ...] | None
    unit: str

    @property
    def ids(self) -> tuple[str, str]:
        """Ids of the fixed and the moving scan."""
        return self.fixed, self.moving

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size of the fixed label map in :attr:`unit`, by which distances are measured."""
        if self.unit == "voxels":
            return 1.0, 1.0, 1.0
        x, y, z = np.linalg.norm(nib.load(self.fixed_label).affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def set_names() -> list[str]:
    """Names of the sets, in the order of the tables."""
    return list(_listing())


def load_pairs(data: str | Path, split: str, name: str) -> list[Pair]:
    """The pairs of one split of one set.

    Args:
        data: folder that holds the folders of the sets.
        split: ``"tune"`` or ``"report"``.
        name: of the set, one of :func:`set_names`.

    Raises:
        ValueError: When there is no such set or split.
        FileNotFoundError: When a file that the listing names is missing.
    """
    listing = _listing()
    if name not in listing or split not in SPLITS:
        raise ValueError(
            f"load_pairs() wants a set of {', '.join(listing)} and a split of {', '.join(SPLITS)}, "
            f"got {name!r} and {split!r}"
        )
    entry = listing[name]
    folder = Path(data).resolve() / entry["folder"]
    inner = tuple(entry["inner"]) if "inner" in entry else None
    pairs = []
    for ids in entry[split]:
        files = [folder / kind / f"{scan}.nii.gz" for kind in ("images", entry.get("labels", "labels")) for scan in ids]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"the {split} pair {' <- '.join(ids)} of {name} wants {missing[0]}, which is not there"
            )
        pairs.append(Pair(name, split, *ids, *map(str, files), inner, entry.get("unit", "mm")))
    return pairs


def _listing() -> dict[str, Any]:
    return dict(json.loads(LISTING.read_text(encoding="utf-8")))
