"""Random warps: against closed forms, and what both images of a pair share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from morphseek_monai.fields import njd_percent
from morphseek_monai.transforms import RandWarpd
from morphseek_monai.transforms.warp import _field

STILL: dict[str, Any] = {"rotate": 0.0, "zoom": (1.0, 1.0), "shift": 0.0, "deform": 0.0}


def item(size: tuple[int, int, int] = (20, 24, 16)) -> dict[str, Any]:
    """Twice one image of two boxes, intensity a tenth of the label."""
    label = torch.zeros(2, *size, dtype=torch.uint8)
    label[:, 5:15, 6:18, 4:12] = 3
    label[:, 8:12, 9:12, 6:9] = 7
    return {"image": label / 10, "label": label, "fixed_id": "f"}


def test_nothing_drawn_changes_nothing() -> None:
    before = item()
    after = RandWarpd(**STILL)(before)
    torch.testing.assert_close(after["image"], before["image"])
    assert torch.equal(after["label"], before["label"]) and after["fixed_id"] == "f"


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_zoom_magnifies_about_the_centre(zoom: float) -> None:
    label = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    label[:, 8:24, 10:22, 12:20] = 1
    after = RandWarpd(**{**STILL, "zoom": (zoom, zoom)})({"image": label.float(), "label": label})["label"]
    ends = after[0].nonzero()
    for axis, length in enumerate((16, 12, 8)):
        wanted = min(32, zoom * length)
        assert int(ends[:, axis].max() - ends[:, axis].min()) + 1 == pytest.approx(wanted, abs=1)
        assert float(ends[:, axis].float().mean()) == pytest.approx(15.5, abs=0.5)


def test_images_and_labels_go_together() -> None:
    after = RandWarpd(rotate=0.3, zoom=(0.8, 1.2), deform=0.4).set_random_state(1)(item())
    assert after["label"].dtype == torch.uint8 and set(after["label"].unique().tolist()) == {0, 3, 7}
    inside = torch.nn.functional.avg_pool3d((after["label"] == 3).float(), 3, 1, 1) == 1  # away from its edges
    assert inside.any() and bool((after["image"][inside] - 0.3).abs().max() < 0.02)
    assert not torch.equal(after["label"], item()["label"])


def test_shared_moves_both_alike() -> None:
    alike = RandWarpd(shared=True, rotate=0.3).set_random_state(0)(item())
    assert torch.equal(alike["image"][0], alike["image"][1]) and torch.equal(alike["label"][0], alike["label"][1])
    each = RandWarpd(rotate=0.3).set_random_state(0)(item())
    assert not torch.equal(each["label"][0], each["label"][1])


def test_a_seed_gives_a_draw() -> None:
    one, two = (RandWarpd().set_random_state(5)(item())["image"] for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, RandWarpd().set_random_state(6)(item())["image"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("deform", "folds"), [(0.16, 0.0), (0.4, 0.05)])
def test_what_folds(seed: int, deform: float, folds: float) -> None:
    transform = RandWarpd(**{**STILL, "deform": deform, "control": (3, 8)}).set_random_state(seed)
    transform.randomize(1)
    ddf = _field(*transform._draws[0], (24, 32, 28))
    assert deform < float(ddf.abs().max()) < deform * 32 / 3 and float(njd_percent(ddf)) <= folds


def test_an_empty_image_stays_empty() -> None:
    empty = {**item(), "image": torch.zeros(2, 20, 24, 16)}
    after = RandWarpd()(empty)
    assert not after["image"].any() and not torch.equal(after["label"], empty["label"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zoom": (1.2, 0.8)}, r"'zoom' must be \(low, high\), at least 0.01, got \(1.2, 0.8\)"),
        ({"control": (1, 4)}, r"'control' must be \(low, high\), at least 2, got \(1, 4\)"),
        ({"deform": -0.1}, "'deform' must not be negative, got -0.1"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandWarpd(**arguments)


def test_refuses_another_grid() -> None:
    with pytest.raises(ValueError, match=r"'label' must have the shape of 'image', \(2, 20, 24, 16\), got"):
        RandWarpd()({**item(), "label": item()["label"][:, :10]})
