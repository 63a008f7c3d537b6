"""``morphseek evaluate``: numbers of one registered pair, or of a folder of fields as challenges count them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..base.errors import DataError
from ..base.files import atomic_output, require_file, require_scan
from ..base.option_text import PathText, TransformText

if TYPE_CHECKING:
    from ..evaluation.pair import LabelScore, Landmarks, Regularity

__all__ = ["evaluate"]

_CHALLENGES = ("learn2reg", "lumir")


def evaluate(
    registration: PathText | None = None,
    transform: TransformText | None = None,
    fixed_label: PathText | None = None,
    moving_label: PathText | None = None,
    fixed_points: PathText | None = None,
    moving_points: PathText | None = None,
    space: str | None = None,
    grid: PathText | None = None,
    l2r_fields: PathText | None = None,
    dataset_dir: PathText | None = None,
    labels: Sequence[int] | None = None,
    masked: bool = False,
    challenge: str | None = None,
    out: PathText | None = None,
) -> str:
    """Measure a registration: Dice, HD95 in mm, landmarks in mm, folding; or fields as a challenge's scorer does.

    One pair: --registration (or --transform) with label maps, landmarks or both, each on its own image's grid. Labels
    are warped once, by nearest neighbour; a label that only one map has does not count.

    A challenge: --l2r_fields with --dataset_dir, for the pairs of registration_val; its numbers are those of its
    leaderboard, which are defined otherwise than ours. lumir has the non-diffeomorphic volume in the place of SDlogJ.

    Args:
        registration: folder that morphseek register wrote.
        transform: instead, a transform file of ITK, points of the fixed image -> points of the moving image.
        fixed_label: label map of the fixed image.
        moving_label: label map of the moving image.
        fixed_points: CSV of landmarks in the fixed image, in mm.
        moving_points: CSV of the same landmarks in the moving image, line by line.
        space: RAS or LPS of the CSV files, unless they tell.
        grid: the fixed image, where --transform comes without label maps.
        l2r_fields: folder of disp_*.nii.gz.
        dataset_dir: the Learn2Reg folder.
        labels: of a challenge: label ids that count, by default all that the data set names, for lumir its 133.
        masked: Learn2Reg: LogJacDetStd inside the fixed image's mask.
        challenge: learn2reg (default) or lumir, whose scorer is meant.
        out: file for the numbers, .json or .csv (of a challenge: .json, laid out as the official one).

    Returns:
        a table.
    """
    if out is not None and not str(out).endswith((".json", ".csv")[: 1 if l2r_fields else 2]):
        raise DataError(f"evaluate: --out must end in .json{'' if l2r_fields else ' or .csv'}, got {out}")
    pair = (registration, transform, fixed_label, moving_label, fixed_points, moving_points, space, grid)
    if l2r_fields is not None or dataset_dir is not None:
        if l2r_fields is None or dataset_dir is None or any(option is not None for option in pair):
            raise DataError("evaluate: --l2r_fields goes with --dataset_dir and without the options of one pair")
        result = _challenge(challenge or _CHALLENGES[0], str(l2r_fields), str(dataset_dir), labels, masked)
        from ..evaluation.text import challenge_table

        text = challenge_table(result)
        if out is not None:
            with _printed_anyway(text), atomic_output(str(out)) as temporary:
                # NaN and Infinity are what the official file has for labels that are missing or lost
                temporary.write_text(json.dumps(result, indent=4) + "\n", encoding="utf-8")
        return text
    if labels is not None or masked or challenge is not None:
        raise DataError("evaluate: --challenge, --labels and --masked belong to --l2r_fields; leave them out")
    scores, landmarks, regularity, notices = _one_pair(*pair)
    from ..evaluation.text import pair_table, write_pair

    text = "\n".join([pair_table(scores, landmarks, regularity), *(f"notice: {notice}" for notice in notices)])
    if out is not None:
        with _printed_anyway(text):
            write_pair(str(out), scores, landmarks, regularity)
    return text


@contextmanager
def _printed_anyway(text: str) -> Iterator[None]:
    """What was computed is not lost where its file cannot be written."""
    try:
        yield
    except DataError:
        sys.stdout.write(f"{text}\n")
        raise


def _one_pair(
    registration: str | None,
    transform: str | None,
    fixed_label: str | None,
    moving_label: str | None,
    fixed_points: str | None,
    moving_points: str | None,
    space: str | None,
    grid: str | None,
) -> tuple[list[LabelScore], tuple[Landmarks, Landmarks] | None, Regularity, list[str]]:
    if (registration is None) == (transform is None):
        raise DataError("evaluate: give either --registration DIR or --transform FILE")
    for name, two in (("label", (fixed_label, moving_label)), ("points", (fixed_points, moving_points))):
        if (two[0] is None) != (two[1] is None):
            raise DataError(f"evaluate: --fixed_{name} goes with --moving_{name}; give both")
    for role, path in (("label", fixed_label), ("label", moving_label), ("grid", grid)):
        if path is not None:
            require_scan(str(path), role)
    for path in (fixed_points, moving_points):
        if path is not None:
            require_file(str(path), "points")
    from ..data.scans.scan import read_scan
    from ..evaluation.pair import score_field, score_labels, score_points
    from ..registration.folder import read_grid, read_registration
    from ..spatial.files.transform_file import read_transform
    from ..spatial.point_table import read_points

    phi = read_transform(str(transform)) if registration is None else None
    where = None if grid is None else read_grid(str(grid))
    if registration is not None:
        folder = read_registration(str(registration))
        phi = folder.transform_from("fixed")
        where = where or folder.fixed
    scores: list[LabelScore] = []
    notices: list[str] = []
    if fixed_label is not None and moving_label is not None:
        fixed, moving = (read_scan(str(path), "label") for path in (fixed_label, moving_label))
        scores = score_labels(fixed, moving, phi)
        notices = [*fixed.notices, *moving.notices]
        where = where or fixed.grid
    if where is None:
        raise DataError("evaluate: --transform needs --fixed_label or --grid FIXED, where the field is measured")
    landmarks = None
    if fixed_points is not None and moving_points is not None:
        of_fixed, of_moving = (read_points(str(path), space).points for path in (fixed_points, moving_points))
        landmarks = (score_points(of_fixed, of_moving), score_points(of_fixed, of_moving, phi))
    return scores, landmarks, score_field(phi, where), notices


def _challenge(challenge: str, fields: str, dataset_dir: str, labels: Any, masked: bool) -> dict[str, Any]:
    if challenge not in _CHALLENGES:
        raise DataError(f"evaluate: --challenge must be one of {', '.join(_CHALLENGES)}, got {challenge}; correct it")
    if challenge == "lumir":
        if masked:
            raise DataError("evaluate: --masked belongs to --challenge learn2reg; leave it out")
        from ..evaluation.lumir import LUMIR_LABELS, evaluate_lumir

        return evaluate_lumir(fields, dataset_dir, labels=_ids(labels, background=True) or LUMIR_LABELS)
    from ..evaluation.learn2reg import evaluate_learn2reg

    return evaluate_learn2reg(fields, dataset_dir, labels=_ids(labels), masked=bool(masked))


def _ids(labels: Any, background: bool = False) -> list[int] | None:
    if labels is None:
        return None
    ids = [labels] if isinstance(labels, int) else list(labels)
    if not ids or not all(isinstance(index, int) and (index != 0 or background) for index in ids):
        kind = "ids" if background else "ids other than 0"
        raise DataError(f"evaluate: --labels must be {kind}, such as 1,2,3, got {labels!r}")
    return ids
