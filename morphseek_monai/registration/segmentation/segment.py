"""Segment a scan by several labelled atlases: register each, let them vote, say how far they agree."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import alone, removed
from morphseek_monai.base.records import write_csv, write_json
from morphseek_monai.data.scans.scan import Scan, read_scan, write_scan
from morphseek_monai.evaluation.verdict import DOUBTFUL, FAILED
from morphseek_monai.spatial.transform import point_map

from ..batch.run import run_batch
from ..batch.summary import RESULT, outcome_of
from ..batch.table import PairRow
from ..folder import read_registration
from ..options import RegisterOptions
from ..record import versions
from .atlases import find_atlases, read_labels
from .fusion import fuse_slabs
from .structures import structure_rows
from .voters import Voters, store_voters
from .weighting import local_weights

__all__ = ["FUSIONS", "segment"]

LOG = logging.getLogger("morphseek")

FUSIONS = ("local", "majority")
FILES = ("segment.json", "labels.nii.gz", "agreement.nii.gz", "structures.csv")


def segment(
    image: str | os.PathLike[str],
    atlases: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fusion: str = "local",
    options: RegisterOptions | None = None,
) -> dict[str, Any]:
    """Label a scan by registering labelled images to it.

    Every atlas is registered as by :func:`morphseek_monai.register`, into ``OUT/atlases/NAME``; run again, what is done
    is not repeated, so that another ``fusion`` takes seconds. An atlas that cannot be read, or whose registration
    failed, is left out and told of. The others vote, each by linear interpolation of its label map, once from its own
    grid.

    Writes ``labels.nii.gz`` and ``agreement.nii.gz``, the share of the votes that agree, both on the grid of the scan;
    ``structures.csv`` (a line per structure: voxels, volume, agreement, atlases that have it), ``atlases/summary.csv``,
    and, last, ``segment.json`` with both and what became of each atlas.

    Args:
        image: the scan, a file or a folder of DICOM slices.
        atlases: folder with ``images/NAME.nii.gz`` and ``labels/NAME.nii.gz``, or in a layout of
            :data:`~morphseek_monai.data.LAYOUTS`. The scan itself, if it is there, is left out.
        out: folder for the results.
        fusion: ``"local"`` weights every vote by the similarity of the images around the voxel
            (:func:`~.weighting.local_weights`), ``"majority"`` counts all alike.
        options: of the registrations; None takes the defaults of ``morphseek register``, without reports.

    Returns:
        the content of ``segment.json``.

    Raises:
        DataError: the scan cannot be read, there is no atlas, or none is left, an option is not what it should be, or
            the folder cannot be written.
    """
    if fusion not in FUSIONS:
        raise DataError(f"segment: --fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}; correct it")
    folder = Path(os.path.abspath(out))  # libraries change the working folder
    options = options or RegisterOptions(report=False)
    scan = read_scan(image, "image", options.frames[0])
    found = find_atlases(atlases, image, options)
    with alone(folder), removed(folder / name for name in FILES):
        run_batch(found.rows, folder / "atlases")
        lines = [_outcome(row, folder / "atlases" / row.name) for row in found.rows]
        lines += [{"name": name, "left_out": reason} for name, reason in found.left_out.items()]
        used = _used(found.rows, lines)
        with _scratch(folder) as scratch:
            voters, have = [], dict[int, int]()
            for row in used:
                labels = read_labels(found.labels[row.name])
                voters.append(_voters(scan, labels, folder / "atlases" / row.name, scratch / row.name, fusion))
                for label in np.unique(labels.array).tolist():
                    have[int(label)] = have.get(int(label), 0) + 1
            fused = fuse_slabs(voters, scan.grid)
            del voters  # the files are open
        rows = structure_rows(fused, scan.grid, have)
        shares = [row["agreement"] for row in rows if row["voxels"]]
        record = {
            "image": scan.name,
            "fusion": fusion,
            "agreement": round(float(np.mean(shares)), 5) if shares else None,
            "structures": rows,
            "atlases": lines,
            "used": len(used),
            "notices": _notices(rows, fused.agreement, lines, scan),
            "options": options.record(),
            "versions": versions(),
        }
        smallest = np.result_type(*(np.min_scalar_type(end) for end in (min(have), max(have))))
        write_scan(folder / "labels.nii.gz", fused.labels.astype(smallest), scan.grid, scan)
        write_scan(folder / "agreement.nii.gz", fused.agreement, scan.grid, scan)
        write_csv(folder / "structures.csv", rows)
        write_json(folder / "segment.json", record)
    return record


def _used(rows: list[PairRow], lines: list[dict[str, Any]]) -> list[PairRow]:
    """Tell which atlases are left out, and return the others."""
    left_out = {line["name"]: line["left_out"] for line in lines if "left_out" in line}
    for name, reason in left_out.items():
        LOG.info("notice: atlas %s is left out: %s", name, reason)
    used = [row for row in rows if row.name not in left_out]
    if not used:
        first, reason = next(iter(left_out.items()))
        raise DataError(
            f"segment: none of {len(left_out)} atlases is left, not {first}, since {reason:.200}; give others, or other"
            " options"
        )
    return used


def _outcome(row: PairRow, folder: Path) -> dict[str, Any]:
    """What became of an atlas; ``left_out`` says why where it may not vote."""
    line = outcome_of(row, folder) or {"name": row.name, "error": f"{folder} cannot be written"}
    kept = ("verdict", "similarity_before", "similarity_after", "njd_percent")
    told = {"name": row.name, "image": row.moving, **{name: line[name] for name in kept if name in line}}
    if "error" in line:
        return {**told, "left_out": line["error"]}
    if line["verdict"] == FAILED:
        checks = json.loads((folder / RESULT).read_text(encoding="utf-8"))["checks"]
        bad = {check["name"]: check["value"] for check in checks if check["outcome"] == FAILED}
        # JSON has null for what is not finite
        reasons = ", ".join(f"{name} {float('nan') if value is None else value:.3g}" for name, value in bad.items())
        return {**told, "left_out": f"its registration failed ({reasons})"}
    return told


def _voters(scan: Scan, labels: Scan, registered: Path, scratch: Path, fusion: str) -> Voters:
    registration = read_registration(registered)
    points = point_map(registration.transform_from("fixed"))
    if points is None:  # register writes matrices and fields alone
        raise DataError(f"{registered} holds a transform of another kind; remove it, and segment again")
    weights = np.ones(scan.grid.size, np.float32)
    if fusion == "local":
        weights = local_weights(scan.array, read_scan(registered / "warped.nii.gz", "warped image").array)
    return store_voters(scratch, labels, points, weights, scan.grid)


def _notices(rows: list[dict[str, Any]], agreement: Any, lines: list[dict[str, Any]], scan: Scan) -> list[str]:
    notices = list(scan.notices)
    doubtful = [line["name"] for line in lines if line.get("verdict") == DOUBTFUL]
    if doubtful:
        notices.append(f"the registrations of {len(doubtful)} atlases are doubtful: {', '.join(doubtful)}")
    lost = [str(row["label"]) for row in rows if not row["voxels"]]
    if lost:
        notices.append(f"{len(lost)} structures of the atlases win no voxel: {', '.join(lost)}")
    unseen = float((agreement == 0).mean())
    if unseen:
        notices.append(f"no atlas sees {100 * unseen:.3g} % of the scan: label 0, agreement 0 there")
    return notices


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for what would not fit into memory, on the disk of the results."""
    scratch = Path(tempfile.mkdtemp(prefix=".votes-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
