from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from morphseek_monai.fields import compose, integrate_velocity, invert, resize_ddf, warp

SmoothDDF = Callable[..., torch.Tensor]
SmoothImage = Callable[[tuple[int, int, int]], torch.Tensor]

SIZE = (16, 18, 20)


def translation(*shift: float, size: tuple[int, int, int] = SIZE, batch: int = 1) -> torch.Tensor:
    return torch.tensor(shift).view(1, 3, 1, 1, 1).expand(batch, 3, *size).clone()


def affine_ddf(matrix: torch.Tensor, size: tuple[int, int, int] = SIZE) -> torch.Tensor:
    """`u(x) = M (x - c)` about the centre `c` of the grid."""
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.einsum("ij,jdhw->idhw", matrix.double(), grid)[None]


def interior(tensor: torch.Tensor, margin: int = 3) -> torch.Tensor:
    return tensor[..., margin:-margin, margin:-margin, margin:-margin]


class TestCompose:
    def test_translations_add_up(self) -> None:
        composed = compose(translation(1.0, -2.0, 0.5), translation(0.25, 1.0, 1.0))
        torch.testing.assert_close(composed, translation(1.25, -1.0, 1.5))

    def test_order(self) -> None:
        # u scales axis 0 about the centre by 1.5, d shifts by 1 along it:
        # u(x + d) + d = 0.5 (x + 1 - c) + 1, where the other order would give 0.5 (x - c) + 1
        previous = affine_ddf(torch.diag(torch.tensor([0.5, 0.0, 0.0])))
        step = translation(1.0, 0.0, 0.0).double()
        torch.testing.assert_close(interior(compose(previous, step)), interior(previous + 1.5 * step))
        torch.testing.assert_close(interior(compose(step, previous)), interior(previous + step))

    def test_affine_fields_multiply(self) -> None:
        # I + M_composed = (I + M_previous)(I + M_step)
        torch.manual_seed(0)
        m, n = 0.05 * torch.randn(3, 3).double(), 0.05 * torch.randn(3, 3).double()
        expected = affine_ddf(m + n + m @ n)
        torch.testing.assert_close(interior(compose(affine_ddf(m), affine_ddf(n)), 4), interior(expected, 4))

    def test_warping_once_is_warping_twice(self, smooth_ddf: SmoothDDF, smooth_image: SmoothImage) -> None:
        size = (32, 32, 32)
        image, u, d = smooth_image(size), smooth_ddf(size, 4.0, seed=1), smooth_ddf(size, 4.0, seed=2)
        twice = interior(warp(warp(image, u), d), 5)
        once = interior(warp(image, compose(u, d)), 5)
        wrong_order = interior(warp(image, compose(d, u)), 5)
        # what remains is the blur of the second interpolation
        assert (once - twice).abs().max() < 0.01
        assert (wrong_order - twice).abs().max() > 0.02

    def test_identity_is_neutral(self, smooth_ddf: SmoothDDF) -> None:
        ddf = smooth_ddf()
        torch.testing.assert_close(compose(ddf, torch.zeros_like(ddf)), ddf, atol=1e-5, rtol=0)
        assert torch.equal(compose(torch.zeros_like(ddf), ddf), ddf)

    def test_previous_is_shared_by_all_steps(self, smooth_ddf: SmoothDDF) -> None:
        previous, steps = smooth_ddf(seed=1), smooth_ddf(seed=2, batch=3)
        composed = compose(previous, steps)
        for item in range(3):
            torch.testing.assert_close(composed[item : item + 1], compose(previous, steps[item : item + 1]))

    def test_half_precision_is_upcast(self) -> None:
        # 200 + 0.5 does not exist in bfloat16
        half = translation(0.5, 0.0, 0.0, size=(4, 4, 4)).bfloat16()
        composed = compose(translation(200.0, 0.0, 0.0, size=(4, 4, 4)).bfloat16(), half)
        assert composed.dtype == torch.float32
        assert composed[0, 0, 0, 0, 0] == 200.5

    @pytest.mark.parametrize("bad", ["previous", "step"])
    def test_errors(self, bad: str) -> None:
        fields = {"previous": torch.zeros(1, 3, 4, 4, 4), "step": torch.zeros(1, 3, 4, 4, 4)}
        fields[bad] = torch.zeros(1, 2, 4, 4, 4)
        with pytest.raises(
            ValueError, match=rf"compose\(\) '{bad}' must have shape \(B, 3, D, H, W\), got \[1, 2, 4"
        ):
            compose(**fields)
        with pytest.raises(ValueError, match=r"compose\(\) 'previous' must lie on the grid of 'step'"):
            compose(torch.zeros(1, 3, 4, 4, 4), torch.zeros(1, 3, 4, 4, 5))


