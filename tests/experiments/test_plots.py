"""What is drawn, read back from the axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from morphseek_monai.experiments import PlanError, plot_coordinate, plot_curves

WriteRuns = Callable[..., Path]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, in order."""
    saved: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **kwargs: Any) -> None:
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def curves(axes: Any) -> dict[str, list[list[float]]]:
    """Points of every labelled line."""
    return {line.get_label(): np.round(line.get_xydata(), 6).tolist() for line in axes.get_lines()}


def band(axes: Any) -> list[float]:
    """Lowest and highest ordinate of the first band."""
    vertices = axes.collections[0].get_paths()[0].vertices[:, 1]
    return [round(float(vertices.min()), 6), round(float(vertices.max()), 6)]


def write_curves(path: Path, dice: dict[tuple[str, int], float | None]) -> None:
    """Epochs ``(phase, iteration)``, validated where there is a Dice."""
    lines = [f"{p},{i},{'' if d is None else d},{'' if d is None else d / 10}" for (p, i), d in dice.items()]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["phase,iteration,val_mean_dice,val_njd_percent", *lines]) + "\n")


def test_learning_curves(tmp_path: Path, figures: list[Figure]) -> None:
    write_curves(tmp_path / "a0" / "curves.csv", {("warmup", 10): None, ("warmup", 20): 0.5, ("grpo", 5): 0.7})
    write_curves(tmp_path / "a1" / "curves.csv", {("warmup", 10): 0.2, ("warmup", 20): 0.7, ("grpo", 5): 0.6})
    write_curves(tmp_path / "b" / "curves.csv", {("grpo", 5): 0.4})
    out = tmp_path / "pictures" / "curves.png"
    text = plot_curves(f"warm=up={tmp_path}/a*/curves.csv", f"B={tmp_path}/b/curves.csv", out=str(out), baseline=59.0)
    assert text.splitlines()[2:] == [
        "| warm=up | 2 | 25 | 65.00 | 0.065 | 65.00 |",
        "| B | 1 | 5 | 40.00 | 0.040 | 40.00 |",
    ]
    dice, njd = figures[0].axes
    assert curves(dice)["warm=up"] == [[20, 60], [25, 65]], "phases one after the other, where all seeds have a value"
    assert curves(dice)["B"] == [[5, 40]] and curves(dice)["identity"] == [[0, 59], [1, 59]]
    assert curves(njd)["warm=up"] == [[20, 0.06], [25, 0.065]]
    assert band(dice) == pytest.approx([60 - 200**0.5, 60 + 200**0.5]), "the wider of the two"
    assert Image.open(out).size > (500, 200)


def test_curves_that_are_not_there(tmp_path: Path) -> None:
    write_curves(tmp_path / "a" / "curves.csv", {("grpo", 5): None})
    for pattern in ("a/curves.csv", "b/curves.csv"):
        with pytest.raises(PlanError, match="names no curves.csv whose runs were validated"):
            plot_curves(f"A={tmp_path}/{pattern}", out=str(tmp_path / "x.png"))


def test_dice_against_a_coordinate(write_runs: WriteRuns, tmp_path: Path, figures: list[Figure]) -> None:
    runs = [
        {"row": "s12", "at": '{"labelled": 12, "family": "soft Dice"}', "dice": 0.66},
        {"row": "s2", "at": '{"labelled": 2, "family": "soft Dice"}', "dice": 0.60},
        {"row": "s2", "at": '{"labelled": 2, "family": "soft Dice"}', "dice": 0.62, "seed": 1},
        {"row": "g2", "at": '{"labelled": 2, "family": "GRPO"}', "dice": 0.65},
        {"row": "other", "at": '{"family": "GRPO"}', "dice": 0.9},
    ]
    path = str(write_runs(runs))
    out = plot_coordinate(path, "labelled", str(tmp_path / "labels.png"), by="family")
    (axes,) = figures[0].axes
    assert curves(axes) == {"soft Dice": [[2, 61], [12, 66]], "GRPO": [[2, 65]]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["GRPO", "soft Dice"]
    assert Path(out).is_file() and axes.get_xlabel() == "labelled"
    with pytest.raises(PlanError, match="no row of .* is at tau"):
        plot_coordinate(path, "tau", str(tmp_path / "x.png"))
