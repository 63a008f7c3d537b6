"""The cause of a failed bundle run, as the last line that the user sees."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]

WRAPPERS = ("Failed to evaluate", "Failed to instantiate", "applying transform")


def cause_of(error: BaseException) -> BaseException:
    """What MONAI wrapped into a ``RuntimeError`` on its way through a config; any other error is its own cause.

    Example:
        >>> try:
        ...     try:
        ...         raise ValueError("scan.nii.gz is empty; copy it again")
        ...     except ValueError as inner:
        ...         raise RuntimeError("Failed to evaluate ...") from inner
        ... except RuntimeError as outer:
        ...     print(cause_of(outer))
        scan.nii.gz is empty; copy it again
    """
    while isinstance(error, RuntimeError) and str(error).startswith(WRAPPERS) and error.__cause__ is not None:
        error = error.__cause__
    return error


def show_cause_last() -> None:
    """Let an uncaught error of a bundle end with the line that says what to do.

    Python prints a chain of exceptions from the cause to the last wrapper, which for a bundle is a piece of its config;
    the line that matters stands hundreds of lines above. From now on it is repeated at the end. Bundles call this in
    ``initialize``. Calling it again changes nothing.
    """
    if not isinstance(sys.excepthook, _CauseLast):
        sys.excepthook = _CauseLast(sys.excepthook)


class _CauseLast:
    def __init__(self, previous: Hook) -> None:
        self.previous = previous

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.previous(kind, error, trace)
        cause = cause_of(error)
        if cause is not error:
            sys.stderr.write(f"\n{type(cause).__name__}: {cause}\n")
