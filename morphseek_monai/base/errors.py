"""The one exception for anything wrong with the user's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["DataError", "collect_errors", "find_data_error", "report_error", "require_whole", "told"]


class DataError(ValueError):
    """A file or a list of files is not what registration needs.

    The message is one line: the file, what was expected, what was found, and the cure. Command line programs
    print it and exit with code 2; everything else lets it pass.

    Args:
        message: the line.

    Example:
        >>> raise DataError("scan.nii.gz is empty (0 bytes); copy it again")
        Traceback (most recent call last):
        ...
        morphseek_monai.base.errors.DataError: scan.nii.gz is empty (0 bytes); copy it again
    """

    def __init__(self, message: str) -> None:
        # a DataLoader worker's exception is re-created in the main process with the worker's whole traceback
        # as its message; the original line is the last one of that text
        marker = f"{type(self).__name__}: "
        if "Original Traceback" in message and marker in message:
            message = message.rsplit(marker, 1)[1]
        super().__init__(" ".join(message.split()))


def find_data_error(error: BaseException) -> DataError | None:
    """Find the :class:`DataError` that MONAI's ``RuntimeError: applying transform ...`` buries.

    Args:
        error: what was caught around a transform, a data loader or an engine.

    Returns:
        the DataError among ``error`` and its causes, or None.

    Example:
        >>> try:
        ...     try:
        ...         raise DataError("scan.nii.gz is empty")
        ...     except DataError as inner:
        ...         raise RuntimeError("applying transform") from inner
        ... except RuntimeError as outer:
        ...     print(find_data_error(outer))
        scan.nii.gz is empty
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, DataError):
            return link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return None


_collected: ContextVar[list[DataError] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_errors() -> Iterator[list[DataError]]:
    """Let the readers of a folder go on after each :func:`report_error`, to list all faults at once.

    Example:
        >>> with collect_errors() as errors:
        ...     report_error(DataError("a.nii.gz does not exist"))
        ...     report_error(DataError("b.nii.gz does not exist"))
        >>> [str(error) for error in errors]
        ['a.nii.gz does not exist', 'b.nii.gz does not exist']
    """
    found: list[DataError] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def report_error(error: DataError) -> None:
    """Raise ``error``; within :func:`collect_errors` only note it.

    Args:
        error: a fault of one file or entry, without which the rest of a list can still be read.

    Raises:
        DataError: ``error``.
    """
    found = _collected.get()
    if found is None:
        raise error
    found.append(error)


def require_whole(name: str, value: Any, least: int = 0, otherwise: str = "", most: int | None = None) -> None:
    """Refuse what is no whole number of at least ``least``.

    Args:
        name: of the argument, for the message.
        value: as it was given; True and False are no numbers.
        least: smallest value.
        otherwise: what else it may be, for the message.
        most: largest value; None for no limit.

    Raises:
        DataError: it is something else.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise DataError(f"{name} must be {otherwise}a whole number {limits}, got {value!r}; correct it")


def told(error: BaseException) -> str:
    """An error of one item among many, in one line.

    Args:
        error: what was caught; the line of a :class:`DataError` among its causes, or else type and message.

    Example:
        >>> told(MemoryError("no room\\nleft"))
        'MemoryError: no room left'
    """
    known = find_data_error(error)
    return str(known) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
