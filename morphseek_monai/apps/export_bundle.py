"""``morphseek export-bundle``: write a bundle that runs without this package."""

from __future__ import annotations

from pathlib import Path

from ..base.option_text import PathText, PathWord
from ..export.standalone import find_bundle, write_standalone

__all__ = ["export_bundle"]


def export_bundle(name: PathWord, out: PathText, overwrite: bool = False) -> str:
    """Write a self-contained bundle for the MONAI Model Zoo, MONAI Label or a machine with MONAI alone.

    The modules it needs are copied into its folder scripts and its configs name them there; weights,
    licence and documentation come along, data and results do not.

    Args:
        name: a bundle's folder, or the name of one of the bundles that come with this package's repository.
        out: parent folder; the bundle is written to OUT/NAME.
        overwrite: True replaces a bundle that is already there, with all that training left in it.

    Returns:
        the path of the written bundle.
    """
    return str(write_standalone(find_bundle(str(name)), Path(str(out)), overwrite is True))
