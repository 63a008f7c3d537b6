"""JSON and CSV files of results."""

from __future__ import annotations

import json
import math
from pathlib import Path

from morphseek_monai.base.records import read_csv, write_csv, write_json


def test_csv_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    assert read_csv(path) == []
    write_csv(path, [{"id": 'a,"b"\nc', "dice": 0.5}, {"id": "ä", "njd": 1}])
    assert read_csv(path) == [
        {"id": 'a,"b"\nc', "dice": "0.5", "njd": ""},
        {"id": "ä", "dice": "", "njd": "1"},
    ]
    assert path.read_bytes().startswith(b"id,dice,njd\r\n")


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"a": [math.nan, (math.inf, 1)], "path": tmp_path})
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=lambda name: name) == {"a": [None, [None, 1]], "path": str(tmp_path)}
