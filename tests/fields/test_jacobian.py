from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from morphseek_monai.fields import (
    displacement_magnitude,
    jacobian,
    jacobian_determinant,
    njd_percent,
    sdlogj,
    sdlogj_l2r,
)

SmoothDDF = Callable[..., torch.Tensor]
MEASURES = [jacobian_determinant, njd_percent, sdlogj, sdlogj_l2r, displacement_magnitude]

SIZE = (9, 10, 11)


def grid(size: tuple[int, int, int] = SIZE) -> torch.Tensor:
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in size], indexing="ij"))


def linear_ddf(matrix: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ij,jdhw->idhw", matrix.double(), grid())[None]


def folded(axis: int) -> torch.Tensor:
    """A field that folds only along `axis`: there, three voxels in the middle swap their order."""
    ddf = torch.zeros(1, 3, *SIZE)
    line = torch.zeros(SIZE[axis])
    line[3], line[5] = 3.0, -3.0
    shape = [1, 1, 1]
    shape[axis] = -1
    ddf[0, axis] = line.view(shape)
    return ddf


def numpy_determinant(ddf: np.ndarray) -> np.ndarray:
    """`det(d(x + u)/dx)` by `numpy.gradient` and `numpy.linalg.det`."""
    phi = ddf + np.indices(ddf.shape[1:])
    matrix = np.stack([np.stack(np.gradient(component), -1) for component in phi], -2)
    return np.asarray(np.linalg.det(matrix))


def official_l2r_determinant(disp: np.ndarray) -> np.ndarray:
    """Learn2Reg's: correlation with (-1/2, 0, 1/2), zeros outside, plus identity, cropped by two."""
    matrix = np.zeros((3, 3, *disp.shape[1:]))
    for component in range(3):
        for axis in range(3):
            padded = np.pad(disp[component], [(int(a == axis), int(a == axis)) for a in range(3)])
            n = disp.shape[1 + axis]
            ahead = np.take(padded, np.arange(2, n + 2), axis=axis)
            behind = np.take(padded, np.arange(0, n), axis=axis)
            matrix[component, axis] = (ahead - behind) / 2 + (component == axis)
    m = matrix[:, :, 2:-2, 2:-2, 2:-2]
    return np.asarray(
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[1, 0] * (m[0, 1] * m[2, 2] - m[0, 2] * m[2, 1])
        + m[2, 0] * (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1])
    )


def official_l2r_sdlogj(disp: np.ndarray, mask: np.ndarray | None = None) -> float:
    log = np.log((official_l2r_determinant(disp) + 3).clip(0.000000001, 1000000000))
    if mask is None:
        return float(log.std())
    return float(np.ma.MaskedArray(log, 1 - mask[2:-2, 2:-2, 2:-2]).std())


