"""File habits of readers and writers: nothing half-written, a plain word for what cannot be read."""

from __future__ import annotations

import errno
import gzip
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DataError, report_error

__all__ = [
    "alone",
    "atomic_output",
    "atomic_write",
    "removed",
    "require_file",
    "require_scan",
    "reserve",
    "unreadable",
]

_GZIP_MAGIC = b"\x1f\x8b"
_READ_CHUNK = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file completely or not at all.

    Yields a temporary path in the same folder, with the same extension (writers choose the format by it).
    After the block it takes the place of ``path`` in one step; after an exception it is removed and ``path``
    is as it was. Missing parent folders are made.

    Args:
        path: the file that is to appear.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "sub" / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(os.path.abspath(path))  # a library may change the working folder while the file is written
    # two containers that write one file on a shared disk may have the same process number
    temporary = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    finally:
        with suppress(OSError):  # nothing to remove: success, or a folder that could not be made
            temporary.unlink()


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[Path]:
    """:func:`atomic_write` for results: what stops the writing is told in one line.

    Args:
        path: the file that is to appear.

    Raises:
        DataError: the folder cannot be made or written.
    """
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"{path} cannot be written ({reason}); give a writable folder with free space"
        ) from error


@contextmanager
def removed(paths: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """Files that are written together: removed before the block, and again where it does not come to its end.

    Args:
        paths: the files, of which the first says that the others are complete.

    Raises:
        DataError: a file that is there cannot be removed.
    """
    files = [Path(path) for path in paths]
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataError(f"{file} cannot be written ({reason}); give a writable folder") from error
    try:
        yield
    except BaseException:  # an interruption too
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        raise


@contextmanager
def alone(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Within the block no other process is in one of the same folder: files that belong together are not mixed.

    The system lets the next one in when a process ends, however it ends. Where there are no such locks (Windows, some
    network disks), nobody waits.

    Args:
        folder: made if it is missing and can be.
    """
    descriptor = None
    with suppress(OSError, ImportError):
        import fcntl

        Path(folder).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def reserve(path: str | os.PathLike[str], size: int) -> None:
    """See that a file can grow to a size, where a library is to write it that does not notice, or survive, a full disk.

    Args:
        path: the file, made or emptied.
        size: in bytes.

    Raises:
        OSError: the disk, the quota or the limit of this process does not suffice. Systems that cannot tell, do not.
    """
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise


def require_file(path: str | os.PathLike[str], role: str) -> None:
    """Raise the line that says which file is missing.

    Args:
        path: the file.
        role: what it is for, e.g. ``"image"``; the message starts with it.

    Raises:
        DataError: there is no such file, or it is a folder.
    """
    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "does not exist"
        report_error(DataError(f"{role} {path} {found}; correct the path in the data list"))


def require_scan(path: str | os.PathLike[str], role: str) -> None:
    """Raise the line that says which scan is missing.

    Args:
        path: a file, or a folder of DICOM slices.
        role: what it is for, e.g. ``"moving image"``; the message starts with it.

    Raises:
        DataError: there is neither.
    """
    if not os.path.isfile(path) and not os.path.isdir(path):
        link = " (a symbolic link that leads nowhere, or in a circle)" if os.path.islink(path) else ""
        raise DataError(f"{role} {os.fspath(path)} does not exist{link}; correct the path")


def unreadable(path: str | os.PathLike[str]) -> str | None:
    """Say why an image file cannot be read, by looking at the bytes.

    Args:
        path: a file that some reader refused.

    Returns:
        the reason and the cure, or None where the file looks sound from outside.
    """
    path = Path(path)
    if not path.is_file():
        return "does not exist; correct the path in the data list"
    if path.stat().st_size == 0:
        return "is empty (0 bytes); copy it again"
    with open(path, "rb") as stream:
        compressed = stream.read(2) == _GZIP_MAGIC
    if path.suffix == ".gz" and not compressed:
        return "is not gzip-compressed although its name ends in .gz; rename or compress it"
    if path.suffix == ".nii" and compressed:
        return "is gzip-compressed although its name ends in .nii; rename it to .nii.gz"
    if compressed:
        try:
            with gzip.open(path) as stream:
                while stream.read(_READ_CHUNK):
                    pass
        except (EOFError, OSError, zlib.error):
            return "is truncated or damaged (its gzip stream does not end properly); copy it again"
    return None
