"""Rules on reports that are made up, for what is laborious to plant into files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from morphseek_monai.doctor.file_rules import check_files
from morphseek_monai.doctor.findings import findings
from morphseek_monai.doctor.grid_rules import Unified, check_grids
from morphseek_monai.doctor.label_rules import check_labels, summarise_labels
from morphseek_monai.doctor.report import FileReport, Finding, SubjectReport
from morphseek_monai.doctor.split_rules import check_split, count_pairs


def image(number: int, **changes: Any) -> FileReport:
    affine = tuple(tuple(row) for row in np.eye(4).tolist())
    sound = FileReport(
        f"{number}.nii",
        "image",
        shape=(20, 20, 20),
        spacing=(1.0, 1.0, 1.0),
        axes="RAS",
        affine=affine,
        pixdim=(1.0, 1.0, 1.0),
        codes=(0, 1),
        low=0,
        high=9,
        digest=f"image {number}",
    )
    return replace(sound, **changes)


def label(number: int, counts: dict[int, int], **changes: Any) -> FileReport:
    return image(
        number,
        role="label",
        counts=counts,
        low=min(counts),
        high=max(counts),
        digest=f"label {number}",
        slices=9,
        **changes,
    )


def subject(number: int, side: str = "training", **changes: Any) -> SubjectReport:
    made = SubjectReport(str(number), str(number), "", (side,), image(number), label(number, {0: 900, 1: 100}))
    return replace(made, **changes)


def levels(found: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f.level, f.check, f.where) for f in found if f.level != "OK"]


def group(*volumes: int) -> list[SubjectReport]:
    return [subject(i, label=label(i, {0: 10**6, 1: n})) for i, n in enumerate(volumes)]


def test_an_unlikely_volume_is_named() -> None:
    assert levels(check_labels(group(1000, 1100, 900, 1050, 100), {}, None)) == [("WARN", "label_volume", ("4",))]
    assert levels(check_labels(group(1000, 1100, 900, 1050, 10000), {}, None)) == [("WARN", "label_volume", ("4",))]


@pytest.mark.parametrize("volumes", [(1000, 1100, 900, 1050, 500), (10, 1000, 90, 10500, 100, 2), (1000, 1100, 100)])
def test_spread_structures_and_small_groups_are_left_alone(volumes: tuple[int, ...]) -> None:
    assert levels(check_labels(group(*volumes), {}, None)) == []


def test_names_without_a_label_and_labels_without_a_name() -> None:
    found = list(check_labels(group(5, 5), {0: "background", 1: "liver", 2: "tumour"}, 3))
    assert levels(found) == [("WARN", "label_missing", ())]
    assert found[0].what == "label 2 (tumour) occurs in no label map"


def test_summary_skips_empty_and_unread_maps() -> None:
    subjects = [*group(5), subject(7, label=label(7, {0: 9})), subject(8, label=None)]
    (summary,) = summarise_labels(subjects, {})
    assert (summary.present, summary.absent, summary.volumes) == (("0",), (), (0.005,))


@pytest.mark.parametrize(
    ("unified", "expected"),
    [
        (Unified(), [("ERROR", "shape", ("1",)), ("ERROR", "axes", ("2",)), ("ERROR", "spacing_differs", ("3",))]),
        (Unified(shape=True), [("ERROR", "axes", ("2",)), ("ERROR", "spacing_differs", ("3",))]),
        (Unified(True, True, True), []),
    ],
)
def test_preprocessing_may_unify_grids(unified: Unified, expected: Any) -> None:
    odd = [
        image(1, shape=(20, 20, 24)),
        image(2, axes="LPS", affine=tuple(map(tuple, np.diag([-1.0, -1, 1, 1]).tolist()))),
        image(3, spacing=(1.0, 1.0, 1.2), affine=tuple(map(tuple, np.diag([1.0, 1, 1.2, 1]).tolist()))),
    ]
    subjects = [subject(i, label=None) for i in range(10, 14)] + [
        subject(i, image=file, label=None) for i, file in enumerate(odd, 1)
    ]
    assert levels(check_grids(subjects, unified)) == expected


def test_header_round_off_is_no_difference() -> None:
    near = np.eye(4) + 1e-6 * np.arange(16).reshape(4, 4) % 3e-6
    near[3] = 0, 0, 0, 1
    subjects = [subject(0), subject(1, image=image(1, affine=tuple(map(tuple, near.tolist()))))]
    assert levels(check_grids(subjects, Unified())) == []


def test_labels_half_a_voxel_off_are_a_warning_and_more_an_error() -> None:
    for shift, level in ((0.3, "WARN"), (0.7, "ERROR")):
        affine = np.eye(4)
        affine[1, 3] = shift
        off = label(1, {0: 9, 1: 9}, affine=tuple(map(tuple, affine.tolist())))
        assert levels(check_grids([subject(1, label=off)], Unified())) == [(level, "label_grid", ("1",))]


@pytest.mark.parametrize(("low", "high", "warns"), [(0, 3000, True), (-1024, 3000, False), (0, 255, False)])
def test_hounsfield_units_have_negative_values(low: float, high: float, warns: bool) -> None:
    ct = subject(1, modality="CT", image=image(1, low=low, high=high))
    assert [f.check for f in check_files(ct)] == ["hounsfield"] * warns
    assert list(check_files(replace(ct, modality="MR"))) == []


@pytest.mark.parametrize(
    ("apart", "found"), [(None, []), (1e-3, []), (2.0, ["qform_sform"]), (np.nan, ["qform_sform"])]
)
def test_qform_against_sform(apart: float | None, found: list[str]) -> None:
    assert [f.check for f in check_files(subject(1, image=image(1, codes=(1, 1), apart=apart)))] == found


def test_copies_of_mr_and_ct_of_one_person() -> None:
    shared = label(1, {0: 9, 1: 9})
    one_person = [subject(i, subject="p", label=shared) for i in (1, 2)]
    others = [subject(3), subject(4, "validation")]
    assert levels(check_split([*one_person, *others], [])) == []
    two_people = [subject(i, label=shared) for i in (1, 2)]
    assert levels(check_split([*two_people, *others], [])) == [("ERROR", "label_copy", ("1", "2"))]


def test_constant_volumes_are_no_copies() -> None:
    dull = [subject(i, image=image(i, low=0, high=0, digest="0"), label=None) for i in (1, 2)]
    assert "duplicate" not in [f.check for f in check_split(dull, []) if f.level != "OK"]


@pytest.mark.parametrize("side", ["training", "validation"])
def test_a_side_without_any_label(side: str) -> None:
    subjects = [
        replace(subject(i, s), label=None if s == side else subject(i).label)
        for i, s in enumerate(("training", "training", "validation", "validation"))
    ]
    pair = {"fixed": {"image": "2.nii", "id": "2"}, "moving": {"image": "3.nii", "id": "3"}}
    expected = "WARN" if side == "training" else "ERROR"
    assert (expected, "unlabelled", ()) in levels(check_split(subjects, [pair]))


def test_one_training_image_makes_no_pair() -> None:
    assert ("ERROR", "no_pair", ()) in levels(check_split([subject(1)], []))
    assert count_pairs([subject(1), subject(2, "validation")]) == []


def test_nothing_to_check_is_an_error() -> None:
    assert ("ERROR", "files", ()) in levels(findings([]))


def test_findings_join_and_sort() -> None:
    subjects = [subject(i, image=image(i, codes=(0, 0))) for i in range(3)] + [subject(4, image=image(4, not_finite=1))]
    found = findings(subjects)
    assert levels(found) == [("ERROR", "not_finite", ("4",)), ("WARN", "no_orientation", ("0", "1", "2"))]
    assert isinstance(found[0], Finding)
