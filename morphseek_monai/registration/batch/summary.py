"""``summary.csv`` of a batch: a line per pair that is done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphseek_monai.base.records import write_csv
from morphseek_monai.evaluation.verdict import DOUBTFUL, FAILED, SUCCEEDED

from .table import PairRow

__all__ = ["ERROR", "PAIR", "RESULT", "SUMMARY", "count_outcomes", "outcome_of", "summarise"]

SUMMARY, RESULT = "summary.csv", "result.json"
PAIR = "pair.json"  # a batch's own record, written last: inputs, options, Dice
ERROR = "error.json"  # in place of the results
COLUMNS = (
    "name", "fixed", "moving", "verdict", "similarity_before", "similarity_after", "njd_percent", "dice_before",
    "dice_after", "seconds", "error",
)  # fmt: skip
UNDONE = "not done"


def summarise(rows: Sequence[PairRow], folder: Path) -> None:
    """Write the summary over all pairs that are done.

    Several processes may do this at one time: each looks again after it has written, so that whoever writes last has
    seen the pairs of all others.

    Args:
        rows: all pairs of the batch.
        folder: that holds their folders.

    Raises:
        DataError: it cannot be written.
    """
    lines = _lines(rows, folder)
    while True:
        write_csv(folder / SUMMARY, lines, COLUMNS)
        written, lines = lines, _lines(rows, folder)
        if lines == written:
            return


def count_outcomes(rows: Sequence[PairRow], folder: Path) -> Counter[str]:
    """Pairs by outcome: ``succeeded``, ``doubtful``, ``failed``, ``error``, ``not done``."""
    found = Counter(dict.fromkeys((SUCCEEDED, DOUBTFUL, FAILED, "error", UNDONE), 0))
    for row in rows:
        line = outcome_of(row, folder / row.name)
        found[line.get("verdict", "error") if line else UNDONE] += 1
    return found


def _lines(rows: Sequence[PairRow], folder: Path) -> list[dict[str, Any]]:
    lines = (outcome_of(row, folder / row.name) for row in rows)
    return [line for line in lines if line is not None]


def outcome_of(row: PairRow, folder: Path) -> dict[str, Any] | None:
    """One line of the summary.

    Args:
        row: the pair.
        folder: its own.

    Returns:
        cells by column, ``error`` in place of the numbers of a pair that could not be registered; None where it is not
        done.
    """
    fixed, moving = map(",".join, row.contrasts)
    line: dict[str, Any] = {"name": row.name, "fixed": fixed, "moving": moving}
    try:
        if (folder / ERROR).is_file():
            failure = json.loads((folder / ERROR).read_text(encoding="utf-8"))
            return {**line, "seconds": failure["seconds"], "error": failure["error"]}
        pair, result = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (PAIR, RESULT))
    except (FileNotFoundError, NotADirectoryError):  # not done, or being done
        return None
    metrics, dice = result["metrics"], pair.get("dice", {})
    return {
        **line,
        "verdict": result["verdict"],
        "similarity_before": round(metrics["before"]["similarity"], 5),
        "similarity_after": round(metrics["after"]["similarity"], 5),
        "njd_percent": round(metrics["after"]["njd_percent"], 5),
        "dice_before": round(dice["before"], 5) if dice else "",
        "dice_after": round(dice["after"], 5) if dice else "",
        "seconds": pair["seconds"],
    }
