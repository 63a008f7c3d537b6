"""Entry point of the program: a Fire group of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import fire

from ..base.deferred import deferred, run_deferred
from ..base.errors import find_data_error
from ..base.option_text import quote_texts
from .register import VerdictExit

__all__ = ["COMMANDS", "find_command", "main"]

COMMANDS = (
    "register", "batch", "segment", "align-series", "warp-image", "map-points", "jacobian", "invert", "compose",
    "convert-transform", "evaluate", "build-atlas", "info",
    "check-data", "export-bundle", "phantom",
)  # fmt: skip
LIKE_REGISTER = ("batch", "segment", "align-series")  # these take its options as their own


def find_command(name: str) -> Callable[..., Any]:
    """The function of a command, in the module of its name; what it computes with is imported when it runs.

    Args:
        name: one of :data:`COMMANDS`.
    """
    own = name.replace("-", "_")
    command: Callable[..., Any] = getattr(import_module(f".{own}", __package__), own)
    return command


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``morphseek COMMAND ...``; a command's return value is printed.

    Args:
        argv: the arguments; None (default) takes those of the process.

    Raises:
        SystemExit: 2 after wrong arguments or data that cannot be used, the latter with one line on stderr; 3 after a
            doubtful and 1 after a failed registration.
    """
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        asked = words[:1] if words[:1] and words[0] in COMMANDS else COMMANDS  # all for the help, or a misspelt name
        if {"--help", "-h"} & set(words) and "--" not in words:
            # Fire takes --help for an option of a command that takes any
            words = [*(asked if len(asked) == 1 else ()), "--", "--help"]
        if len(asked) == 1:
            like = find_command("register") if asked[0] in LIKE_REGISTER else None
            words = [*asked, *quote_texts(words[1:], find_command(asked[0]), asked[0], like)]
        commands = {name: deferred(find_command(name)) for name in asked}
        fire.Fire(commands, command=words, name="morphseek", serialize=run_deferred)
    except VerdictExit as verdict:
        sys.stdout.write(f"{verdict.text}\n")
        raise SystemExit(verdict.code) from None
    except Exception as error:
        known = find_data_error(error)
        if known is None:
            raise
        sys.stderr.write(f"morphseek: {known}\n")
        raise SystemExit(2) from None
