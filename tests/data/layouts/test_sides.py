from __future__ import annotations

import json
from pathlib import Path

import pytest

from morphseek_monai.data import DataError, label_names, label_pairs, mirrored_labels


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Left-Cerebral-White-Matter", "Right-Cerebral-White-Matter"),
        ("left kidney", "right kidney"),
        ("kidney_left", "kidney_right"),
        ("LEFT.Lung", "right (lung)"),
        ("ctx-lh-bankssts", "ctx-rh-bankssts"),
        ("Hippocampus L", "Hippocampus R"),
        ("L_Amygdala", "R_Amygdala"),
        ("femur (L)", "femur (R)"),
        ("left", "right"),
    ],
)
def test_forms_of_sided_names(left: str, right: str) -> None:
    assert mirrored_labels({0: "background", 3: left, 7: right}) == [(3, 7)]
    assert mirrored_labels({0: "background", 3: right, 7: left}) == [(7, 3)]


@pytest.mark.parametrize(
    "name",
    ["3rd-Ventricle", "Brain-Stem", "left and right lung", "vertebra L1", "a L b", "Leftovers", "bright", "", "---"],
)
def test_names_without_one_clear_side(name: str) -> None:
    assert mirrored_labels({0: "background", 1: name, 2: "Left-Caudate", 3: "Right-Caudate"}) == [(2, 3)]


def test_same_word_of_another_structure_is_no_partner() -> None:
    names = {1: "Left-Cerebellum", 2: "Left-Cerebral-Cortex", 3: "Right-Cerebral-Cortex", 4: "Right-Cerebellum"}
    assert mirrored_labels(names) == [(1, 4), (2, 3)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({1: "Left-Vessel", 2: "Left-A", 3: "Right-A"}, r"^label 1 'Left-Vessel' has no right partner .*; correct"),
        ({1: "kidney_R"}, r"label 1 'kidney_R' has no left partner"),
        ({1: "Left-A", 2: "a left", 3: "Right-A"}, r"labels 1 'Left-A' and 2 'a left' are the same side"),
    ],
)
def test_a_side_without_its_partner_is_named(names: dict[int, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mirrored_labels(names)


def test_pairs_of_a_folder(phantom: Path) -> None:
    pairs, names = label_pairs(phantom), label_names(phantom)
    assert pairs and all(names[left].replace("Left", "Right") == names[right] for left, right in pairs)
    sided = {index for pair in pairs for index in pair}
    assert not any("left" in names[i].lower() or "right" in names[i].lower() for i in set(names) - sided)


def test_names_without_sides_and_no_names(tmp_path: Path) -> None:
    path = tmp_path / "X_dataset.json"
    path.write_text(json.dumps({"labels": {"0": {"0": "background", "1": "liver", "2": "tumour"}}}))
    assert label_pairs(tmp_path) == []
    path.write_text(json.dumps({"labels": {}}))
    with pytest.raises(DataError, match="has no 'labels'"):
        label_pairs(tmp_path)
