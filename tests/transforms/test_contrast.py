from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from morphseek_monai.transforms import RandLabelContrastd

SHAPE = (12, 12, 12)
OLD = torch.tensor([[0.0, 0.3, 0.3, 0.7, 0.5], [0.0, 0.35, 0.25, 0.8, 0.55]])  # per image and label


def labels() -> Tensor:
    """Slabs 1 | 3 | 2 | 4 of three voxels in a shell of background; the fixed image has them the other way round."""
    label = torch.zeros((2, *SHAPE), dtype=torch.uint8)
    order = torch.tensor([1, 3, 2, 4]).repeat_interleave(3).view(12, 1, 1)
    label[0, :, 2:-2, 2:-2] = order
    label[1, :, 2:-2, 2:-2] = order.flip(0)
    return label


def flat(label: Tensor) -> Tensor:
    """Every voxel at its label's mean."""
    return torch.stack([OLD[i][label[i].long()] for i in range(2)])


def textured(label: Tensor, amount: float = 0.05) -> Tensor:
    noise = amount * (2 * torch.rand(label.shape, generator=torch.Generator().manual_seed(0)) - 1)
    return flat(label) + noise * (label > 0)


def contrast(seed: int = 0, **options: Any) -> RandLabelContrastd:
    return RandLabelContrastd(**({"prob": 1.0, "sigma": 0.0} | options)).set_random_state(seed)


@pytest.mark.parametrize("seed", range(5))
def test_class_means_are_the_drawn_ones(seed: int) -> None:
    label = labels()
    transform = contrast(seed)
    new = transform({"image": flat(label), "label": label})["image"]
    share = transform._strength
    assert 0 < share < 1 and tuple(transform._means.shape) == (2, 5)
    expected = (1 - share) * OLD + share * transform._means.float()
    expected[:, 0] = 0
    torch.testing.assert_close(new, torch.stack([expected[i][label[i].long()] for i in range(2)]))


def test_both_images_and_both_sides_share_the_sequence() -> None:
    label = labels()
    strengths = []
    for seed in range(100):
        transform = contrast(seed, label_pairs=[(1, 2)], jitter=0.0)
        transform({"image": flat(label), "label": label})
        strengths.append(transform._strength)
        assert torch.equal(transform._means[0], transform._means[1])
        assert torch.equal(transform._means[:, 1], transform._means[:, 2])
        assert transform._means[0, 1:].unique().numel() == 3
    assert min(strengths) < 0.05 and max(strengths) > 0.95  # uniform from 0 to 1


@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_jitter_is_each_images_own_and_small(jitter: float) -> None:
    label = labels()
    differences = []
    for seed in range(300):
        transform = contrast(seed, label_pairs=[(1, 2)], jitter=jitter)
        transform({"image": flat(label), "label": label})
        assert torch.equal(transform._means[:, 1], transform._means[:, 2])
        assert float(transform._means.min()) >= 0 and float(transform._means.max()) <= 1
        differences.append(transform._means[0, 3] - transform._means[1, 3])
    # two independent draws; the clipping to 0..1 takes a little away
    assert float(torch.stack(differences).std()) == pytest.approx(2**0.5 * jitter, rel=0.15)


@pytest.mark.parametrize("low", [0.4, 1.0])
def test_texture_is_kept_and_scaled(low: float) -> None:
    label = labels()
    image = textured(label)
    transform = contrast(3, gain=(low, low))
    new = transform({"image": image, "label": label})["image"]
    gain = 1 + transform._strength * (low - 1)
    for i in range(2):
        for k in range(1, 5):
            old_texture = image[i][label[i] == k] - image[i][label[i] == k].mean()
            values = new[i][label[i] == k]
            if float(values.min()) > 0 and float(values.max()) < 1:  # not clipped
                torch.testing.assert_close(values - values.mean(), gain * old_texture, atol=1e-6, rtol=1e-4)


def test_gain_is_drawn_from_its_range() -> None:
    label = labels()
    gains = []
    for seed in range(100):
        transform = contrast(seed, gain=(0.2, 0.6))
        transform({"image": flat(label), "label": label})
        gains.append(transform._gain)
    assert 0.2 <= min(gains) < 0.24 and 0.56 < max(gains) <= 0.6


