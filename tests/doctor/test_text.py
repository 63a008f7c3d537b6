from __future__ import annotations

import json

from morphseek_monai.doctor.cost import Cost
from morphseek_monai.doctor.initial_dice import PairDice
from morphseek_monai.doctor.label_rules import LabelSummary
from morphseek_monai.doctor.report import FileReport, Finding, SubjectReport
from morphseek_monai.doctor.split_rules import PairCount
from morphseek_monai.doctor.text import Checkup, aligned, to_json, to_text

NAN = float("nan")


def checkup(subjects: int = 1, cost: Cost | None = None) -> Checkup:
    image = FileReport("data/a.nii", "image", shape=(4, 5, 6), spacing=(1.0, 1.0, 2.5), axes="RAS", low=0, high=NAN)
    reports = [SubjectReport(f"s{i}", f"s{i}", "", ("training",), image) for i in range(subjects)]
    findings = [
        Finding("ERROR", "unreadable", (f"s{subjects - 1}",), "image data/a.nii is odd", "mend it"),
        Finding("WARN", "oblique", ("a", "b", "c", "d", "e"), "image is oblique"),
    ]
    labels = [LabelSummary(2, "liver", ("s0",), (), (1500.4,))]
    dice = [PairDice("x", "y", (NAN, 0.25), "voxel by voxel"), PairDice("y", "x", (NAN, NAN), "voxel by voxel")]
    return Checkup("data: one", findings, reports, labels, [PairCount("", "", 2, 0)], 2, dice, True, cost)


def test_cells_wrap_and_columns_align() -> None:
    text = aligned(["A", "B"], [["one two three", "x"], ["four", "y"]], [8, 5])
    assert text.splitlines() == ["A        B", "one two  x", "three", "four     y"]


def test_text_names_a_few_and_counts_the_rest() -> None:
    text = to_text(checkup(25), "data")
    assert "a b c and 2 more" in text
    assert "image a.nii is odd" in text  # without the folder
    assert "... and 5 more images: --report FILE.json lists all" in text
    images = text.split("\nIMAGE ")[1].splitlines()
    assert images[1].startswith("s24 ")  # the image with the error comes first
    assert "4x5x6" in text and "1x1x2.5" in text
    assert "mean Dice before registration 0.250" in text
    assert [line.split() for line in text.splitlines() if "liver" in line] == [
        ["2", "liver", "1/1", "1500", "1500..1500", "0.250"]
    ]
    assert "0.250" not in to_text(checkup()._replace(native_ids=False), "data").split("\nLABEL")[1]
    assert text.endswith("1 error, 1 warning: do not train yet\n")


def test_verdicts() -> None:
    some = checkup()
    assert "look at the warnings, then train" in to_text(some._replace(findings=some.findings[1:]), "data")
    assert "ready to train" in to_text(some._replace(findings=[]), "data")
    assert to_text(Checkup("t", [], [], [], [], 0, [], True, None), "data").startswith("t\n")


def test_cost_says_how_it_was_found() -> None:
    cost = Cost((8, 8, 8), {"warmup": 1.5}, {"warmup": 2400}, 2**31, 2**30, 2**33, "cpu", True, False)
    text = to_text(checkup(cost=cost), "data")
    assert "measured on random data" in text and "busy" not in text
    assert ["warmup", "1.50", "2400", "1.0"] in [line.split() for line in text.splitlines()]
    assert "memory 2.0 GiB, prepared images 1.0 GiB, of 8.0 GiB here" in text
    text = to_text(checkup(cost=cost._replace(measured=False, busy=True)), "data")
    assert "estimate, scaled from half the size" in text and "busy" in text


def test_json_has_everything_and_no_nan() -> None:
    cost = Cost((8, 8, 8), {"warmup": 1.5}, {"warmup": 2400}, 2**31, 2**30, 2**33, "cpu", True, False)
    content = json.loads(json.dumps(to_json(checkup(3, cost)), allow_nan=False))
    assert (content["errors"], content["warnings"], len(content["subjects"])) == (1, 1, 3)
    assert content["subjects"][0]["image"]["high"] is None
    assert content["initial_dice"][0]["dice"] == [None, 0.25] and content["initial_dice"][1]["mean"] is None
    assert content["findings"][1]["where"] == ["a", "b", "c", "d", "e"]
    assert content["cost"]["hours"] == 1.0 and content["labels"][0]["median_ml"] == 1500.4
