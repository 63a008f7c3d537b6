"""Everything that ``check-data`` looks at, one after the other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..base.errors import DataError
from ..data.layouts.lits_files import LITS_LAYOUTS
from ..data.layouts.subjects import image_id
from .cost import Cost, estimate_cost, judge_cost
from .findings import findings, merge
from .grid_rules import Unified
from .initial_dice import PairDice, PreparedPair, judge_dice, native_dice, prepare, prepared_dice
from .inspect import inspect_subject
from .label_rules import summarise_labels
from .listing import Listing, names_of
from .report import ERROR, Finding, SubjectReport
from .split_rules import count_pairs
from .text import Checkup

if TYPE_CHECKING:
    from .training_config import TrainingConfig

__all__ = ["run_checks"]

_MOST_SHAPES = 8  # of training images that are prepared to see whether they come out alike


def run_checks(
    folder: str, listing: Listing, config: TrainingConfig | None, num_labels: int | None, estimate: bool
) -> Checkup:
    """Read every image once and judge files, grids, labels, split, pairs, overlap and cost.

    Args:
        folder: of the data set.
        listing: its lists.
        config: whose preprocessing is carried out; None judges the files as they are.
        num_labels: number of label ids with the background; None takes what the folder names.
        estimate: whether time and memory of one iteration are measured.
    """
    reading = tqdm(listing.subjects, desc="reading", unit="image", leave=False, disable=None)
    reports = [inspect_subject(subject, sides) for subject, sides in reading]
    names = names_of(folder)
    if config is None:
        # the liver bundles bring patients of any scanner to one grid
        liver = listing.layout in LITS_LAYOUTS
        usual = Unified(shape=liver, axes=liver, spacing=liver)
        limit = num_labels or (max(names) + 1 if names else None)
        found = findings(reports, listing.validation, names, limit, usual)
        dice = [native_dice(pair, limit or _ids(reports)) for pair in listing.validation]
        seen: tuple[int, ...] = ()
    else:
        found, dice, seen = _check_config(listing, reports, names, config)
    measured = [pair for pair in dice if pair is not None]
    found += judge_dice(measured)
    known = {f"{finding.what}; {finding.cure}" for finding in found}
    found += [_list_error(line) for line in listing.errors if line not in known]
    cost = None
    if config is not None and estimate:
        cost = _estimate(config, reports, seen, found)
    people = len({subject.subject for subject in reports})
    reader = f"layout {listing.layout}" if config is None else f"as {', '.join(config.files)} uses them"
    return Checkup(
        f"{folder}: {len(reports)} images of {people} people, {reader}",
        merge(found),
        reports,
        summarise_labels(reports, names),
        count_pairs(reports),
        len(listing.validation),
        measured,
        config is None or not config.maps_labels,
        cost,
    )


def _check_config(
    listing: Listing, reports: list[SubjectReport], names: dict[int, str], config: TrainingConfig
) -> tuple[list[Finding], list[PairDice | None], tuple[int, ...]]:
    """Findings, Dice and network input when the config's preprocessing does its part."""
    num_labels = int(config.get("num_labels"))
    limit = None if config.maps_labels else num_labels
    prepared, refused = _prepare(listing, reports, config)
    shapes = Counter(item.shape for item in prepared.values())
    unified = config.unified(shape=len(shapes) == 1)
    found = findings(reports, listing.validation, names if limit else {}, limit, unified)
    explained = {name for finding in found if finding.level == ERROR for name in finding.where}
    found += [finding for finding in refused if finding.where[0] not in explained]
    training = [report for report in reports if "training" in report.sides]
    if training:
        found.append(config.judge_pairs([r.subject for r in training], [r.modality for r in training]))
    if len(shapes) > 1:
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in list(shapes)[:3])
        what = f"the config's preprocessing gives images of {len(shapes)} different shapes ({sizes}): they make no pair"
        found.append(Finding(ERROR, "prepared_shape", (), what, "set --spatial_size, or add ResizeWithPadOrCropd"))
    dice = [prepared_dice(pair, prepared, num_labels) for pair in listing.validation]
    in_files = Counter(subject.image.shape for subject in reports if not subject.image.error)
    usual = (shapes or in_files).most_common(1)
    return found, dice, usual[0][0] if usual else ()


def _prepare(
    listing: Listing, reports: list[SubjectReport], config: TrainingConfig
) -> tuple[dict[str, PreparedPair], list[Finding]]:
    """Run the preprocessing on validation subjects, and on one training subject of each shape."""
    transform, with_mask = config.preprocessing(), bool(config.get("train#dataset#use_mask", False))
    prepared: dict[str, PreparedPair] = {}
    refused: list[Finding] = []
    shapes: set[tuple[int, ...]] = set()
    for subject, report in sorted(
        zip((entry for entry, _ in listing.subjects), reports, strict=True),
        key=lambda item: "validation" not in item[1].sides,
    ):
        new = report.image.shape not in shapes and len(shapes) < _MOST_SHAPES
        if any(file.error for file in report.files()) or not ("validation" in report.sides or new):
            continue
        shapes.add(report.image.shape)
        try:
            prepared[image_id(subject)] = prepare(subject, transform, with_mask)
        except DataError as error:
            what, _, cure = str(error).rpartition("; ")
            refused.append(Finding(ERROR, "prepare", (report.id,), f"preprocessing: {what}", cure))
    return prepared, refused


def _estimate(
    config: TrainingConfig, reports: list[SubjectReport], seen: tuple[int, ...], found: list[Finding]
) -> Cost | None:
    size = config.size(seen)
    training = sum("training" in subject.sides for subject in reports)
    if not size:
        return None
    try:
        cost = estimate_cost(config, size, len(reports), training)
    except RuntimeError as error:
        found.append(Finding(ERROR, "cost", (), str(error), "lower --spatial_size, or correct the config"))
        return None
    found += judge_cost(cost)
    return cost


def _list_error(line: str) -> Finding:
    what, _, cure = line.rpartition("; ")
    return Finding(ERROR, "list", (), what or line, cure if what else "")


def _ids(reports: list[SubjectReport]) -> int:
    return 1 + max((index for report in reports if report.label for index in report.label.counts), default=1)