class TestJacobianDeterminant:
    def test_linear_field_in_closed_form(self) -> None:
        # det(I + M), at every voxel: one-sided differences are exact too
        matrix = torch.tensor([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6], [0.7, -0.8, 0.9]])
        expected = torch.linalg.det(torch.eye(3) + matrix).item()
        determinant = jacobian_determinant(linear_ddf(matrix))
        assert determinant.shape == (1, *SIZE)
        torch.testing.assert_close(determinant, torch.full((1, *SIZE), expected, dtype=torch.float64))

    def test_sinusoids_in_closed_form(self) -> None:
        # u = 0.5 (sin kx, sin ky, sin kz) has J = product of (1 + 0.5 k cos k x_i); central differences turn
        # k cos(kx) into sin(k) cos(kx)
        k = 0.7
        x = grid()
        determinant = jacobian_determinant(0.5 * torch.sin(k * x)[None])
        expected = (1 + 0.5 * np.sin(k) * torch.cos(k * x)).prod(0)
        inner = (slice(1, -1),) * 3
        torch.testing.assert_close(determinant[0][inner], expected[inner])

    def test_mixes_components_and_axes_like_numpy(self) -> None:
        ddf = torch.randn(2, 3, *SIZE, dtype=torch.float64)
        for item in range(2):
            expected = numpy_determinant(ddf[item].numpy())
            np.testing.assert_allclose(jacobian_determinant(ddf)[item].numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize("voxels", [1, 110, 220, 330, 440, 880])
    def test_slabs_leave_no_seam(self, voxels: int, monkeypatch: pytest.MonkeyPatch) -> None:
        # a slice has 110 voxels: slabs of 1 (twice), 2, 3, 4 and 8 slices of the 9
        ddf = torch.randn(1, 3, *SIZE, dtype=torch.float64)
        monkeypatch.setattr(jacobian, "SLAB_VOXELS", voxels)
        np.testing.assert_allclose(
            jacobian_determinant(ddf)[0].numpy(), numpy_determinant(ddf[0].numpy()), atol=1e-12
        )

    def test_two_voxels_suffice(self) -> None:
        ddf = torch.randn(1, 3, 2, 2, 2, dtype=torch.float64)
        np.testing.assert_allclose(jacobian_determinant(ddf)[0].numpy(), numpy_determinant(ddf[0].numpy()))

    def test_gradient(self) -> None:
        ddf = torch.randn(1, 3, 3, 2, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(jacobian_determinant, (ddf,))

    def test_half_precision_is_upcast(self) -> None:
        ddf = 0.001 * grid().bfloat16()[None]
        determinant = jacobian_determinant(ddf)
        assert determinant.dtype == torch.float32
        torch.testing.assert_close(determinant, jacobian_determinant(ddf.float()))


class TestNJD:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_counts_a_fold_along_each_axis(self, axis: int) -> None:
        # along the line u = 0 0 0 3 0 -3 0 0 0: central differences +1.5 at 2, 0 at 3, -3 at 4, 0 at 5, +1.5
        # at 6, so 1 + du/dx is non-positive at voxel 4 only
        torch.testing.assert_close(njd_percent(folded(axis)), torch.tensor([100 / SIZE[axis]]))

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_mirrored_axis_folds_everywhere(self, axis: int) -> None:
        matrix = torch.zeros(3, 3)
        matrix[axis, axis] = -2
        assert njd_percent(linear_ddf(matrix)).tolist() == [100.0]

    def test_shear_does_not_fold(self) -> None:
        # a partial derivative in the wrong place of the matrix would fold here
        assert njd_percent(
            linear_ddf(torch.tensor([[0.0, -3.0, 2.0], [0.0, 0.0, -3.0], [0.0, 0.0, 0.0]]))
        ).tolist() == [0.0]

    def test_zero_determinant_counts(self) -> None:
        assert njd_percent(linear_ddf(torch.diag(torch.tensor([-1.0, 0.0, 0.0])))).tolist() == [100.0]

    def test_equals_numpy_per_item(self, smooth_ddf: SmoothDDF) -> None:
        ddf = torch.cat([torch.zeros(1, 3, *SIZE), torch.randn(3, 3, *SIZE)])
        expected = [100 * np.mean(numpy_determinant(field.numpy()) <= 0) for field in ddf]
        assert 20 < expected[1] < 50
        np.testing.assert_allclose(njd_percent(ddf).numpy(), expected, rtol=1e-5)


class TestSDLogJ:
    def test_is_the_spread_over_the_unfolded_voxels(self) -> None:
        ddf = torch.randn(3, 3, *SIZE, dtype=torch.float64)
        for item in range(3):
            determinant = numpy_determinant(ddf[item].numpy())
            expected = np.log(determinant[determinant > 0]).std()
            assert sdlogj(ddf)[item].item() == pytest.approx(expected)

    def test_of_a_uniform_scaling_is_zero(self) -> None:
        assert sdlogj(linear_ddf(0.5 * torch.eye(3))).item() == pytest.approx(0, abs=1e-6)

    @pytest.mark.filterwarnings("error")
    def test_of_folds_only_is_nan(self) -> None:
        assert sdlogj(linear_ddf(torch.diag(torch.tensor([-2.0, 0.0, 0.0])))).isnan().all()


class TestSDLogJL2R:
    @pytest.mark.parametrize("strength", [0.1, 0.5, 3.0])
    def test_equals_the_official_formula(self, strength: float) -> None:
        ddf = strength * torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))
        expected = [official_l2r_sdlogj(field.double().numpy()) for field in ddf]
        np.testing.assert_allclose(sdlogj_l2r(ddf).numpy(), expected, rtol=1e-5)

    def test_masked(self) -> None:
        ddf = torch.randn(2, 3, *SIZE)
        mask = (torch.rand(2, 1, *SIZE) > 0.5).to(torch.uint8)
        expected = [official_l2r_sdlogj(ddf[i].double().numpy(), mask[i, 0].numpy()) for i in range(2)]
        np.testing.assert_allclose(sdlogj_l2r(ddf, mask).numpy(), expected, rtol=1e-5)
        shared = official_l2r_sdlogj(ddf[1].double().numpy(), mask[0, 0].numpy())
        assert sdlogj_l2r(ddf, mask[:1])[1].item() == pytest.approx(shared, rel=1e-5)

    def test_differs_from_sdlogj(self) -> None:
        # the + 3 divides the spread of a nearly volume-preserving field by about 4
        ddf = 0.02 * torch.randn(1, 3, 20, 20, 20)
        assert (sdlogj(ddf) / sdlogj_l2r(ddf)).item() == pytest.approx(4, rel=0.2)

    @pytest.mark.filterwarnings("error")
    def test_empty_mask_is_nan(self) -> None:
        assert sdlogj_l2r(torch.randn(1, 3, *SIZE), torch.zeros(1, 1, *SIZE)).isnan().all()

    def test_small_axis(self) -> None:
        with pytest.raises(
            ValueError, match=r"sdlogj_l2r\(\) 'ddf' must have at least 5 voxels per axis, got"
        ):
            sdlogj_l2r(torch.zeros(1, 3, 8, 4, 8))

    @pytest.mark.parametrize("shape", [SIZE, (1, *SIZE), (1, 2, *SIZE), (2, 1, *SIZE), (1, 1, 9, 10, 10)])
    def test_mask_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"sdlogj_l2r\(\) 'mask' must be \(B, 1, D, H, W\) like 'ddf', got"
        ):
            sdlogj_l2r(torch.zeros(1, 3, *SIZE), torch.ones(shape))


