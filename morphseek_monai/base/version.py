"""The version, in one place, and those of the packages that results depend on."""

from __future__ import annotations

import importlib.metadata

__all__ = ["installed"]
__version__ = "0.1.0"


def installed(package: str) -> str | None:
    """Version of an installed distribution, None where there is none.

    Args:
        package: its name on PyPI.

    Example:
        >>> installed("no-such-package") is None
        True
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
