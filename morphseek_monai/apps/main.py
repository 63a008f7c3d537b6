"""Entry point of the program: a Fire group of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import fire

from ..data.errors import find_data_error
from .batch import batch
from .build_atlas import build_atlas
from .check_data import check_data
from .compose import compose
from .deferred import deferred, run_deferred
from .evaluate import evaluate
from .export_bundle import export_bundle
from .info import info
from .invert import invert
from .jacobian import jacobian
from .map_points import map_points
from .phantom import phantom
from .register import Verdict, register
from .warp_image import warp_image

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Callable[..., Any]] = {
    "register": register,
    "batch": batch,
    "warp-image": warp_image,
    "map-points": map_points,
    "jacobian": jacobian,
    "invert": invert,
    "compose": compose,
    "evaluate": evaluate,
    "build-atlas": build_atlas,
    "info": info,
    "check-data": check_data,
    "export-bundle": export_bundle,
    "phantom": phantom,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``morphseek COMMAND ...``; a command's return value is printed.

    Args:
        argv: the arguments; None (default) takes those of the process.

    Raises:
        SystemExit: 2 after wrong arguments or data that cannot be used, the latter with one line on stderr; 3 after a
            doubtful and 1 after a failed registration.
    """
    try:
        commands = {name: deferred(command) for name, command in COMMANDS.items()}
        words = None if argv is None else list(argv)
        fire.Fire(commands, command=words, name="morphseek", serialize=run_deferred)
    except Verdict as verdict:
        sys.stdout.write(f"{verdict.text}\n")
        raise SystemExit(verdict.code) from None
    except Exception as error:
        known = find_data_error(error)
        if known is None:
            raise
        sys.stderr.write(f"morphseek: {known}\n")
        raise SystemExit(2) from None
