"""The picture of a registered pair, as a figure, a file and a TensorBoard entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import Tensor

from morphseek_monai.engines import RegistrationEvaluator
from morphseek_monai.fields import jacobian_determinant
from morphseek_monai.handlers import PairFigure, registration_figure
from morphseek_monai.handlers.figure import COLUMNS
from morphseek_monai.networks import MorphSeekNet

FakeEngine = Callable[..., Engine]
SIZE = (6, 8, 10)


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, *SIZE, generator=generator), 0.4 * torch.randn(3, *SIZE, generator=generator)


def shown(axes: Any) -> Any:
    return np.asarray(axes.get_images()[0].get_array())


def test_columns_show_the_middle_planes() -> None:
    image, _ = scene()
    ddf = torch.zeros(3, *SIZE)
    ddf[0] = 1.0
    figure = registration_figure(image, ddf, "a pair")
    axes = np.array(figure.axes[: 3 * len(COLUMNS)]).reshape(3, -1)
    assert figure.get_suptitle() == "a pair"
    assert tuple(ax.get_title() for ax in axes[0]) == COLUMNS
    moving, fixed = image
    for axis, row in enumerate(axes):
        middle = SIZE[axis] // 2
        warped = torch.cat([moving[1:], moving[-1:]])
        for ax, volume in zip(row, (fixed, moving, warped, fixed - moving, fixed - warped)):
            np.testing.assert_allclose(shown(ax), volume.select(axis, middle).T, atol=1e-5)
        np.testing.assert_allclose(shown(row[6]), 1.0, atol=1e-5)


def test_differences_share_a_scale_and_images_another() -> None:
    figure = registration_figure(*scene())
    limits = [ax.get_images()[0].get_clim() for ax in figure.axes[:5]]
    assert len(set(limits[:3])) == len(set(limits[3:])) == 1
    assert limits[3][0] == -limits[3][1]


def test_grid_lines_are_the_sampled_positions() -> None:
    ddf = torch.zeros(3, *SIZE)
    ddf[1], ddf[2] = 0.25, -0.5
    grid = registration_figure(scene()[0], ddf).axes[5]  # first row: axis 1 to the right, axis 2 upwards
    x, y = (np.concatenate([getattr(line, f"get_{name}data")() for line in grid.lines]) for name in "xy")
    assert (x.min(), x.max(), y.min(), y.max()) == (0.25, SIZE[1] - 0.75, -0.5, SIZE[2] - 1.5)


def test_folds_are_black() -> None:
    image, ddf = scene()
    ddf *= 5
    jacobian = jacobian_determinant(ddf[None])[0].select(0, SIZE[0] // 2)
    assert (jacobian <= 0).any()
    folded = registration_figure(image, ddf).axes[6]
    smooth = registration_figure(image, 0 * ddf).axes[6]

    def black_area(ax: Any) -> int:
        return sum(len(path.vertices) for collection in ax.collections for path in collection.get_paths())

    assert black_area(folded) > 0 == black_area(smooth)


def test_constant_image_can_be_drawn(tmp_path: Path) -> None:
    registration_figure(torch.ones(2, *SIZE), torch.zeros(3, *SIZE)).savefig(tmp_path / "constant.png")


@pytest.mark.parametrize(
    ("image", "ddf"),
    [((1, *SIZE), (3, *SIZE)), ((2, *SIZE), (2, *SIZE)), ((2, *SIZE), (3, 6, 8, 9)), ((1, 2, *SIZE), (1, 3, *SIZE))],
)
def test_refuses_shapes_that_do_not_fit(image: tuple[int, ...], ddf: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"registration_figure\(\) 'image' \(2, D, H, W\) and 'ddf' .* must share"):
        registration_figure(torch.zeros(image), torch.zeros(ddf))


def test_evaluation_writes_file_and_tensorboard(
    make_net: Callable[..., MorphSeekNet], make_batch: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    path, log_dir = tmp_path / "eval" / "pair.png", tmp_path / "tensorboard"
    evaluator: SupervisedEvaluator = RegistrationEvaluator(
        device="cpu",
        val_data_loader=[make_batch(2)],
        network=make_net(),
        val_handlers=[PairFigure(str(path), str(log_dir))],
    )
    evaluator.run()
    assert path.read_bytes().startswith(b"\x89PNG")
    events = event_accumulator.EventAccumulator(str(log_dir))
    events.Reload()
    assert len(events.Images("pair")) == 1


def test_draws_the_last_pair_at_every_interval(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Tensor, str]] = []
    draw = registration_figure

    def spy(image: Tensor, ddf: Tensor, title: str) -> Any:
        drawn.append((image, title))
        return draw(image, ddf, title)

    monkeypatch.setattr("morphseek_monai.handlers.figure.registration_figure", spy)
    image, ddf = scene()
    state = engine(
        epoch=1,
        output=[{"image": 0 * image, "pred": ddf}, {"image": image, "pred": ddf}],
        batch=[{"moving_id": "m0", "fixed_id": "f0"}, {"moving_id": "m1", "fixed_id": "f1"}],
    )
    handler = PairFigure(str(tmp_path / "pair.png"), interval=2)
    for _ in range(5):
        handler(state)
    assert [title for _, title in drawn] == ["moving m1, fixed f1"] * 3
    assert torch.equal(drawn[0][0], image)
