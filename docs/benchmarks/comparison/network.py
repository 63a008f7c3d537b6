"""A trained network of this package, as the inference config of a bundle builds and feeds it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle.config_parser import ConfigParser

from morphseek_monai import __version__
from morphseek_monai.data import PairDataset
from morphseek_monai.engines import autocast
from morphseek_monai.fields import transfer_ddf
from morphseek_monai.handlers import load_weights

from .tool import Registration, Tool, grid_of


class Network(Tool):
    """A network; the images go through the bundle's preprocessing, the field comes back to the fixed file's grid.

    From the config come ``network``, ``preprocessing``, ``inferer`` and ``amp``, so that its backbone, steps and grid
    count.

    Args:
        bundle: folder of the bundle.
        weights: state dictionary or checkpoint.
        overlays: config files put over ``configs/inference.json``, relative to the bundle.
        overrides: config entries by id, e.g. ``{"spatial_size": [40, 48, 56], "steps": 1}``.
    """

    warm_up = True  # PyTorch prepares its kernels in the first call

    def __init__(
        self,
        bundle: Path,
        weights: Path,
        overlays: tuple[str, ...] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        config = ConfigParser()
        config.read_config([str(bundle / file) for file in ("configs/inference.json", *overlays)])
        config.update({"bundle_root": str(bundle), **(overrides or {}), "device": "$torch.device('cpu')"})
        self.network = config.get_parsed_content("network").eval()
        load_weights(weights, self.network)
        self.preprocessing = config.get_parsed_content("preprocessing")
        self.inferer = config.get_parsed_content("inferer")
        self.amp = bool(config.get_parsed_content("amp"))
        self.version = f"morphseek_monai {__version__}"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
        changes = [*overlays, *([json.dumps(overrides)] if overrides else [])]
        self.settings = (
            f"{bundle.name}, weights {digest}, {'bfloat16' if self.amp else 'float32'}, "
            f"{' '.join(changes) or 'as configured'}"
        )

    def register(self, fixed: str, moving: str) -> Registration:
        """Prepare both images, run the network, bring the field to the fixed file's grid."""
        pair = {"fixed": {"image": fixed}, "moving": {"image": moving}}
        item = PairDataset([pair], self.preprocessing, cache=False)[0]
        image = item["image"][None].as_subclass(torch.Tensor)
        with torch.no_grad(), autocast(image.device, self.amp):
            ddf = self.inferer(image, self.network).float()
        (size, to_affine), (_, to_moving_affine) = grid_of(fixed), grid_of(moving)
        ddf = transfer_ddf(ddf, item["affine"], item["moving_affine"], size, to_affine, to_moving_affine)
        return Registration(ddf)


def listed_networks(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Arguments of :class:`Network` by name, from the command line and from the file of networks.

    Args:
        args: ``bundle``, ``networks`` (a JSON file ``{name: {"weights": ..., "overlays": [...], "overrides":
            {...}}}``, weights relative to it), ``weights`` (``NAME=FILE``), ``network_overrides`` (JSON, for all).
    """
    common = json.loads(args.network_overrides)
    listed: dict[str, dict[str, Any]] = {}
    if args.networks is not None:
        for name, entry in json.loads(args.networks.read_text(encoding="utf-8")).items():
            unknown = set(entry) - {"weights", "overlays", "overrides"}
            if unknown or "weights" not in entry:
                raise ValueError(
                    f"{args.networks}: '{name}' must have 'weights' and may have 'overlays' and 'overrides', "
                    f"got {sorted(entry)}"
                )
            listed[name] = {**entry, "weights": args.networks.parent / entry["weights"]}
    for assignment in args.weights:
        name, equals, path = assignment.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--weights must be NAME=FILE, got {assignment}")
        listed[name] = {"weights": Path(path)}
    return {
        name: {
            "bundle": args.bundle,
            "weights": entry["weights"],
            "overlays": tuple(entry.get("overlays", ())),
            "overrides": {**common, **entry.get("overrides", {})},
        }
        for name, entry in listed.items()
    }
