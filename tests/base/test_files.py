from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from morphseek_monai.base.files import atomic_output, require_file, reserve, unreadable
from morphseek_monai.data import DataError

FullDisk = Callable[[int], AbstractContextManager[None]]


def test_atomic_output_keeps_the_extension_and_makes_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "x.nii.gz"
    with atomic_output(target) as temporary:
        assert temporary.parent == target.parent and temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_atomic_output_leaves_the_old_file_after_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_output(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_output_names_an_unusable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(DataError, match=r"file/x\.json cannot be written .*give a writable folder")
    with refused, atomic_output(tmp_path / "file" / "x.json"):
        pass


def test_reserve_makes_room_or_says_that_there_is_none(tmp_path: Path, full_disk: FullDisk) -> None:
    reserve(tmp_path / "a", 5000)
    with full_disk(4000):
        reserve(tmp_path / "b", 4000)
        with pytest.raises(OSError, match="File too large"):
            reserve(tmp_path / "c", 4001)


@pytest.mark.parametrize(("number", "refused"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EINVAL, False)])
def test_reserve_goes_on_where_the_system_cannot_tell(
    number: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", answer)
    with pytest.raises(OSError, match=os.strerror(number)) if refused else nullcontext():
        reserve(tmp_path / "a", 10)
    monkeypatch.delattr(os, "posix_fallocate")
    reserve(tmp_path / "a", 10)


def test_require_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label .*none\.nii\.gz does not exist; correct the path"):
        require_file(tmp_path / "none.nii.gz", "label")
    with pytest.raises(DataError, match="is a folder"):
        require_file(tmp_path, "image")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.nii.gz", b"", r"empty \(0 bytes\)"),
        ("a.nii.gz", b"plain bytes", "is not gzip-compressed although"),
        ("a.nii", gzip.compress(b"x" * 99), "is gzip-compressed although"),
        ("a.nii.gz", gzip.compress(bytes(range(256)) * 40)[:-20], "truncated or damaged"),
        ("a.nii.gz", gzip.compress(b"x" * 99)[:-8] + b"\0" * 8, "truncated or damaged"),  # checksum
    ],
    ids=["empty", "plain", "compressed", "cut", "damaged"],  # gzip writes the time, and names of tests must be the same
)
def test_unreadable_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        raise DataError(str(unreadable(tmp_path / name)))


def test_unreadable_has_nothing_to_say_about_sound_files(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"x" * 99))
    (tmp_path / "a.nii").write_bytes(b"x" * 99)
    assert unreadable(tmp_path / "a.nii.gz") is None
    assert unreadable(tmp_path / "a.nii") is None
