"""Compare ways to fuse labelled atlases: one atlas, majority vote, local weighting, ANTs' joint label fusion.

    python docs/benchmarks/segment.py run --data DATA --work WORK --out docs/benchmarks/segment.csv
    python docs/benchmarks/segment.py table docs/benchmarks/segment.csv

Every method gets the same registrations, those of ``morphseek segment``, so that only the fusion differs. These stay in
WORK, and rows that are there are skipped: the same command goes on after an interruption. docs/benchmarks/segment.md
explains sets and methods.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from comparison.results import append_rows
from scans.scores import score
from scipy import ndimage

from morphseek_monai.base.progress import progress
from morphseek_monai.base.records import read_csv
from morphseek_monai.data.scans.scan import read_scan
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.registration.segmentation.segment import segment
from morphseek_monai.spatial.apply import warp_values

LISTING = Path(__file__).with_name("segment.json")
COLUMNS = ("set", "split", "target", "method", "atlases", "dice", "inner_dice", "agreement", "cpu_s")
ONE, NEAREST, MAJORITY, LOCAL, JOINT = (
    "one atlas", "majority, nearest neighbour", "segment --fusion majority", "segment", "ANTs joint label fusion"
)  # fmt: skip
METHODS = (ONE, NEAREST, MAJORITY, LOCAL, JOINT)
MARGIN = 3  # voxels around all warped labels, where joint label fusion works


class Target:
    """One scan to segment, and the atlases in a folder of links."""

    def __init__(self, data: Path, work: Path, name: str, split: str, number: int) -> None:
        entry = json.loads(LISTING.read_text(encoding="utf-8"))[name]
        self.inner, self.name = entry["inner"], f"{entry['prefix']}{number}_0000"
        folder = data.resolve() / entry["folder"]
        self.image = folder / "images" / f"{self.name}.nii.gz"
        self.truth = folder / entry["labels"] / f"{self.name}.nii.gz"
        self.atlases, self.out = work / "atlases" / name / split, work / self.name
        for atlas in entry[split]["atlases"]:
            for own, theirs in (("images", "images"), ("labels", entry["labels"])):
                link = self.atlases / own / f"{entry['prefix']}{atlas}_0000.nii.gz"
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(folder / theirs / link.name)

    def warped(self) -> tuple[list[Any], list[Any]]:
        """Images and label maps (nearest neighbour) of the atlases that were used, on the grid of the scan."""
        record = json.loads((self.out / "segment.json").read_text(encoding="utf-8"))
        grid = read_scan(self.image).grid
        images, labels = [], []
        for name in [atlas["name"] for atlas in record["atlases"] if "left_out" not in atlas]:
            registered = self.out / "atlases" / name
            images.append(read_scan(registered / "warped.nii.gz").array)
            label = read_scan(self.atlases / "labels" / f"{name}.nii.gz", "label")
            transform = read_registration(registered).transform_from("fixed")
            labels.append(warp_values(label, transform, grid, "nearest", 0).astype(np.int32))
        return images, labels

    def fuse(self, method: str) -> tuple[list[Any], int, float]:
        """Label maps (several of one atlas each), the number of atlases, and the mean agreement."""
        if method in (MAJORITY, LOCAL):
            with progress():
                record = segment(self.image, self.atlases, self.out, "local" if method == LOCAL else "majority")
            return [read_scan(self.out / "labels.nii.gz", "label").array], record["used"], record["agreement"]
        images, labels = self.warped()
        if method == JOINT:
            return [self.joint(images, labels)], len(labels), float("nan")
        return labels if method == ONE else [nearest_majority(labels)], len(labels), float("nan")

    def joint(self, images: list[Any], labels: list[Any]) -> Any:
        """ANTs' joint label fusion (Wang et al., TPAMI 2013) with the defaults of ANTsPy.

        But for ``max_lab_plus_one``: by default the background has no vote, and every voxel of the mask a structure.
        """
        import ants

        def convert(array: Any) -> Any:
            return ants.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

        near = ndimage.binary_dilation(np.any([label != 0 for label in labels], axis=0), iterations=MARGIN)
        scan = convert(read_scan(self.image).array)
        found = ants.joint_label_fusion(
            scan, convert(near), [*map(convert, images)], beta=4, rad=2, rho=0.01, usecor=False, r_search=3,
            max_lab_plus_one=True, label_list=[*map(convert, labels)],
        )  # fmt: skip
        return np.rint(found["segmentation"].numpy()).astype(np.int32)


def nearest_majority(labels: list[Any]) -> Any:
    """The most frequent of label maps that were resampled by nearest neighbour; of equals the smallest."""
    best, votes = np.zeros_like(labels[0]), np.zeros(labels[0].shape, np.int32)
    for label in np.unique(labels):
        count = np.sum([one == label for one in labels], axis=0)
        best, votes = np.where(count > votes, label, best), np.maximum(count, votes)
    return best


def run(data: str, work: str, out: str, split: str = "report", sets: str = "", methods: str = "") -> None:
    """Segment and append rows.

    Args:
        data: folder that holds the folders of the sets.
        work: folder for the registrations.
        out: CSV file.
        split: ``tune`` or ``report``.
        sets: of segment.json, apart by commas; default all.
        methods: apart by semicolons; default all.
    """
    torch.set_num_threads(1)
    listing = json.loads(LISTING.read_text(encoding="utf-8"))
    done = {(row["set"], row["target"], row["method"]) for row in read_csv(out)}
    for name in [name for name in (sets.split(",") if sets else listing) if split in listing[name]]:
        for number in listing[name][split]["targets"]:
            target = Target(Path(data), Path(work).resolve(), name, split, number)
            truth = read_scan(target.truth, "label").array
            # segment first: it registers
            for method in [m for m in (MAJORITY, *METHODS) if not methods or m in methods.split(";")]:
                if (name, target.name, method) in done:
                    continue
                start = time.process_time()
                fused, count, agreement = target.fuse(method)
                spent = time.process_time() - start
                scores = [score(truth, labels, inner=target.inner, distances=False) for labels in fused]
                dice, inner = (float(np.mean([getattr(one, key) for one in scores])) for key in ("dice", "inner_dice"))
                row = [name, split, target.name, method, count, dice, inner, agreement, spent]
                append_rows(Path(out), COLUMNS, [[f"{x:.6g}" if isinstance(x, float) else x for x in row]])
                done.add((name, target.name, method))
                sys.stderr.write(f"{target.name} {method} {dice:.2f} {inner:.2f} {spent:.1f} s\n")


def table(path: str, split: str = "report") -> None:
    """Print means (and the worst target) of each set as Markdown."""
    rows = [row for row in read_csv(path) if row["split"] == split]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    heads = []
    for name in sets:
        own = rows_of(rows, name)
        heads.append(f"{name}, {len({row['target'] for row in own})} scans, {own[0]['atlases']} atlases")
    print("| Dice (%), mean (least) | " + " | ".join(heads) + " |")
    print("|---" * (len(sets) + 1) + "|")
    for method in [method for method in METHODS if any(row["method"] == method for row in rows)]:
        cells = []
        for name in sets:
            own = [row for row in rows_of(rows, name) if row["method"] == method]
            dice, inner = ([float(row[key]) for row in own] for key in ("dice", "inner_dice"))
            cell = f"{np.mean(dice):.1f} ({min(dice):.1f})" if own else ""
            cell += f"; inner {np.mean(inner):.1f}" if dice != inner else ""
            missing = len({row["target"] for row in rows_of(rows, name)}) - len(own)
            cells.append(f"{cell}; {len(own)} scans" if own and missing else cell)
        print(f"| {method} | " + " | ".join(cells) + " |")


def rows_of(rows: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """Those of one set."""
    return [row for row in rows if row["set"] == name]


if __name__ == "__main__":
    fire.Fire({"run": run, "table": table})
