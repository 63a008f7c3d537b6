"""Data sets of image pairs, the layouts of public data, phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from ..base.errors import DataError, find_data_error
    from .layouts.labelled_folder import labelled_images, named_pairs
    from .layouts.learn2reg import label_names, training_pairs, training_subjects, validation_pairs
    from .layouts.learn2reg_json import find_dataset_json, write_dataset_json
    from .layouts.lits import LITS_LABELS, LITS_VALIDATION, lits_training_subjects, lits_validation_pairs
    from .layouts.registry import LAYOUTS, Layout, detect_layout
    from .layouts.sides import label_pairs, mirrored_labels
    from .layouts.subjects import check_disjoint
    from .pairs.dataset import PairDataset
    from .pairs.mixture import JoinedPairs, MixedPairs
    from .pairs.shapes import ShapePairs, random_shapes
    from .phantoms.write import ensure_phantom, write_phantom
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "LAYOUTS",
    "LITS_LABELS",
    "LITS_VALIDATION",
    "DataError",
    "JoinedPairs",
    "Layout",
    "MixedPairs",
    "PairDataset",
    "ShapePairs",
    "check_disjoint",
    "detect_layout",
    "ensure_phantom",
    "find_data_error",
    "find_dataset_json",
    "label_names",
    "label_pairs",
    "labelled_images",
    "lits_training_subjects",
    "lits_validation_pairs",
    "mirrored_labels",
    "named_pairs",
    "random_shapes",
    "training_pairs",
    "training_subjects",
    "validation_pairs",
    "write_dataset_json",
    "write_phantom",
]
