"""The optimiser: what it finds, what it leaves alone, that it never folds."""

import pytest
import torch
import torch.nn.functional as F

from morphseek_monai.fields import njd_percent, warp
from morphseek_monai.fields.separable import resize_smooth
from morphseek_monai.inference.image_forces import CorrelationForce, DescriptorForce
from morphseek_monai.inference.instance_optimisation import level_sizes, optimise

SIZE = (40, 44, 36)


def texture(seed: int = 0) -> torch.Tensor:
    noise = torch.rand(1, 10, 11, 9, generator=torch.Generator().manual_seed(seed))
    return resize_smooth(noise, SIZE)[None]


def field() -> torch.Tensor:
    """Smooth, up to three voxels, zero at the border."""
    noise = torch.randn(3, 6, 6, 6, generator=torch.Generator().manual_seed(5))
    inside = torch.zeros(1, 6, 6, 6)
    inside[:, 1:-1, 1:-1, 1:-1] = 1
    ddf = resize_smooth(noise * inside, SIZE)[None]
    return 3 * ddf / ddf.abs().max()


def test_a_known_field_is_found() -> None:
    moving, truth = texture(), field()
    fixed = warp(moving, truth)
    found = optimise(moving, fixed, [1.0, 1.0, 1.0]).ddf
    inner = (slice(None), slice(None), *(slice(5, -5),) * 3)
    error, size = ((found - truth)[inner].square().mean().sqrt(), truth[inner].square().mean().sqrt())
    assert error < 0.35 * size
    assert njd_percent(found).item() == 0


def test_an_inverted_contrast_is_found_by_both_forces() -> None:
    moving, truth = texture(), field()
    fixed = warp(moving, truth)
    for unlike in (False, True):
        warped = warp(moving, optimise(1 - moving, fixed, [1.0, 1.0, 1.0], unlike=unlike).ddf)
        assert F.mse_loss(warped, fixed) < 0.25 * F.mse_loss(moving, fixed)


def test_unrelated_images_do_not_fold() -> None:
    found = optimise(texture(1), texture(2), [1.0, 1.0, 1.0], iterations=30)
    assert njd_percent(found.ddf).item() < 0.1


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_nothing_to_see_leaves_the_start(value: float) -> None:
    constant = torch.full((1, 1, 16, 16, 16), value)
    start = torch.full((1, 3, 16, 16, 16), 0.5)
    found = optimise(constant, constant, [1.0, 1.0, 1.0], start=start)
    torch.testing.assert_close(found.ddf, start, atol=0.01, rtol=0)


@pytest.mark.parametrize("unit", [1e-6, 0.1, 10.0, 1e3])
def test_the_unit_of_length_does_not_matter(unit: float) -> None:
    moving, fixed = texture(1), texture(2)
    one, other = (optimise(moving, fixed, [u, u, 2 * u], iterations=2).ddf for u in (1.0, unit))
    torch.testing.assert_close(one, other)


def test_levels_halve_until_all_is_seen_and_spare_thick_slices() -> None:
    assert level_sizes((200, 100, 100), (1.0, 1.0, 1.0))[0][0] <= 48
    assert len(level_sizes((30, 30, 30), (1.0, 1.0, 1.0))) == 3
    assert {size[2] for size in level_sizes((192, 192, 10), (1.0, 1.0, 10.0))} == {10}


def test_identical_images_stay_where_they_are() -> None:
    moving = texture()
    found = optimise(moving, moving.clone(), [1.0, 1.0, 1.0])
    assert found.ddf.abs().max() < 0.05
    assert all(level.iterations < 20 for level in found.levels[:-1])


def test_images_of_two_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="resample them to one grid"):
        optimise(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 9), [1.0, 1.0, 1.0])


def rms(ddf: torch.Tensor, where: torch.Tensor) -> float:
    return float(ddf[:, :, where].square().mean().sqrt())


class TestMasks:
    """A lesion that only the fixed image has."""

    spacing = (1.0, 1.0, 1.0)
    lesion = torch.zeros(SIZE, dtype=torch.bool)
    lesion[12:26, 14:28, 12:24] = True
    around = torch.zeros(SIZE, dtype=torch.bool)
    around[5:35, 5:39, 5:31] = True

    def pair(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Moving, fixed with the lesion, and where it counts."""
        fixed = warp(texture(), field())
        return texture(), torch.where(self.lesion, 1 - texture(9), fixed), (~self.lesion).float()[None, None]

    @pytest.mark.parametrize("unlike", [False, True])
    def test_a_lesion_that_does_not_count_disturbs_less(self, unlike: bool) -> None:
        moving, fixed, counts = self.pair()
        plain, masked = (optimise(moving, fixed, self.spacing, counts=c, unlike=unlike).ddf for c in (None, counts))
        assert rms(masked - field(), self.around) < 0.9 * rms(plain - field(), self.around)

    def test_no_force_where_nothing_counts(self) -> None:
        moving, fixed, counts = self.pair()
        for force in (CorrelationForce, DescriptorForce):
            pull = force(moving[0], fixed[0], None, counts[0, 0])(torch.zeros(3, *SIZE))
            assert pull.force[:, self.lesion].abs().max() == 0 and pull.force.abs().max() > 0

    def test_the_similarity_is_that_of_what_counts(self) -> None:
        fixed = texture()[0]
        moving = torch.where(self.lesion, texture(3)[0], fixed)
        inner = F.max_pool3d(self.lesion.float()[None, None], 5, stride=1, padding=2)[0, 0] == 0
        still = torch.zeros(3, *SIZE)
        assert CorrelationForce(moving, fixed)(still).similarity < 0.95
        assert CorrelationForce(moving, fixed, None, inner.float())(still).similarity > 0.97

    def test_what_counts_nowhere_moves_nothing(self) -> None:
        moving, fixed, counts = self.pair()
        assert optimise(moving, fixed, self.spacing, counts=0 * counts).ddf.abs().max() == 0


def test_two_contrasts_that_show_a_half_each_are_better_than_either() -> None:
    truth = field()
    left = torch.arange(SIZE[0]).view(1, 1, -1, 1, 1) < SIZE[0] // 2
    moving = torch.cat([torch.where(left, texture(), 0.5), torch.where(left, 0.5, texture(4))], dim=1)
    fixed = warp(moving, truth)
    inner = torch.zeros(SIZE, dtype=torch.bool)
    inner[5:-5, 5:-5, 5:-5] = True
    one, other, both = (
        rms(optimise(moving[:, c], fixed[:, c], [1.0, 1.0, 1.0]).ddf - truth, inner)
        for c in (slice(0, 1), slice(1, 2), slice(0, 2))
    )
    assert both < 0.8 * min(one, other)
