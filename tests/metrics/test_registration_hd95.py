"""HD95 of warped labels against a brute-force search over surface voxels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphseek_monai.fields import warp_labels
from morphseek_monai.metrics import RegistrationHD95

pytest.importorskip("scipy")  # MONAI finds surfaces and nearest voxels with it


def _blobs(seed: int) -> Tensor:
    """Label map ``(1, 1, 14, 12, 13)`` with three labels of irregular shape."""
    noise = torch.rand(1, 3, 14, 12, 13, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool3d(noise, 5, stride=1, padding=2)
    return (smooth.argmax(dim=1, keepdim=True) + 1).mul(smooth.amax(dim=1, keepdim=True) > 0.45).byte()


def _brute_force(a: Tensor, b: Tensor, spacing: tuple[float, float, float]) -> float:
    def surface(mask: Tensor) -> Tensor:
        padded = F.pad(mask, [1] * 6)
        inner = mask.clone()
        for axis in range(3):
            for shift in (-1, 1):
                inner &= padded.roll(shift, axis)[1:-1, 1:-1, 1:-1]
        return (mask & ~inner).nonzero() * torch.tensor(spacing)

    distance = torch.cdist(surface(a), surface(b), compute_mode="donot_use_mm_for_euclid_dist")
    return max(torch.quantile(distance.amin(dim=axis), 0.95).item() for axis in (0, 1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_equals_brute_force(spacing: tuple[float, float, float]) -> None:
    label = torch.cat([_blobs(0), _blobs(1)], dim=1)
    ddf = torch.randn(1, 3, 14, 12, 13, generator=torch.Generator().manual_seed(2))
    warped = warp_labels(label[:, :1], ddf)[0, 0]
    expected = [_brute_force(warped == value, label[0, 1] == value, spacing) for value in (1, 2, 3)]
    values = RegistrationHD95(num_labels=4, spacing=spacing)(ddf, label)
    torch.testing.assert_close(values, torch.tensor([expected]))


def test_shift_in_mm_along_each_axis() -> None:
    label = torch.zeros(1, 2, 12, 12, 12, dtype=torch.uint8)
    label[..., 4:8, 4:8, 4:8] = 1
    for axis, spacing in enumerate((0.7, 1.5, 3.0)):
        ddf = torch.zeros(1, 3, 12, 12, 12)
        ddf[:, axis] = 2.0
        value = RegistrationHD95(num_labels=2, spacing=(0.7, 1.5, 3.0))(ddf, label)
        assert isinstance(value, Tensor)
        assert value.item() == pytest.approx(2 * spacing)


def test_absent_labels_are_nan_and_lost_labels_infinite() -> None:
    label = torch.zeros(2, 2, 8, 8, 8, dtype=torch.uint8)
    label[:, :, 2:4, 2:4, 2:4] = 1
    label[:, 0, 6, 6, 6] = 2  # absent in the fixed maps
    ddf = torch.zeros(2, 3, 8, 8, 8)
    ddf[1] = 50.0  # everything sampled beyond the image
    metric = RegistrationHD95(num_labels=4)
    values = metric(ddf, label)
    expected = torch.tensor([[0.0, torch.nan, torch.nan], [torch.inf, torch.nan, torch.nan]])
    torch.testing.assert_close(values, expected, equal_nan=True)
    assert metric.aggregate().item() == torch.inf


def test_refuses_labels_out_of_range() -> None:
    label = torch.full((1, 2, 4, 4, 4), 5, dtype=torch.uint8)
    with pytest.raises(ValueError, match="'y moving' must hold labels in 0..3, got 5..5"):
        RegistrationHD95(num_labels=4)(torch.zeros(1, 3, 4, 4, 4), label)
