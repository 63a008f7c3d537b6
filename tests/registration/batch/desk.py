"""A desk at which registrations are only pretended."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from morphseek_monai.base.files import atomic_output
from morphseek_monai.base.records import write_json
from morphseek_monai.registration.batch.run import run_batch
from morphseek_monai.registration.batch.table import PairRow, read_pairs
from morphseek_monai.spatial.point_map import PointMap


class Pretended:
    """A result that writes one file, in which its seed is, and ``result.json`` after it."""

    def __init__(self, verdict: str, seed: int) -> None:
        self.verdict, self.seed = verdict, seed
        self.metrics = {"before": {"similarity": 0.25}, "after": {"similarity": 0.75, "njd_percent": 0.125}}
        affine = np.eye(4)
        affine[0, 3] = 2  # two voxels to the right
        self.forward = PointMap((affine,))

    def save(self, folder: Path, report: bool) -> None:
        with atomic_output(folder / "warped.nii.gz") as temporary:
            temporary.write_text(f"report {report}, seed {self.seed}")
        write_json(folder / "result.json", {"verdict": self.verdict, "metrics": self.metrics})


class Desk:
    """Four pairs ``p0`` to ``p3``, and who was registered with what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, BaseException] = {}
        self.verdicts: dict[str, str] = {}
        for number in range(4):
            for role in ("f", "m"):
                (folder / f"{role}{number}.nii").write_text("image")

    def rows(self, **cells: str) -> list[PairRow]:
        lines = [["fixed", "moving", "name", *cells]]
        lines += [[f"f{n}.nii", f"m{n}.nii", f"p{n}", *cells.values()] for n in range(4)]
        (self.folder / "pairs.csv").write_text("\n".join(map(",".join, lines)))
        return read_pairs(self.folder / "pairs.csv", {"bundle": str(self.folder / "bundle")})

    def run(self, rows: list[PairRow] | None = None, **options: Any) -> list[str]:
        """Names registered in this run."""
        self.calls.clear()
        run_batch(self.rows() if rows is None else rows, self.out, **options)
        return [name for name, _ in self.calls]

    def summary(self) -> list[dict[str, str]]:
        with open(self.out / "summary.csv", newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
