"""Separable filters against SciPy and PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from morphseek_monai.fields.separable import apply_separable, gaussian_matrix, resize_matrix, resize_smooth


@pytest.mark.parametrize("sigma", [0.5, 1.7, 3.0])
def test_smoothing_is_that_of_scipy(sigma: float) -> None:
    image = torch.rand(9, 14, 20, generator=torch.Generator().manual_seed(0))
    ours = apply_separable(image[None], [gaussian_matrix(n, sigma) for n in image.shape])[0]
    theirs = ndimage.gaussian_filter(image.double().numpy(), sigma, mode="nearest", truncate=round(3 * sigma) / sigma)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-6)


@pytest.mark.parametrize("size", [(4, 7, 10), (16, 28, 40), (9, 14, 5), (1, 2, 3)])
def test_resizing_is_that_of_pytorch(size: tuple[int, int, int]) -> None:
    maps = torch.rand(2, 8, 14, 20, generator=torch.Generator().manual_seed(0))
    ours = apply_separable(maps, [resize_matrix(n, m) for n, m in zip(maps.shape[1:], size)])
    theirs = F.interpolate(maps[None], size=size, mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_shrinking_keeps_a_constant_and_does_not_alias() -> None:
    assert torch.allclose(resize_smooth(torch.full((1, 9, 8, 7), 3.0), (4, 4, 4)), torch.tensor(3.0))
    checks = (torch.arange(24) % 2).float().view(1, -1, 1, 1).expand(1, 24, 8, 8)
    assert (resize_smooth(checks, (6, 8, 8))[:, 1:-1] - 0.5).abs().max() < 0.05


def test_what_is_not_a_stack_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'maps' must be \(C, D, H, W\), got \(4, 4, 4\)"):
        apply_separable(torch.zeros(4, 4, 4), [torch.eye(4)] * 3)