class TestMagnitude:
    def test_in_voxels_and_in_mm(self) -> None:
        ddf = torch.tensor([3.0, 4.0, 12.0]).view(1, 3, 1, 1, 1).expand(2, 3, 2, 3, 4)
        torch.testing.assert_close(displacement_magnitude(ddf), torch.full((2, 2, 3, 4), 13.0))
        expected = float(np.linalg.norm([3 * 0.5, 4 * 2, 12 * 1.5]))
        torch.testing.assert_close(
            displacement_magnitude(ddf, (0.5, 2, 1.5)), torch.full((2, 2, 3, 4), expected)
        )

    def test_spacing_must_be_three(self) -> None:
        with pytest.raises(
            ValueError, match=r"displacement_magnitude\(\) 'spacing' must be three numbers, got \[1.0\]"
        ):
            displacement_magnitude(torch.zeros(1, 3, 2, 2, 2), [1.0])


@pytest.mark.parametrize("measure", MEASURES)
class TestAll:
    def test_items_are_independent(self, measure: Callable[[torch.Tensor], torch.Tensor]) -> None:
        ddf = torch.randn(4, 3, *SIZE)
        together = measure(ddf)
        assert together.shape[0] == 4
        for item in range(4):
            torch.testing.assert_close(together[item : item + 1], measure(ddf[item : item + 1]))

    def test_checks_the_field(self, measure: Callable[[torch.Tensor], torch.Tensor]) -> None:
        name = measure.__name__
        with pytest.raises(ValueError, match=rf"{name}\(\) 'ddf' must have shape \(B, 3, D, H, W\), got"):
            measure(torch.zeros(1, 2, *SIZE))
        with pytest.raises(ValueError, match=rf"{name}\(\) 'ddf' must have at least 2 voxels per axis, got"):
            measure(torch.zeros(1, 3, 8, 1, 8))
        with pytest.raises(TypeError, match=rf"{name}\(\) 'ddf' must be floating point, got torch.int64"):
            measure(torch.zeros(1, 3, *SIZE, dtype=torch.int64))

    def test_field_is_left_alone(self, measure: Callable[[torch.Tensor], torch.Tensor]) -> None:
        ddf = torch.randn(1, 3, *SIZE)
        before = ddf.clone()
        measure(ddf)
        assert torch.equal(ddf, before)


def test_a_field_with_nan_has_no_regularity() -> None:
    """0 folds and a spread of 0 would be a perfect score."""
    ddf = torch.zeros(2, 3, 6, 6, 6)
    ddf[1, :, 2, 3, 4] = torch.nan
    for measure in (njd_percent, sdlogj, sdlogj_l2r):
        found = measure(ddf)
        assert found[0] == 0 and found[1].isnan()
