"""Register any two scans: read, align, run the network, bring the field to the fixed image, judge, report.

``morphseek_monai.register`` is the whole; :class:`RegistrationResult` is what it gives. The other functions work on the
files of a finished registration, or on any transform that ITK reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from ..evaluation.learn2reg import evaluate_learn2reg
    from ..evaluation.pair import score_field, score_labels, score_points
    from ..evaluation.verdict import Check, judge
    from ..inference.find import InferenceOptions as Search
    from ..inference.similarity import local_correlation
    from ..spatial.apply import warp_scan
    from ..spatial.compose import compose_transforms
    from ..spatial.determinant import determinant_map
    from ..spatial.files.affine_file import read_affine
    from ..spatial.files.transform_file import read_transform, write_transform
    from ..spatial.invert import invert_transform
    from ..spatial.point_table import read_points
    from ..spatial.transform import make_transform, map_points, resample
    from .alignment.align import Alignment, align
    from .folder import read_registration
    from .models.bundles import find_bundle
    from .models.model import RegistrationModel, load_model
    from .result import RegistrationResult
    from .segmentation.fusion import fuse
    from .segmentation.segment import segment
    from .series.align_series import align_series
    from .series.motion import framewise_displacement, motion_parameters
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Alignment",
    "Check",
    "RegistrationModel",
    "RegistrationResult",
    "Search",
    "align",
    "align_series",
    "compose_transforms",
    "determinant_map",
    "evaluate_learn2reg",
    "find_bundle",
    "framewise_displacement",
    "fuse",
    "invert_transform",
    "judge",
    "load_model",
    "local_correlation",
    "make_transform",
    "map_points",
    "motion_parameters",
    "read_affine",
    "read_points",
    "read_registration",
    "read_transform",
    "resample",
    "score_field",
    "score_labels",
    "score_points",
    "segment",
    "warp_scan",
    "write_transform",
]