class TestResize:
    @pytest.mark.parametrize(
        ("align_corners", "scale"), [(False, (2.0, 0.5, 1.5)), (True, (31 / 15, 8 / 17, 29 / 19))]
    )
    def test_values_scale_per_axis(self, align_corners: bool, scale: tuple[float, float, float]) -> None:
        resized = resize_ddf(translation(1.0, 2.0, -4.0), [32, 9, 30], align_corners)
        expected = translation(scale[0], 2 * scale[1], -4 * scale[2], size=(32, 9, 30))
        torch.testing.assert_close(resized, expected)

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("size", [(33, 24, 20), (12, 14, 31)])
    def test_resized_field_warps_like_the_field(
        self,
        size: tuple[int, int, int],
        align_corners: bool,
        smooth_ddf: SmoothDDF,
        smooth_image: SmoothImage,
    ) -> None:
        # resize(warp(image, u)) == warp(resize(image), resize(u)), up to interpolation; a field whose values
        # were left alone, or scaled the wrong way, is off by a voxel
        image, ddf = smooth_image(SIZE), smooth_ddf(SIZE, 2.5, seed=3)

        def resize(volume: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(
                volume, size, mode="trilinear", align_corners=align_corners
            )

        expected = interior(resize(warp(image, ddf)))
        resized = resize_ddf(ddf, list(size), align_corners)
        unscaled = resize(ddf)
        error = (interior(warp(resize(image), resized)) - expected).abs().max()
        assert error < 0.05
        assert (interior(warp(resize(image), unscaled)) - expected).abs().max() > 2 * error

    def test_same_size_is_the_identity(self, smooth_ddf: SmoothDDF) -> None:
        ddf = smooth_ddf()
        torch.testing.assert_close(resize_ddf(ddf, list(SIZE)), ddf)

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_linear_field_survives_up_and_down(self, align_corners: bool) -> None:
        ddf = affine_ddf(torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.1, 0.3], [0.2, 0.0, 0.1]]))
        back = resize_ddf(resize_ddf(ddf, [31, 36, 50], align_corners), list(SIZE), align_corners)
        torch.testing.assert_close(interior(back), interior(ddf))

    @pytest.mark.parametrize("size", [[8, 8], [8, 8, 8, 8]])
    def test_size_must_be_three(self, size: list[int]) -> None:
        with pytest.raises(ValueError, match=r"resize_ddf\(\) 'size' must be \[D, H, W\], got"):
            resize_ddf(torch.zeros(1, 3, 4, 4, 4), size)

    def test_single_slice(self) -> None:
        with pytest.raises(
            ValueError, match=r"resize_ddf\(\) 'size' must have at least 2 voxels per axis, got \[4, 1, 4\]"
        ):
            resize_ddf(torch.zeros(1, 3, 4, 4, 4), [4, 1, 4])
        with pytest.raises(ValueError, match=r"resize_ddf\(\) 'ddf' must have at least 2 voxels per axis"):
            resize_ddf(torch.zeros(1, 3, 4, 1, 4), [4, 4, 4])


