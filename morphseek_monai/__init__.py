"""MorphSeek as MONAI parts: latent-space policy optimisation for deformable registration of 3-D images.

Floors, each importing only from those below: ``apps``, ``experiments``; ``registration``; ``engines``, ``handlers``;
``networks``, ``losses``, ``metrics``, ``rewards``; ``data``, ``transforms``; ``fields``.

>>> from morphseek_monai import register
>>> result = register("fixed.nii.gz", "moving.nii.gz")  # doctest: +SKIP
>>> result.save("out")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .registration.infer import Search
    from .registration.register import register
    from .registration.result import RegistrationResult

__all__ = ["RegistrationResult", "Search", "__version__", "register"]

_HOMES = {"register": "register", "Search": "infer", "RegistrationResult": "result"}


def __getattr__(name: str) -> Any:
    """Import PyTorch, MONAI and ITK when they are needed: the bundles' parts are imported without them."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'morphseek_monai' has no attribute {name!r}")
    return getattr(import_module(f".registration.{_HOMES[name]}", __name__), name)
