"""Entry point of the program: a Fire group of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import fire

from ..data.errors import find_data_error
from .check_data import check_data
from .export_bundle import export_bundle
from .phantom import phantom

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Callable[..., Any]] = {"check-data": check_data, "export-bundle": export_bundle, "phantom": phantom}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``morphseek COMMAND ...``; a command's return value is printed.

    Args:
        argv: the arguments; None (default) takes those of the process.

    Raises:
        SystemExit: 2 after wrong arguments or data that cannot be used, the latter with one line on stderr.
    """
    try:
        fire.Fire(COMMANDS, command=None if argv is None else list(argv), name="morphseek")
    except Exception as error:
        known = find_data_error(error)
        if known is None:
            raise
        sys.stderr.write(f"morphseek: {known}\n")
        raise SystemExit(2) from None
