"""Show on stderr what a long command logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["progress"]


@contextmanager
def progress(prefix: str = "") -> Iterator[None]:
    """Print what the logger ``morphseek`` says within this context, a line each.

    stdout is left to the command's result, and a program that uses the package has its own handlers.

    Args:
        prefix: of every line.
    """
    logger = logging.getLogger("morphseek")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
