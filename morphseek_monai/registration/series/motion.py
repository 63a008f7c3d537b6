"""Rigid maps as the numbers that people look at: shifts, turns, and the way from one volume to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

__all__ = ["HEAD_RADIUS", "framewise_displacement", "motion_parameters", "motion_record", "motion_rows"]

Array = NDArray[np.float64]

HEAD_RADIUS = 50.0
"""mm: from the middle of an adult's head to the cortex, about (Power et al. 2012)."""

MOVED = 0.5  # mm of framewise displacement from which Power et al. leave a volume out
COLUMNS = ("trans_x_mm", "trans_y_mm", "trans_z_mm", "rot_x_deg", "rot_y_deg", "rot_z_deg")


def motion_parameters(matrix: NDArray[Any], centre: NDArray[Any]) -> Array:
    """Shift and turn of a rigid map, ``x -> R (x - c) + c + t``.

    Args:
        matrix: ``(4, 4)``, RAS mm.
        centre: ``c`` ``(3,)``, RAS mm; a turn about it shifts nothing.

    Returns:
        ``(6,)``: ``t`` along x, y, z in mm; angles about x, y, z in degrees, which act in this order about fixed axes.

    Example:
        >>> matrix = np.eye(4)
        >>> matrix[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
        >>> motion_parameters(matrix, np.array([10.0, 0, 0])).round(6).tolist()  # (0, 0, 0) stays: the centre moves
        [-10.0, 10.0, 0.0, 0.0, 0.0, 90.0]
    """
    turn = np.asarray(matrix, dtype=np.float64)[:3, :3]
    shift = turn @ centre + matrix[:3, 3] - centre
    return np.concatenate([shift, Rotation.from_matrix(turn).as_euler("xyz", degrees=True)])


def framewise_displacement(parameters: Sequence[Array | None], radius: float = HEAD_RADIUS) -> list[float]:
    """How far the head moved since the volume before: the sum of the absolute differences of all six parameters.

    Angles count as arcs on a sphere (J. Power et al., Spurious but systematic correlations in functional connectivity
    MRI networks arise from subject motion, NeuroImage 59(3), 2012). The first volume has 0.

    Args:
        parameters: of each volume, as :func:`motion_parameters`; None for those of which nothing is known. The next one
            is compared with the last known.
        radius: of the sphere in mm.

    Returns:
        mm; NaN where nothing is known.

    Example:
        >>> framewise_displacement([np.zeros(6), np.array([0, 1.0, -0.5, 0, 0, 0])])
        [0.0, 1.5]
    """
    found, last = [], None
    for now in parameters:
        if now is None:
            found.append(float("nan"))
            continue
        step = np.abs(now - last) if last is not None else np.zeros(6)
        found.append(float(step[:3].sum() + radius * np.radians(step[3:]).sum()))
        last = now
    return found


def motion_rows(
    count: int,
    matrices: Mapping[int, Array],
    centre: NDArray[Any],
    correlations: Mapping[int, float],
    notes: Mapping[int, str],
) -> list[dict[str, Any]]:
    """The table of motion, a line per volume.

    Args:
        count: of the volumes.
        matrices: rigid maps, points of the mean -> points of the volume, of those that have one.
        centre: about which they turn ``(3,)``, RAS mm.
        correlations: with the mean, of the same volumes.
        notes: what there is to say of a volume.

    Returns:
        cells by column; numbers of volumes without a map are empty.
    """
    parameters = [motion_parameters(matrices[n], centre) if n in matrices else None for n in range(count)]
    rows = []
    for number, (own, moved) in enumerate(zip(parameters, framewise_displacement(parameters), strict=True)):
        row: dict[str, Any] = {"volume": number, **dict.fromkeys((*COLUMNS, "fd_mm", "correlation"), "")}
        if own is not None:
            row |= {name: round(float(value), 5) for name, value in zip(COLUMNS, own, strict=True)}
            row |= {"fd_mm": round(moved, 5), "correlation": round(correlations[number], 5)}
        rows.append({**row, "note": notes.get(number, "")})
    return rows


def motion_record(rows: Sequence[Mapping[str, Any]], centre: NDArray[Any]) -> dict[str, Any]:
    """The table in a few numbers, plain JSON types.

    Args:
        rows: of :func:`motion_rows`.
        centre: as there.
    """
    known = [row for row in rows if row["fd_mm"] != ""]
    moved = [row["fd_mm"] for row in known]
    return {
        "volumes": len(rows),
        "unusable": [row["volume"] for row in rows if row["fd_mm"] == ""],
        "notes": {str(row["volume"]): row["note"] for row in rows if row["note"]},
        "centre_of_rotation_ras": [round(float(value), 5) for value in centre],
        "fd_mean_mm": round(float(np.mean(moved)), 5),
        "fd_max_mm": max(moved),
        f"fd_above_{MOVED:g}_mm": [row["volume"] for row in known if row["fd_mm"] > MOVED],
        "correlation": round(float(np.mean([row["correlation"] for row in known])), 5),
    }
