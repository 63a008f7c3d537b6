"""What made an output: versions, seed, configuration, command line."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.bundle.config_parser import ConfigParser

from morphseek_monai.base.records import write_json
from morphseek_monai.base.version import __version__, installed

PACKAGES = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "itk")


class Provenance:
    """Write a JSON file beside what an engine produces, when the engine starts; on rank 0.

    The file holds the versions of the packages, the device's threads, the number of processes, the settings handed in,
    the command line and, for a run by ``python -m monai.bundle run``, the parsed text of its config files, so that the
    run can be repeated.

    Args:
        path: file to write, e.g. ``eval/provenance.json``.
        settings: the values that decide the result after all overrides (seed, weights, grid, ...).
    """

    def __init__(self, path: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)

    def attach(self, engine: Engine) -> None:
        """Register on ``STARTED``."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the file."""
        if idist.get_rank() > 0:
            return
        write_json(self.path, provenance(self.settings))


def provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The record as a dictionary; see :class:`Provenance`."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {"morphseek_monai": __version__, **{name: installed(name) for name in PACKAGES}},
        "threads": torch.get_num_threads(),
        "processes": idist.get_world_size(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "settings": dict(settings),
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
        "configs": {name: ConfigParser.load_config_file(name) for name in _config_files(sys.argv)},
    }


def _config_files(argv: Sequence[str]) -> list[str]:
    """Files named by ``--config_file`` (or ``--config_file=``): one, or a list written as Fire reads it."""
    for i, word in enumerate(argv):
        name, _, value = word.partition("=")
        if name in ("--config_file", "--config-file"):
            text = value or (argv[i + 1] if i + 1 < len(argv) else "")
            names = [part.strip(" '\"") for part in text.strip("[]()").split(",")]
            return [n for n in names if os.path.isfile(n)]
    return []