def test_strength_zero_changes_nothing_and_strength_bounds_the_change() -> None:
    label = labels()
    image = textured(label)
    image[label == 0] = 0.2 * torch.rand(int((label == 0).sum()), generator=torch.Generator().manual_seed(1))
    same = contrast(strength=0.0, sigma=0.4)({"image": image, "label": label})["image"]
    torch.testing.assert_close(same, image, atol=1e-6, rtol=0)
    for seed in range(20):
        transform = contrast(seed, strength=0.25)
        new = transform({"image": flat(label), "label": label})["image"]
        assert transform._strength <= 0.25
        assert float((new - flat(label)).abs().max()) <= 0.25 + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_background_empty_stays_empty_and_tissue_keeps_its_texture(seed: int) -> None:
    label = labels()
    image = flat(label)
    skull = torch.zeros_like(label, dtype=torch.bool)
    skull[:, :, :, 0] = True
    skull &= label == 0
    image[skull] = 0.05 + 0.3 * torch.rand(int(skull.sum()), generator=torch.Generator().manual_seed(seed))
    new = contrast(seed, sigma=0.4)({"image": image, "label": label})["image"]
    assert float(new[(label == 0) & (image == 0)].abs().max()) == 0
    for i in range(2):
        ratio = new[i][skull[i]] / image[i][skull[i]]  # two voxels from the next label: beyond the blur
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    assert float(new.min()) >= 0 and float(new.max()) <= 1


def test_empty_voxels_inside_a_structure_change_with_it() -> None:
    label = labels()
    image = flat(label)
    image[label == 3] = 0.0  # black fluid in the acquired contrast
    transform = contrast(1)
    new = transform({"image": image, "label": label})["image"]
    expected = transform._strength * float(transform._means[0, 3])
    assert float(new[0][label[0] == 3].mean()) == pytest.approx(expected, abs=1e-5) and expected > 0.05


def test_soft_edges_stay_soft() -> None:
    """An image that is the blur of its means becomes the blur of the new means: no seam at the label edge."""
    label = torch.ones((2, 48, 6, 6), dtype=torch.uint8)
    label[:, 24:] = 2

    def blurred(first: float, second: float) -> Tensor:
        """What a scanner with a Gaussian point spread of half a voxel sees at the voxels' centres."""
        fine = [first] * (24 * 9) + [second] * (24 * 9)
        line = torch.from_numpy(gaussian_filter1d(fine, 0.5 * 9, mode="nearest"))[4::9]
        return line.float().view(1, 48, 1, 1).expand(2, 48, 6, 6)

    seams = {}
    for sigma in (0.5, 0.0):
        transform = contrast(0, sigma=sigma, gain=(1.0, 1.0), jitter=0.0)
        new = transform({"image": blurred(0.8, 0.2), "label": label})["image"]
        first, second = float(new[0, 0].mean()), float(new[0, -1].mean())
        assert abs(first - second) < 0.1  # another contrast than before
        seams[sigma] = float((new - blurred(first, second)).abs().max())
    assert seams[0.5] < 0.005 < 0.05 < seams[0.0]


@pytest.mark.parametrize("channel", [0, 1])
def test_a_pair_with_an_unlabelled_image_is_left_alone(channel: int) -> None:
    label = labels()
    image = textured(label)
    label[channel] = 0
    assert torch.equal(contrast()({"image": image, "label": label})["image"], image)


def test_draws_repeat_with_the_seed_and_prob_counts() -> None:
    label = labels()
    item = {"image": textured(label), "label": label, "fixed_id": "f"}
    first, again, other = (contrast(seed)(item)["image"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert contrast(prob=0.0)(item)["image"] is item["image"]
    half = contrast(prob=0.5)
    changed = sum(half(item)["image"] is not item["image"] for _ in range(100))
    assert 30 < changed < 70
    assert torch.equal(item["image"], textured(label))


def test_types_stay() -> None:
    label = labels()
    plain = contrast()({"image": flat(label), "label": label})
    assert type(plain["image"]) is Tensor and plain["image"].dtype == torch.float32
    assert plain["label"] is label
    meta = MetaTensor(flat(label), meta={"filename_or_obj": "a.nii.gz"})
    result = contrast()({"image": meta, "label": MetaTensor(label)})["image"]
    assert isinstance(result, MetaTensor) and result.meta["filename_or_obj"] == "a.nii.gz"
    assert torch.equal(result.as_tensor(), plain["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.5}, r"'strength' must be in 0\.\.1, got 1\.5"),
        ({"gain": (1.0, 0.5)}, r"'gain' must be \(low, high\) with 0 <= low <= high"),
        ({"gain": (1.0,)}, r"'gain' must be \(low, high\)"),
        ({"jitter": -0.1}, r"'jitter' must not be negative, got -0\.1"),
        ({"sigma": -1.0}, r"'sigma' must not be negative, got -1\.0"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^RandLabelContrastd\(\) {message}"):
        RandLabelContrastd(**options)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"'label' must have the shape of 'image', .*; resample it"):
        contrast()({"image": torch.rand(2, 4, 4, 4), "label": torch.ones(2, 4, 4, 5, dtype=torch.uint8)})
