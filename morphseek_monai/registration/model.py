"""A bundle's network and what the bundle says about the images it wants."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle.config_parser import ConfigParser

from morphseek_monai.data.errors import DataError
from morphseek_monai.handlers.weights import load_weights
from morphseek_monai.networks import MorphSeekNet

CONFIGS = ("configs/inference.json", "configs/register.json")


@dataclass(frozen=True)
class RegistrationModel:
    """A trained network, ready to register.

    Attributes:
        network: in evaluation mode, without gradients, on ``device``.
        size: voxels of the grid it was trained on, ``(D, H, W)``; other sizes work too.
        spacing: mm of that grid; None where each subject was scaled to ``size``.
        orientation: axes of that grid, e.g. ``"RAS"``.
        intensity: for each modality, ``"mr"`` or ``"ct"``, the transform to [0, 1] and what it is, in words.
        thresholds: what the verdict demands, see :mod:`morphseek_monai.registration.verdict`.
        mirror_axis: axis of the grid, from 0, along which a mirrored image is tried (left-right); None for anatomies
            that are not symmetric enough to be mistaken.
        name: of the bundle.
        version: of the bundle.
        sha256: of its weights.
        device: of the network.
    """

    network: MorphSeekNet
    size: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    orientation: str
    intensity: Mapping[str, tuple[Callable[[Any], Any], str]]
    thresholds: Mapping[str, tuple[float, float]]
    mirror_axis: int | None
    name: str
    version: str
    sha256: str
    device: torch.device


def load_model(bundle: str | os.PathLike[str], device: str | torch.device = "cpu") -> RegistrationModel:
    """Load a bundle for registration of any two scans.

    Args:
        bundle: folder with ``configs/inference.json`` (the network), ``configs/register.json`` (the images it wants)
            and ``models/model.pt``.
        device: where to run.

    Raises:
        DataError: a file is missing, is not what it should be, or the weights do not fit the network.
    """
    root = Path(bundle)
    for config in CONFIGS:
        if not (root / config).is_file():
            raise DataError(f"bundle {root} has no {config}; give the folder of a MorphSeek registration bundle")
    parser = ConfigParser()
    parser.read_config([str(root / config) for config in CONFIGS])
    parser["bundle_root"] = str(root)
    parser.read_meta(str(root / "configs/metadata.json"))
    settings: dict[str, Any] = parser["register"]
    weights = root / "models/model.pt"
    try:
        network = parser.get_parsed_content("network_def")
        load_weights(weights, network)
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"bundle {root} cannot be used: {error}") from error
    network.to(device).eval().requires_grad_(False)
    size = parser.get_parsed_content("register#size")
    spacing = settings["spacing"]
    return RegistrationModel(
        network=network,
        size=(size[0], size[1], size[2]),
        spacing=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
        orientation=settings["orientation"],
        intensity={kind: (parser.get_parsed_content(f"register#intensity#{kind}"), _words(config))
                   for kind, config in settings["intensity"].items()},
        thresholds={name: (low, high) for name, (low, high) in settings["thresholds"].items()},
        mirror_axis=settings["mirror_axis"],
        name=root.resolve().name,
        version=parser["_meta_#version"],
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        device=torch.device(device),
    )


def _words(config: Mapping[str, Any]) -> str:
    """A transform's config as ``ScaleIntensityRange(a_min=-200.0, a_max=250.0)``."""
    arguments = ", ".join(f"{key}={value}" for key, value in config.items() if key != "_target_")
    return f"{config['_target_']}({arguments})"
