"""Groupwise averaging: the mean shape of balls of known radii, sparse probabilities, going on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.data.pairs.loading import LoadedSubject
from morphseek_monai.networks.affine import affine_ddf
from morphseek_monai.registration.atlas.groupwise import Atlas, groupwise_atlas, sparse_probabilities

SIZE = (24, 24, 24)
RADII = (4.0, 5.0, 6.5)
Load = Callable[[int], LoadedSubject]


def radius_of(image: Tensor) -> Tensor:
    """Of a bright ball in the middle, from its volume."""
    return (3 * image.sum((1, 2, 3, 4)) / (4 * torch.pi)) ** (1 / 3)


class Scaling(nn.Module):
    """Registers concentric balls exactly: x -> r_moving / r_fixed * x about the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        ratio = radius_of(image[:, :1]) / radius_of(image[:, 1:])
        parameters = torch.zeros(len(image), 3, 4)
        parameters[:, :, :3] = torch.eye(3) * (ratio - 1).view(-1, 1, 1)
        return affine_ddf(parameters, list(image.shape[2:]))


def ball(radius: float) -> LoadedSubject:
    """Soft edge of a voxel; label 1 inside half the radius, 2 around it."""
    axes = torch.meshgrid(*[torch.arange(float(n)) - (n - 1) / 2 for n in SIZE], indexing="ij")
    distance = torch.stack(axes).norm(dim=0)[None]
    label = torch.where(distance <= radius / 2, 1, torch.where(distance <= radius, 2, 0)).byte()
    return LoadedSubject((radius + 0.5 - distance).clamp(0, 1), label, None)


def load(number: int) -> LoadedSubject:
    return ball(RADII[number])


def build(network: nn.Module | None = None, **kwargs: Any) -> Atlas:
    defaults: dict[str, Any] = {"num_labels": 3, "spacing": (2.0, 2.0, 2.0), "iterations": 2, "top_k": 2}
    return groupwise_atlas(load, len(RADII), network or Scaling(), **(defaults | kwargs))


def test_template_has_the_mean_radius() -> None:
    atlas = build()
    assert float(radius_of(atlas.image)) == pytest.approx(sum(RADII) / 3, abs=0.15)
    assert atlas.image.min() >= 0 and atlas.image.max() <= 1


def test_mean_displacement_falls_to_nothing_and_is_in_mm() -> None:
    first, *_, last = build(iterations=3).displacements
    assert last < 0.05
    assert first > 3 * last
    assert build(iterations=3, spacing=(4.0, 4.0, 4.0)).displacements[0] == pytest.approx(2 * first)


def test_without_recentring_the_start_would_stay_biased() -> None:
    """The mean of the images, laid on each other by moments, is no mean shape yet: something is left to move."""
    assert build(iterations=1).displacements[0] > 0.1


def test_labels_follow_the_images() -> None:
    atlas = build()
    mean = sum(RADII) / 3
    labels, certain = atlas.labels[0, 0], atlas.probabilities[0, 0] > 250
    expected = ball(mean).label
    assert expected is not None
    assert (labels == expected[0]).float().mean() > 0.97
    assert labels[12, 12, 12] == 1 and certain[12, 12, 12] and certain[0, 0, 0]
    edge = labels[12, 12, 12 + round(mean) - 1 : 12 + round(mean) + 2]
    assert set(edge.tolist()) == {0, 2}


def test_each_subject_counts_the_same() -> None:
    order = (2, 0, 1)
    one, other = build(), groupwise_atlas(lambda i: load(order[i]), 3, Scaling(), 3, (2.0,) * 3, 2, 2)
    torch.testing.assert_close(other.image, one.image, rtol=0, atol=1e-4)


def test_sparse_probabilities_keep_the_best_and_sum_to_one() -> None:
    dense = torch.rand(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels, probabilities = sparse_probabilities(dense / dense.sum(0), 3)
    assert labels.dtype == probabilities.dtype == torch.uint8
    torch.testing.assert_close(labels[0, 0].long(), dense.argmax(0))
    assert (probabilities[0, :-1] >= probabilities[0, 1:]).all()
    total = probabilities.long().sum(1)
    assert total.min() >= 254 and total.max() <= 256
    chosen = torch.gather(dense, 0, labels[0].long())
    torch.testing.assert_close(probabilities[0] / 255, chosen / chosen.sum(0), rtol=0, atol=0.003)


class Killed(Scaling):
    """Breaks off in the second iteration."""

    def forward(self, image: Tensor) -> Tensor:
        if self.calls == 4:
            raise KeyboardInterrupt
        return super().forward(image)


def test_goes_on_after_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        build(Killed(), state=state, fingerprint="a")
    again, whole = Scaling(), Scaling()
    resumed, straight = build(again, state=state, fingerprint="a"), build(whole)
    assert (again.calls, whole.calls) == (6, 9)  # three subjects; one of two iterations was done
    for one, other in zip(resumed, straight, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_the_state_of_another_atlas_is_not_used(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    build(state=state, fingerprint="a")
    network = Scaling()
    build(network, state=state, fingerprint="b")
    assert network.calls == 9


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"count": 0}])
def test_refuses(wrong: dict[str, int]) -> None:
    arguments: dict[str, Any] = {"load": load, "count": 3, "iterations": 1} | wrong
    with pytest.raises(ValueError, match="'count' and 'iterations' must be at least 1"):
        groupwise_atlas(network=Scaling(), num_labels=3, spacing=(1, 1, 1), **arguments)
