"""Data sets of image pairs, the layouts of public data, phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.lazy import lazy_names

if TYPE_CHECKING:
    from .errors import DataError, find_data_error
    from .labelled_folder import labelled_images, named_pairs
    from .layouts import LAYOUTS, Layout, detect_layout
    from .learn2reg import label_names, training_pairs, training_subjects, validation_pairs
    from .learn2reg_json import find_dataset_json, write_dataset_json
    from .lits import LITS_LABELS, LITS_VALIDATION, lits_training_subjects, lits_validation_pairs
    from .mixture import JoinedPairs, MixedPairs
    from .pairs import PairDataset
    from .phantom import ensure_phantom, write_phantom
    from .shapes import ShapePairs, random_shapes
    from .sides import label_pairs, mirrored_labels
    from .subjects import check_disjoint
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
