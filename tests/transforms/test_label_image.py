"""Images from label maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from morphseek_monai.transforms import RandLabelImaged

PLAIN: dict[str, Any] = {"texture": (0.0, 0.0), "sigma": (0.0, 0.0)}


def item() -> dict[str, Any]:
    label = torch.zeros(2, 12, 12, 12, dtype=torch.uint8)
    label[:, 3:9, 3:9, 3:9] = 2
    label[:, 5:7, 5:7, 5:7] = 5
    return {"image": torch.full((2, 12, 12, 12), 0.9), "label": label}


def means(image: torch.Tensor, label: torch.Tensor) -> list[float]:
    return [float(image[label == i].mean()) for i in (0, 2, 5)]


def test_each_label_has_one_intensity() -> None:
    image = RandLabelImaged(**PLAIN).set_random_state(0)(item())["image"]
    for channel in (0, 1):
        for i in (0, 2, 5):
            assert len(image[channel][item()["label"][channel] == i].unique()) == 1
    assert float(image.min()) >= 0 and float(image.max()) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_contrasts_are_shared_or_not(seed: int) -> None:
    label = item()["label"]
    alike = RandLabelImaged(shared=1.0, **PLAIN).set_random_state(seed)(item())["image"]
    each = RandLabelImaged(shared=0.0, empty=0.0, **PLAIN).set_random_state(seed)(item())["image"]
    assert means(alike[0], label[0]) == means(alike[1], label[1])
    assert all(abs(a - b) > 1e-4 for a, b in zip(means(each[0], label[0]), means(each[1], label[1])))


def test_two_scans_share_no_noise() -> None:
    image = RandLabelImaged(shared=1.0, texture=(0.1, 0.1), sigma=(0.0, 0.0)).set_random_state(2)(item())["image"]
    inside = item()["label"][0] == 2
    noise = torch.stack([channel[inside] for channel in image])
    assert float(noise.std(dim=1).min()) > 0.05 and abs(float(torch.corrcoef(noise)[0, 1])) < 0.3


def test_empty_space_is_black_and_smooth_edges_are_soft() -> None:
    draw = RandLabelImaged(empty=1.0, texture=(0.1, 0.1), sigma=(0.0, 0.0)).set_random_state(0)
    assert not draw(item())["image"][item()["label"] == 0].any()
    soft = RandLabelImaged(empty=1.0, texture=(0.0, 0.0), sigma=(1.0, 1.0)).set_random_state(0)(item())["image"][0]
    assert 0 < float(soft[2, 6, 6]) < float(soft[4, 3, 3])


def test_prob_leaves_the_image() -> None:
    assert torch.equal(RandLabelImaged(prob=0.0)(item())["image"], item()["image"])


def test_a_seed_gives_a_draw() -> None:
    one, two = (RandLabelImaged().set_random_state(3)(item())["image"] for _ in range(2))
    assert torch.equal(one, two)


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"'sigma' must be \(low, high\) from 0, got \(1.0, 0.5\)"):
        RandLabelImaged(sigma=(1.0, 0.5))
    with pytest.raises(ValueError, match=r"'label' must have the shape of 'image', \(2, 12, 12, 12\)"):
        RandLabelImaged()({**item(), "label": item()["label"][:1]})