class TestIntegrate:
    def test_constant_velocity_is_a_translation(self) -> None:
        velocity = translation(0.5, -1.5, 3.0)
        torch.testing.assert_close(integrate_velocity(velocity), velocity)

    def test_linear_velocity_is_the_matrix_exponential(self) -> None:
        # the flow of v(x) = M (x - c) is exp(M), so u(x) = (exp(M) - I)(x - c); fields that are affine are
        # interpolated without error, so what remains is the error of the first step, |M|^2 / 2^8
        matrix = torch.tensor([[0.05, 0.1, 0.0], [-0.1, 0.0, 0.02], [0.0, 0.05, -0.08]], dtype=torch.float64)
        expected = affine_ddf(torch.linalg.matrix_exp(matrix) - torch.eye(3, dtype=torch.float64))
        error = interior(integrate_velocity(affine_ddf(matrix)) - expected, 5).abs().max()
        assert error < 2e-3
        assert interior(affine_ddf(matrix) - expected, 5).abs().max() > 20 * error

    def test_inverse_is_the_flow_of_minus_v(self, smooth_ddf: SmoothDDF) -> None:
        velocity = smooth_ddf((24, 24, 24), 2.5, seed=4, pinned=True)
        forward, backward = integrate_velocity(velocity), integrate_velocity(-velocity)
        assert forward.norm(dim=1).max() > 2.0
        assert compose(forward, backward).norm(dim=1).max() < 0.1
        assert compose(backward, forward).norm(dim=1).max() < 0.1

    def test_more_steps_converge(self, smooth_ddf: SmoothDDF) -> None:
        velocity = smooth_ddf(peak=3.0, seed=5, pinned=True)
        flows = [integrate_velocity(velocity, steps) for steps in (0, 4, 7, 10)]
        assert torch.equal(flows[0], velocity)
        assert (flows[1] - flows[3]).abs().max() > 4 * (flows[2] - flows[3]).abs().max()

    def test_negative_steps(self) -> None:
        with pytest.raises(ValueError, match=r"integrate_velocity\(\) 'steps' must not be negative, got -1"):
            integrate_velocity(torch.zeros(1, 3, 4, 4, 4), -1)


