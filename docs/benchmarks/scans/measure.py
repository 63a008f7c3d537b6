"""Run the tools over the pairs: register in a measured process, apply in another, judge here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from comparison.convert import from_world
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from morphseek_monai.fields import njd_percent

from .pairs import Pair
from .programs.morphseek import RESULT
from .programs.program import Applied
from .rows import NUMBERS, Row, Rows
from .scores import score
from .tools import Tool

MEASURED = Path(__file__).with_name("measured.py")
LPS = np.array([-1.0, -1.0, 1.0])


def measure_pairs(tool: Tool, pairs: Sequence[Pair], rows: Rows, threads: int, limit: float, again: bool) -> int:
    """Measure one tool on all pairs that have no row yet.

    Args:
        tool: the tool.
        pairs: what to register.
        rows: where rows go.
        threads: that the tool may use.
        limit: wall seconds after which a registration is stopped and counts as an error.
        again: repeat pairs whose row is an error.

    Returns:
        Number of pairs that failed.

    Raises:
        ValueError: When ``rows`` has rows of this name that were measured differently.
    """
    rows.require_same_conditions(tool, threads)
    done = {row.key for row in rows.read() if not (again and row.error)}
    failed = 0
    for pair in pairs:
        if (tool.name, pair.set, *pair.ids) in done:
            continue
        row = measure_pair(tool, pair, threads, limit)
        rows.append(row)
        failed += bool(row.error)
        told = f"FAILED {row.error}" if row.error else f"Dice {row.dice:.2f} %, {row.cpu_s:.1f} s of processor"
        print(f"{tool.name}, {pair.set}, {' <- '.join(pair.ids)}: {told}", flush=True)
    return failed


def measure_pair(tool: Tool, pair: Pair, threads: int, limit: float = 3600.0) -> Row:
    """Register and judge one pair; whatever goes wrong is in the row's ``error``."""
    about = (pair.set, pair.split, *pair.ids, tool.name)
    with TemporaryDirectory() as name:
        folder = Path(name)
        cost, figures, note, error = {}, {}, "", ""
        try:
            cost = _registered(tool, pair, folder, threads, limit)
            note = _verdict(folder)
            _run(tool.apply(pair.fixed_image, pair.moving_label, folder), folder, tool.environment(threads), limit)
            figures = judge(pair, Applied.load(folder))
        except Exception as problem:  # any tool may fail in its own way
            error = " ".join(str(problem).replace(name, "FOLDER").split())[:300] or type(problem).__name__
    numbers = {**dict.fromkeys(NUMBERS, float("nan")), **cost, **figures}
    condition = {"threads": threads, "version": tool.version, "settings": tool.settings}
    return Row(*about, **numbers, unit=pair.unit, **condition, note=note, error=error)


def judge(pair: Pair, applied: Applied) -> dict[str, float]:
    """Figures of one registration by their names in :class:`Row`.

    Raises:
        ValueError: When the label map or the field is not on the fixed grid, or the field is not finite.
    """
    fixed: Any = nib.load(pair.fixed_label)
    moving: Any = nib.load(pair.moving_label)
    if applied.field.shape != (*fixed.shape, 3) or not np.isfinite(applied.field).all():
        raise ValueError(f"the field must be finite and {(*fixed.shape, 3)}, got {applied.field.shape}")
    truth = np.asarray(fixed.dataobj)
    scores = score(truth, applied.label, pair.spacing, pair.inner)
    by_field = score(truth, warped_by(applied.field, fixed.affine, moving), distances=False)
    njd = njd_percent(from_world(applied.field, fixed.affine)).item()
    own = {"dice": scores.dice, "inner_dice": scores.inner_dice, "hd95": scores.hd95}
    return {**own, "field_dice": by_field.dice, "njd": njd}


def warped_by(field: NDArray[Any], affine: NDArray[Any], moving: Any) -> NDArray[Any]:
    """A label map on the fixed grid, looked up at the nearest voxel; 0 beyond the moving grid.

    Args:
        field: displacement ``(D, H, W, 3)`` in LPS mm on the fixed grid.
        affine: of the fixed grid, voxel -> RAS mm.
        moving: the label map as NiBabel's image.
    """
    places = np.indices(field.shape[:3], dtype=np.float32).reshape(3, -1)
    points = affine[:3, :3] @ places + affine[:3, 3:] + (field * LPS).reshape(-1, 3).T
    inverse = np.linalg.inv(moving.affine)
    voxels = inverse[:3, :3] @ points + inverse[:3, 3:]
    warped: NDArray[Any] = map_coordinates(np.asarray(moving.dataobj), voxels, order=0)
    return warped.reshape(field.shape[:3])


def _registered(tool: Tool, pair: Pair, folder: Path, threads: int, limit: float) -> dict[str, float]:
    """What the registration took.

    Raises:
        RuntimeError: When it ended with an exit code that means no result.
    """
    out = folder / "cost.json"
    command = [
        sys.executable,
        "-S",
        str(MEASURED),
        str(out),
        *tool.register(pair.fixed_image, pair.moving_image, folder),
    ]
    _run(command, folder, tool.environment(threads), limit)
    cost = json.loads(out.read_text(encoding="utf-8"))
    code = cost.pop("code")
    lost = tool.checkout is not None and not (folder / RESULT / "transform.h5").is_file()
    if lost or code not in tool.exit_codes:  # an exit code of 1 is a verdict, or an error of Python
        raise RuntimeError(f"exit code {code}: {_last_words(folder)}")
    return dict(cost)


def _run(command: Sequence[str], folder: Path, environment: dict[str, str], limit: float) -> None:
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        # in the folder of the run, because transformix leaves a deformationField.nii wherever it is started
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"stopped after {limit:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        raise RuntimeError(f"exit code {code}: {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no message")


def _verdict(folder: Path) -> str:
    """What ``result.json`` of ``morphseek register`` says; nothing for other tools."""
    file = folder / RESULT / "result.json"
    return str(json.loads(file.read_text(encoding="utf-8")).get("verdict", "")) if file.is_file() else ""
