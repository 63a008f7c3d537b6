"""The table of a batch: which pairs to register, and with which options."""

from __future__ import annotations

import ast
import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file

from ...spatial.format_names import split_format
from ..options import FILE_OPTIONS, RegisterOptions, make_options, text_options

__all__ = ["PairRow", "folder_name", "read_pairs"]

FILES = ("fixed", "moving", "fixed_label", "moving_label")
NAME = re.compile(r"\w[\w.+=@-]{0,127}")  # one folder, on every system; not hidden, not above
SUFFIX = re.compile(r"(\.nii|\.mgh|\.img|\.hdr)?\.(gz|\w{2,5})$", re.IGNORECASE)
KEYWORDS = ("auto", "off")


class PairRow(NamedTuple):
    """One pair.

    Attributes:
        name: of its folder, unique in the table.
        fixed: path of the fixed image, or of several contrasts.
        moving: path of the moving image, likewise.
        fixed_label: path of its label map, or None.
        moving_label: likewise, both or none.
        options: how to register it.
    """

    name: str
    fixed: str | tuple[str, ...]
    moving: str | tuple[str, ...]
    fixed_label: str | None
    moving_label: str | None
    options: RegisterOptions

    @property
    def contrasts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Paths of all contrasts of the fixed and of the moving image, also where there is but one."""
        fixed, moving = ((one,) if isinstance(one, str) else one for one in (self.fixed, self.moving))
        return fixed, moving


def read_pairs(path: str | os.PathLike[str], defaults: Mapping[str, Any] | None = None) -> list[PairRow]:
    """Read a table of pairs.

    Args:
        path: CSV with a header: ``fixed``, ``moving``, and where wanted ``name``, ``fixed_label``, ``moving_label``
            and any option of ``morphseek register``. Relative paths start at the table's folder; an empty cell is as
            good as no column. The images are not looked for yet.
        defaults: options for rows that do not set them.

    Raises:
        DataError: the file is missing or no table, a column is unknown, a cell is missing or wrong, or two pairs have
            one name.
    """
    require_file(path, "table of pairs")
    table = Path(path)
    try:
        with open(table, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            lines = [(reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table} is no CSV table in UTF-8 ({error}); save it as one, with commas") from error
    _check_columns(table, columns)
    rows = [_row(table, line, cells, defaults or {}) for line, cells in lines if any(_filled(cells).values())]
    if not rows:
        raise DataError(f"{table} lists no pair; add lines below the header {','.join(columns)}")
    _check_names(table, [row.name for row in rows])
    return rows


def _check_columns(table: Path, columns: list[str]) -> None:
    known = ("name", *FILES, *RegisterOptions.__dataclass_fields__)
    missing = [name for name in FILES[:2] if name not in columns]
    if missing:
        got = ", ".join(columns) or "none"
        raise DataError(f"{table} must have a header with the columns fixed and moving, got {got}; add them")
    wrong = [name or "(no name)" for name in columns if name not in known]
    if wrong or len(set(columns)) < len(columns):
        what = f"unknown columns {', '.join(wrong)}" if wrong else "a column twice"
        raise DataError(f"{table} has {what}; known are {', '.join(known)}")


def _row(table: Path, line: int, cells: dict[Any, Any], defaults: Mapping[str, Any]) -> PairRow:
    where = f"{table} line {line}"
    if None in cells:
        raise DataError(f"{where} has more cells than the header; quote cells that hold commas")
    filled = {name: text for name, text in _filled(cells).items() if text}
    for role in FILES[:2]:
        if role not in filled:
            raise DataError(f"{where} names no {role} image; fill the cell")
    fixed, moving = (_contrasts(table, filled.pop(role)) for role in FILES[:2])
    fixed_label, moving_label = (_beside(table, filled.pop(name, None)) for name in FILES[2:])
    if (fixed_label is None) != (moving_label is None):
        raise DataError(f"{where} names one of fixed_label and moving_label; give both or none")
    name = filled.pop("name", None)
    if name is not None and not NAME.fullmatch(name):
        raise DataError(f"{where}: name must be a folder name of letters, digits and _.+=@-, got {name!r}; correct it")
    texts = text_options()
    own: dict[str, Any] = {option: text if option in texts else _value(text) for option, text in filled.items()}
    for option in ("affine", "bundle", *FILE_OPTIONS):
        if option in own and own[option] not in KEYWORDS:
            form, path = split_format(str(own[option]))
            beside = str(_beside(table, path))
            if os.path.exists(beside) or option in FILE_OPTIONS:  # else a bundle's name
                own[option] = f"{form}:{beside}" if form else beside
    options = make_options({**defaults, **own}, where)
    first = [one if isinstance(one, str) else one[0] for one in (fixed, moving)]
    return PairRow(name or _default_name(*first), fixed, moving, fixed_label, moving_label, options)


def _filled(cells: Mapping[Any, Any]) -> dict[str, str]:
    return {name: (text or "").strip() for name, text in cells.items() if name is not None}


def _contrasts(table: Path, text: str) -> str | tuple[str, ...]:
    """A path, or those of several contrasts: a comma may be part of a name."""
    whole, parts = str(_beside(table, text)), tuple(str(_beside(table, part.strip())) for part in text.split(","))
    return parts if len(parts) > 1 and os.path.exists(parts[0]) and not os.path.exists(whole) else whole


def _beside(table: Path, text: str | None) -> str | None:
    return None if text is None else os.path.normpath(table.resolve().parent / Path(text).expanduser())


def _value(text: str) -> Any:
    """A cell as Python writes it, as on the command line: ``3``, ``True``; anything else is a word."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _default_name(fixed: str, moving: str) -> str:
    return "_to_".join(folder_name(SUFFIX.sub("", Path(path).name)) for path in (moving, fixed))


def folder_name(text: str) -> str:
    """The beginning of a text as the name of a folder, on every system.

    Example:
        >>> folder_name(".sub 01/T1")
        'sub_01_T1'
    """
    return re.sub(r"[^\w.+=@-]", "_", text).lstrip(".+=@-")[:60]


def _check_names(table: Path, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:  # one folder where the file system does not tell A from a
            raise DataError(f"{table} has several pairs named {name}; add a column name with a different one for each")
        seen.add(name.casefold())