class TestInvert:
    def test_round_trip(self, smooth_ddf: SmoothDDF) -> None:
        ddf = smooth_ddf((24, 24, 24), 1.5, seed=6, batch=2, pinned=True)
        inverse = invert(ddf, tolerance=1e-3)
        assert inverse.residual.shape == (2,)
        assert (inverse.residual <= 1e-3).all()
        assert compose(ddf, inverse.ddf).norm(dim=1).max() < 2e-3
        # the other side differs by the interpolation of the inverse between its voxels
        assert compose(inverse.ddf, ddf).norm(dim=1).max() < 0.1

    def test_restores_the_image(self, smooth_ddf: SmoothDDF, smooth_image: SmoothImage) -> None:
        size = (32, 32, 32)
        image, ddf = smooth_image(size), smooth_ddf(size, 2.0, seed=7, pinned=True)
        warped = warp(image, ddf)
        restored = warp(warped, invert(ddf).ddf)
        assert (restored - image).abs().max() < 0.02
        assert (warped - image).abs().max() > 0.1

    def test_linear_field_in_closed_form(self) -> None:
        # (I + M)^-1 - I
        matrix = torch.tensor([[0.1, 0.2, 0.0], [-0.2, 0.1, 0.1], [0.0, -0.1, -0.2]], dtype=torch.float64)
        eye = torch.eye(3, dtype=torch.float64)
        inverse = invert(affine_ddf(matrix), tolerance=1e-6)
        expected = affine_ddf(torch.linalg.inv(eye + matrix) - eye)
        torch.testing.assert_close(interior(inverse.ddf, 6), interior(expected, 6), atol=1e-5, rtol=0)

    def test_equals_the_negative_velocity(self, smooth_ddf: SmoothDDF) -> None:
        velocity = smooth_ddf((24, 24, 24), 1.5, seed=8, pinned=True)
        inverse = invert(integrate_velocity(velocity)).ddf
        assert (inverse - integrate_velocity(-velocity)).abs().max() < 0.1

    def test_residual_is_what_it_says(self, smooth_ddf: SmoothDDF) -> None:
        ddf = smooth_ddf(peak=2.0, seed=9, batch=2)
        ddf[1] *= 0.1
        inverse = invert(ddf, iterations=3, tolerance=0.0)
        error = (inverse.ddf + warp(ddf, inverse.ddf)).norm(dim=1)
        grid = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in SIZE], indexing="ij"))
        target = grid + inverse.ddf
        top = torch.tensor(SIZE).view(1, 3, 1, 1, 1) - 1
        on_grid = ((target >= 0) & (target <= top)).all(1)
        assert not on_grid.all()
        expected = torch.stack([error[item][on_grid[item]].max() for item in range(2)])
        torch.testing.assert_close(inverse.residual, expected)

    def test_stops_at_the_tolerance(self, smooth_ddf: SmoothDDF, monkeypatch: pytest.MonkeyPatch) -> None:
        from morphseek_monai.fields import algebra

        calls = []
        monkeypatch.setattr(algebra, "warp", lambda *args: calls.append(1) or warp(*args))
        ddf = smooth_ddf((24, 24, 24), 2.0, seed=6, pinned=True)
        residual = invert(ddf, iterations=50, tolerance=0.05).residual
        assert residual <= 0.05
        early = len(calls)
        assert 1 < early < 20
        assert invert(ddf, iterations=early - 1, tolerance=0.05).residual > 0.05

    def test_says_when_it_does_not_converge(self) -> None:
        tangled = 3 * torch.randn(1, 3, 16, 16, 16, generator=torch.Generator().manual_seed(0))
        assert not (invert(tangled).residual <= 0.5).all()

    def test_damping_inverts_what_more_than_doubles_a_length(self) -> None:
        # the plain iteration runs away from a Lipschitz constant above 1
        matrix = torch.diag(torch.tensor([1.5, 0.0, 0.0], dtype=torch.float64))
        eye = torch.eye(3, dtype=torch.float64)
        inverse = invert(affine_ddf(matrix), tolerance=1e-4)
        expected = affine_ddf(torch.linalg.inv(eye + matrix) - eye)
        assert inverse.residual <= 1e-4
        torch.testing.assert_close(interior(inverse.ddf, 6), interior(expected, 6), atol=1e-3, rtol=0)

    def test_start_saves_iterations(self, smooth_ddf: SmoothDDF) -> None:
        ddf = smooth_ddf((24, 24, 24), 2.0, seed=6, pinned=True)
        start = invert(ddf, tolerance=1e-3).ddf
        assert invert(ddf, iterations=1, start=start).residual <= 1e-3
        assert invert(ddf, iterations=1).residual > 0.05

    def test_start_has_the_shape_of_the_field(self) -> None:
        with pytest.raises(ValueError, match=r"invert\(\) 'start' must have the shape of 'ddf', got .*; resize_ddf"):
            invert(torch.zeros(1, 3, 4, 4, 4), start=torch.zeros(1, 3, 4, 4, 5))

    def test_no_target_on_the_grid_is_nan(self) -> None:
        assert invert(translation(100.0, 0.0, 0.0)).residual.isnan().all()

    def test_nan_is_no_convergence(self) -> None:
        assert invert(torch.full((1, 3, 4, 4, 4), float("nan"))).residual.isnan().all()

    def test_iterations_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match=r"invert\(\) 'iterations' must be positive, got 0"):
            invert(torch.zeros(1, 3, 4, 4, 4), iterations=0)
