"""MorphSeek as MONAI parts: latent-space policy optimisation for deformable registration of 3-D images.

Floors, each importing only from those below: ``apps``, ``experiments``; ``doctor``, ``export``; ``registration``,
``evaluation``; ``inference``, ``engines``, ``handlers``; ``networks``, ``losses``, ``metrics``, ``rewards``;
``spatial``, ``data``, ``transforms``; ``fields``, ``space``; ``base``.

>>> from morphseek_monai import register
>>> result = register("fixed.nii.gz", "moving.nii.gz")  # doctest: +SKIP
>>> result.save("out")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base.lazy import lazy_names
from .base.version import __version__

if TYPE_CHECKING:
    from .inference.find import InferenceOptions as Search
    from .registration.register import register
    from .registration.result import RegistrationResult
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["RegistrationResult", "Search", "__version__", "register"]
