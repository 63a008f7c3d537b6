"""What ``check-data`` asks of a training config: its lists, its preprocessing, its length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle.config_parser import ConfigParser
from monai.transforms.croppad.dictionary import CropForegroundd
from monai.transforms.spatial.dictionary import Orientationd, Spacingd

from ..base.errors import DataError
from ..base.files import require_file
from ..data.layouts.subjects import is_pair
from ..data.pairs.pairing import ordered_pairs
from ..transforms import SelectLabelsd
from .grid_rules import Unified
from .listing import Listing, list_data
from .report import ERROR, OK, Finding

__all__ = ["PHASES", "TrainingConfig", "read_config"]

# phase -> where the bundles keep its trainer
PHASES = {"warmup": "warmup", "grpo": "train"}


def read_config(files: Sequence[str], overrides: Mapping[str, Any]) -> ConfigParser:
    """Read config files as ``monai.bundle run`` does.

    Args:
        files: later files over earlier ones; the bundle is the folder above the first one's folder.
        overrides: values by id.

    Raises:
        DataError: a missing file, no config, or an id that the config has not.
    """
    parser = ConfigParser()
    for file in files:
        require_file(file, "config")
    try:
        parser.read_config(list(files))
    except ValueError as error:
        raise DataError(f"config {', '.join(files)} is not valid ({error}); correct it") from error
    parser["bundle_root"] = str(Path(files[0]).resolve().parent.parent)
    for key, value in overrides.items():
        if key.split("#")[0] not in parser:
            raise DataError(f"--{key} is no option, and no id of config {files[0]}; correct its spelling")
        parser[key] = value
    return parser


class TrainingConfig:
    """A training config of this package's bundles, with overrides, as far as data are concerned.

    Args:
        files: the config files.
        overrides: values by id, among them ``dataset_dir``.

    Raises:
        DataError: see :func:`read_config`.
    """

    def __init__(self, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
        self.files = list(files)
        self.overrides = dict(overrides)
        self.parser = read_config(self.files, self.overrides)

    def get(self, key: str, default: Any = None) -> Any:
        """Value of an id, its references and expressions resolved; ``default`` where the config has no such id."""
        try:
            self.parser[key]
        except (KeyError, IndexError, TypeError):  # as ConfigParser raises for what is not there
            return default
        return self.parser.get_parsed_content(key)

    def listing(self) -> Listing:
        """The lists of the config's own two data sets."""
        return list_data(lambda: self.get("train#dataset#data", []), lambda: self.get("validate#dataset#data", []))

    def preprocessing(self) -> Any:
        """The transform that validation applies to one subject."""
        return self.get("validate#preprocessing")

    def unified(self, shape: bool) -> Unified:
        """What the preprocessing makes equal between subjects.

        Args:
            shape: whether subjects were seen to come out of it with one shape.
        """
        # cropped to the body and resized, images have the size of the anatomy, not of its voxels
        return Unified(shape, axes=self._has(Orientationd), spacing=self._has(Spacingd, CropForegroundd))

    @property
    def maps_labels(self) -> bool:
        """Whether the ids of the files are not those of training."""
        return self._has(SelectLabelsd)

    def _has(self, *kinds: type[Any]) -> bool:
        transform = self.preprocessing()
        return transform is not None and any(isinstance(step, kinds) for step in transform.flatten().transforms)

    def iterations(self, images: int) -> dict[str, int]:
        """Iterations of each phase that the config runs.

        Args:
            images: number of training images, the epoch's length where the config does not set it.
        """
        chosen = self.get("phase", "all")
        per_epoch = math.ceil((self.get("train#dataset#length") or images) / self.get("train#dataloader#batch_size", 1))
        return {
            phase: per_epoch * int(self.get(f"{node}#trainer#max_epochs"))
            for phase, node in PHASES.items()
            if chosen in ("all", phase) and self.get(f"{node}#trainer#max_epochs") is not None
        }

    def judge_pairs(self, people: Sequence[str], modality_of: Sequence[str]) -> Finding:
        """Finding about the pairs that the config makes of the training images.

        Args:
            people: whom each image belongs to.
            modality_of: the modality of each image.
        """
        data = self.get("train#dataset#data", [])
        if data and all(is_pair(entry) for entry in data):
            return Finding(OK, "pairs", (), f"{len(data)} training pairs, as listed")
        relation, modalities = self.get("train#dataset#relation", "across"), self.get("train#dataset#modalities")
        try:
            count = len(ordered_pairs(people, relation, modalities, modality_of))
        except DataError as error:
            what, _, cure = str(error).rpartition("; ")
            return Finding(ERROR, "pairs", (), f"training {what}", cure)
        kinds = "" if modalities is None else f", fixed {modalities[0]}, moving {modalities[1]}"
        whom = {"across": "of different people", "within": "of one person", "both": "of any two images"}[relation]
        return Finding(OK, "pairs", (), f"{count} training pairs {whom}{kinds}")

    def size(self, seen: Sequence[int]) -> tuple[int, ...]:
        """Spatial size that the network gets.

        Args:
            seen: shape of a prepared image, used where the config leaves the size to the data.
        """
        size = self.get("spatial_size")
        return tuple(size) if size and min(size) > 0 else tuple(seen)
