"""A bundle's network and what the bundle says about the images it wants."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.evaluation.verdict import LIMITS
from morphseek_monai.networks import MorphSeekNet

CONFIGS = ("configs/inference.json", "configs/register.json")
METADATA = "configs/metadata.json"


@dataclass(frozen=True)
class RegistrationModel:
    """A trained network, ready to register.

    Attributes:
        network: in evaluation mode, without gradients, on ``device``.
        size: voxels of the grid it was trained on, ``(D, H, W)``; other sizes work too.
        voxels: that the longest side of the anatomy had in training; the network knows no other size, and no mm.
        orientation: axes of that grid, e.g. ``"RAS"``.
        intensity: for each modality, ``"mr"`` or ``"ct"``, the transform to [0, 1] and what it is, in words.
        thresholds: what the verdict demands, see :mod:`morphseek_monai.evaluation.verdict`.
        mirror_axis: axis of the grid, from 0, along which a mirrored image is tried (left-right); None for anatomies
            that are not symmetric enough to be mistaken.
        name: of the bundle.
        version: of the bundle.
        sha256: of its weights.
        device: of the network.
        made_data: what the weights were trained on, where that were no scans; "" otherwise, and where the bundle does
            not say it of these weights.
    """

    network: MorphSeekNet
    size: tuple[int, int, int]
    voxels: float
    orientation: str
    intensity: Mapping[str, tuple[Callable[[Any], Any], str]]
    thresholds: Mapping[str, tuple[float, float]]
    mirror_axis: int | None
    name: str
    version: str
    sha256: str
    device: torch.device
    made_data: str = ""


def choose_device(device: str) -> torch.device:
    """The device of that name; ``"auto"`` is the GPU if there is one.

    Raises:
        DataError: this machine has no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    must = f"device must be auto, cpu or cuda[:n] of this machine, got {device!r}"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch built without CUDA asserts
        raise DataError(f"{must} ({str(error).splitlines()[0]})") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DataError(f"{must}; correct it")
    return chosen


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
    for config in (*CONFIGS, METADATA):
        if not (root / config).is_file():
            raise DataError(f"bundle {root} has no {config}; give the folder of a MorphSeek registration bundle")
    try:
        return _load(root, torch.device(device))
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"bundle {root} cannot be used: {error}") from error
    except (LookupError, TypeError, ImportError, RuntimeError) as error:  # of configs that somebody edited
        raise DataError(f"bundle {root} cannot be used: {type(error).__name__}: {error}") from error


def _load(root: Path, device: torch.device) -> RegistrationModel:
    # here, since a scan or an option that is refused should not wait for MONAI
    from monai.bundle.config_parser import ConfigParser

    from morphseek_monai.networks.weights import load_weights

    parser = ConfigParser()
    parser.read_config([str(root / config) for config in CONFIGS])
    parser["bundle_root"] = str(root)
    parser.read_meta(str(root / METADATA))
    settings: dict[str, Any] = parser["register"]
    if "voxels" not in settings:
        old = ", got spacing, which is mm and for one anatomy only" if "spacing" in settings else ""
        raise ValueError(f"register.json must say voxels, those of the anatomy's longest side in training{old}; add it")
    weights = root / "models/model.pt"
    network = parser.get_parsed_content("network_def")
    load_weights(weights, network)
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        raise ValueError(f"{weights} has NaN or infinite weights; copy it again, or train it anew")
    network.to(device).eval().requires_grad_(False)
    size, voxels = (parser.get_parsed_content(f"register#{name}") for name in ("size", "voxels"))
    _check(size, voxels, settings)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    trained_on = parser.get("_meta_#trained_on", {}) or {}
    # training writes other weights into the bundle, of which its metadata say nothing
    made = trained_on.get("weights_sha256") == sha256 and trained_on.get("real_scans") is False
    return RegistrationModel(
        network=network,
        size=(size[0], size[1], size[2]),
        voxels=float(voxels),
        orientation=settings["orientation"],
        intensity={kind: (parser.get_parsed_content(f"register#intensity#{kind}"), _words(config))
                   for kind, config in settings["intensity"].items()},
        thresholds={name: (low, high) for name, (low, high) in settings["thresholds"].items()},
        mirror_axis=settings["mirror_axis"],
        name=root.resolve().name,
        version=parser["_meta_#version"],
        sha256=sha256,
        device=device,
        made_data=str(trained_on["data"]) if made else "",
    )


def _check(size: Sequence[int], voxels: float, settings: Mapping[str, Any]) -> None:
    if len(size) != 3 or not min(size) > 0:
        raise ValueError(f"size in register.json must be three positive numbers, got {list(size)}; correct it")
    if not voxels > 0:
        raise ValueError(f"voxels in register.json must be a positive number, got {voxels}; correct it")
    nib.orientations.axcodes2ornt(tuple(settings["orientation"]))  # type: ignore[no-untyped-call]
    unknown = sorted(set(settings["thresholds"]) - set(LIMITS))
    if unknown:
        raise ValueError(f"thresholds in register.json has {', '.join(unknown)}; it may have {', '.join(LIMITS)}")


def _words(config: Mapping[str, Any]) -> str:
    """A transform's config as ``ScaleIntensityRange(a_min=-200.0, a_max=250.0)``."""
    arguments = ", ".join(f"{key}={value}" for key, value in config.items() if key != "_target_")
    return f"{config['_target_']}({arguments})"
