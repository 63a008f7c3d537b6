"""Forces in closed form against autograd, and what they must not feel."""

import torch
import torch.nn.functional as F

from morphseek_monai.inference.image_forces import FLOOR, CorrelationForce, DescriptorForce, window_means

SIZE = (14, 15, 16)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(F.avg_pool3d(torch.rand(1, *(n + 4 for n in SIZE), generator=generator), 5, 1) for _ in range(2))  # type: ignore[return-value]


def test_correlation_force_is_the_gradient_by_the_warped_image() -> None:
    """Along a ramp of slope 1 the force is the derivative by the intensity itself, which autograd knows."""
    _, fixed = images()
    moving = torch.arange(SIZE[2]).float().expand(SIZE)[None] / 10 + 0.2 * images()[0]
    warped = moving.clone().double().requires_grad_()

    def means(maps: torch.Tensor) -> torch.Tensor:
        return F.avg_pool3d(F.pad(maps[None], [2] * 6, mode="replicate"), 5, 1)[0]

    f = fixed.double()
    w_mean, f_mean, ww, ff, fw = means(torch.cat([warped, f, warped * warped, f * f, f * warped]))
    squared = (fw - w_mean * f_mean) ** 2 / ((ww - w_mean**2 + FLOOR) * (ff - f_mean**2 + FLOOR))
    (slope,) = torch.autograd.grad(squared.sum(), warped)
    pull = CorrelationForce(moving, fixed)(torch.zeros(3, *SIZE))
    inner = (slice(4, -4),) * 3  # the edge is repeated, and autograd counts it more than once
    gradient = (moving[0, :, :, 2:] - moving[0, :, :, :-2]) / 2
    expected = (slope[0, :, :, 1:-1].float() / 2 * gradient)[4:-4, 4:-4, 3:-3]
    torch.testing.assert_close(pull.force[2][inner], expected, rtol=2e-3, atol=2e-4 * float(expected.abs().max()))
    assert abs(pull.similarity - float(squared.mean())) < 1e-4


def test_what_was_not_scanned_does_not_pull() -> None:
    moving, fixed = images()
    valid = torch.ones(1, *SIZE)
    valid[:, :7] = 0
    pull = CorrelationForce(moving, fixed, valid)(torch.zeros(3, *SIZE))
    assert not pull.force[:, :6].any() and pull.force[:, 9:].any()


def test_an_inverted_contrast_pulls_alike() -> None:
    moving, fixed = images()
    one, other = (CorrelationForce(image, fixed)(torch.zeros(3, *SIZE)).force for image in (moving, 1 - moving))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_descriptors_pull_towards_agreement() -> None:
    wave = torch.linspace(0, 6, 20).sin().view(1, 20, 1, 1).expand(1, 20, 12, 12)
    pull = DescriptorForce(wave, wave.roll(-1, dims=1))(torch.zeros(3, 20, 12, 12))
    assert pull.force[0, 2:-2].mean() > 0 and pull.force[1:].abs().max() < 1e-6 and pull.similarity < 0


def test_window_means_are_those_of_pooling() -> None:
    maps = torch.rand(2, 8, 9, 10, generator=torch.Generator().manual_seed(0))
    padded = F.pad(maps[None], [2, 2, 1, 1, 0, 0], mode="replicate")
    torch.testing.assert_close(window_means(maps, (1, 3, 5)), F.avg_pool3d(padded, (1, 3, 5), 1)[0])
