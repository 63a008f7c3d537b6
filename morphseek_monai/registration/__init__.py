"""Register any two scans: read, align, run the network, bring the field to the fixed image, judge, report.

``morphseek_monai.register`` is the whole; :class:`RegistrationResult` is what it gives. The companions work on the
files of a finished registration, or on any transform that ITK reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.lazy import lazy_names

if TYPE_CHECKING:
    from .affine import Alignment, align
    from .affine_file import read_affine
    from .apply import warp_scan
    from .bundles import find_bundle
    from .composition import compose_transforms
    from .determinant import determinant_map
    from .evaluation import score_field, score_labels, score_points
    from .folder import read_registration
    from .infer import Search
    from .inverse import invert_transform
    from .learn2reg import evaluate_learn2reg
    from .model import RegistrationModel, load_model
    from .points import read_points
    from .result import RegistrationResult
    from .similarity import local_correlation
    from .transform import make_transform, map_points, resample
    from .transform_file import read_transform, write_transform
    from .verdict import Check, judge
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Alignment",
    "Check",
    "RegistrationModel",
    "RegistrationResult",
    "Search",
    "align",
    "compose_transforms",
    "determinant_map",
    "evaluate_learn2reg",
    "find_bundle",
    "invert_transform",
    "judge",
    "load_model",
    "local_correlation",
    "make_transform",
    "map_points",
    "read_affine",
    "read_points",
    "read_registration",
    "read_transform",
    "resample",
    "score_field",
    "score_labels",
    "score_points",
    "warp_scan",
    "write_transform",
]
