"""JSON and CSV files, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .files import atomic_output

__all__ = ["plain_json", "read_csv", "write_csv", "write_json"]


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file; an older one stays until the new one is complete.

    Args:
        path: of the file; its folder is made if missing.
        content: what :mod:`json` takes; numbers that are not finite become null, since JSON has none, and anything
            else (a path, a tensor's size) its text.

    Raises:
        DataError: the file cannot be written.
    """
    text = json.dumps(plain_json(content), indent=2, default=str, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(
    path: str | os.PathLike[str],
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    lineterminator: str = "\r\n",
) -> None:
    """Write a CSV file with a header; an older one stays until the new one is complete.

    Args:
        path: of the file.
        rows: cells by column; those that a row lacks stay empty.
        columns: None takes those of all rows, in the order of their appearance.
        lineterminator: the default is RFC 4180's; ``"\\n"`` for files under version control.

    Raises:
        DataError: the file cannot be written.
    """
    rows = list(rows)
    text = io.StringIO(newline="")
    names = columns if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator=lineterminator)
    writer.writeheader()
    writer.writerows(rows)
    with atomic_output(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file, each by the names of the columns; none where there is no file.

    Args:
        path: of a file that :func:`write_csv` or the like wrote.

    Example:
        >>> read_csv("nothing.csv")
        []
    """
    if not os.path.isfile(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain_json(content: Any) -> Any:
    """The same content with null for every number that is not finite.

    Example:
        >>> plain_json({"dice": [0.5, float("nan")]})
        {'dice': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {key: plain_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain_json(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
