"""Run one tool over the pairs and judge every field alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from morphseek_monai.data.scans.stored import read_stored, require_same_grid
from morphseek_monai.fields import njd_percent, sdlogj, sdlogj_l2r
from morphseek_monai.metrics import RegistrationDice, RegistrationHD95, hard_dice

from .results import Results, Row, Scores
from .tool import Registration, Tool

Pair = Mapping[str, Mapping[str, str]]


def ids_of(pair: Pair) -> tuple[str, str]:
    """Ids of the fixed and the moving image."""
    return pair["fixed"]["id"], pair["moving"]["id"]


def measure_pairs(
    name: str, tool: Tool, pairs: Sequence[Pair], names: Mapping[int, str], results: Results, threads: int
) -> int:
    """Register all pairs that are not in ``results`` yet; a pair that fails is reported and left out.

    Args:
        name: of the tool in the results.
        tool: the tool.
        pairs: of :func:`morphseek_monai.data.validation_pairs`.
        names: of the labels by id, background included.
        results: where rows go.
        threads: that the tool works with.

    Returns:
        Number of pairs that failed.

    Raises:
        ValueError: When ``results`` has rows of this name that were measured differently.
    """
    results.require_same_conditions(name, tool.version, tool.settings, threads)
    done = results.done(name)
    failed, warm = 0, not tool.warm_up
    for pair in pairs:
        if ids_of(pair) in done:
            continue
        try:
            if not warm:
                _register(tool, pair)
                warm = True
            start = time.perf_counter()
            registration = _register(tool, pair)
            seconds = time.perf_counter() - start
            scores, structures = judge(registration, pair, len(names))
            ids = ids_of(pair)
            row = Row(name, tool.version, tool.settings, *ids, *scores, seconds, threads)
            results.append(row, structures, names)
            print(f"{name} {' <- '.join(ids)}: Dice {row.dice_percent:.2f} %, {seconds:.2f} s", flush=True)
        except Exception as error:  # any tool may fail in its own way
            failed += 1
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            print(f"FAILED {name} {' <- '.join(ids_of(pair))}: {type(error).__name__}: {reason}", file=sys.stderr)
    return failed


def judge(registration: Registration, pair: Pair, num_labels: int) -> tuple[Scores, dict[int, float]]:
    """All figures of one field except its time, and the Dice (%) of every structure both images have.

    Args:
        registration: the field and the tool's own resampler.
        pair: with the label maps.
        num_labels: number of labels with the background.
    """
    fixed, moving = (read_stored(pair[end]["label"], "label") for end in ("fixed", "moving"))
    require_same_grid(fixed, moving)
    ddf = registration.ddf
    label = torch.stack([torch.from_numpy(native.array.astype(np.int64)) for native in (moving, fixed)])[None]
    if ddf.shape != (1, 3, *label.shape[2:]):
        raise ValueError(f"the field has shape {tuple(ddf.shape)}, the label maps {tuple(label.shape[2:])}")
    if not bool(ddf.isfinite().all()):
        raise ValueError("the field is not finite")
    dice = 100 * RegistrationDice(num_labels).measure(ddf, label)[0]
    spacing = np.linalg.norm(fixed.affine[:3, :3], axis=0).tolist()
    scores = Scores(
        dice_percent=dice.nanmean().item(),
        own_dice_percent=_own_dice(registration, label, pair["moving"]["label"], num_labels),
        njd_percent=njd_percent(ddf).item(),
        sdlogj=sdlogj(ddf).item(),
        sdlogj_l2r=sdlogj_l2r(ddf).item(),
        hd95_mm=RegistrationHD95(num_labels, spacing).measure(ddf, label).nanmean().item(),
    )
    return scores, {i: value for i, value in enumerate(dice.tolist(), start=1) if not np.isnan(value)}


def _register(tool: Tool, pair: Pair) -> Registration:
    return tool.register(pair["fixed"]["image"], pair["moving"]["image"])


def _own_dice(registration: Registration, label: Tensor, file: str, num_labels: int) -> float:
    if registration.resample is None:
        return float("nan")
    warped = torch.from_numpy(np.rint(registration.resample(file)).astype(np.int64))[None, None]
    return 100 * hard_dice(label[:, 1:], warped, num_labels, moving=label[:, :1]).nanmean().item()
