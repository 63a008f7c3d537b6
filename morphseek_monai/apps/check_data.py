"""``morphseek check-data``: what is wrong with a data set, before training."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from morphseek_monai.base.records import write_json

from ..base.errors import DataError
from ..base.files import require_file
from ..base.option_text import PathText

__all__ = ["check_data"]


def check_data(
    dataset_dir: PathText,
    layout: str = "auto",
    config: PathText | Sequence[PathText] | None = None,
    estimate: bool = False,
    report: PathText | None = None,
    num_labels: int | None = None,
    validation: Sequence[int] | None = None,
    **overrides: Any,
) -> None:
    """Check a data set before training: files, grids, values, labels, copies, split, overlap, cost.

    Prints a table, worst first. Exits with code 1 where training would break or give wrong results, else with 0.

    Args:
        dataset_dir: the folder of the data set.
        layout: learn2reg, lits17, msd, or auto to look which it is; a config's own lists come first.
        config: train.json of a bundle, or a list of config files: its lists, labels and preprocessing are checked.
        estimate: True measures time and memory of one iteration of the config on this machine; takes minutes.
        report: file for the whole report as JSON.
        num_labels: number of label ids with the background; by default the config's, or what the folder names.
        validation: numbers of the held-out cases of lits17 and msd, where no config says them.
        overrides: with a config, any of its ids by name, e.g. --spatial_size "[80,96,112]".
    """
    folder = str(dataset_dir)
    if not os.path.isdir(folder):
        raise DataError(f"dataset_dir {folder} does not exist; give the folder of the data set")
    if config is None and (overrides or estimate):
        option = "estimate" if estimate else next(iter(overrides))
        raise DataError(f"check-data: --{option} needs --config; give the train.json of a bundle, or leave it out")
    files = [config] if isinstance(config, str) else list(config or ())
    for file in files:
        require_file(file, "config")
    from ..doctor.listing import list_folder
    from ..doctor.report import ERROR
    from ..doctor.run import run_checks
    from ..doctor.text import to_json, to_text

    chosen = None
    if config is None:
        listing = list_folder(folder, layout, validation)
    else:
        from ..doctor.training_config import TrainingConfig

        given = {"dataset_dir": folder, **({} if num_labels is None else {"num_labels": num_labels}), **overrides}
        chosen = TrainingConfig(files, given)
        listing = chosen.listing()
    checkup = run_checks(folder, listing, chosen, num_labels, estimate)
    if report is not None:
        write_json(report, to_json(checkup))
    sys.stdout.write(to_text(checkup, folder))
    if checkup.count(ERROR):
        raise SystemExit(1)
