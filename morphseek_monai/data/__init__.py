"""Data sets of image pairs, the Learn2Reg layout, phantoms."""

from __future__ import annotations

from .errors import DataError, find_data_error
from .learn2reg import label_names, training_pairs, training_subjects, validation_pairs
from .learn2reg_json import find_dataset_json, write_dataset_json
from .pairs import PairDataset
from .phantom import ensure_phantom, write_phantom
from .subjects import check_disjoint

__all__ = [
    "DataError",
    "PairDataset",
    "check_disjoint",
    "ensure_phantom",
    "find_data_error",
    "find_dataset_json",
    "label_names",
    "training_pairs",
    "training_subjects",
    "validation_pairs",
    "write_dataset_json",
    "write_phantom",
]
