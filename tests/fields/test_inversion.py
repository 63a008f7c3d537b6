"""The inverse voxel by voxel: the definition is the oracle, and the inversion of whole volumes."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.fields import compose, integrate_velocity, invert, invert_by_voxel, jacobian_determinant
from morphseek_monai.fields import inversion as module


def smooth(seed: int, amplitude: float, size: int = 24) -> torch.Tensor:
    noise = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    field = torch.nn.functional.interpolate(noise, size=(size, size + 3, size - 2), mode="trilinear")
    return amplitude * field


@pytest.mark.parametrize("block", [100, 2**16])
def test_it_leads_back(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    ddf = integrate_velocity(smooth(0, 0.9))
    inverse = invert_by_voxel(ddf, 30, tolerance=1e-3)
    rest = compose(ddf, inverse)[..., 5:-5, 5:-5, 5:-5]  # v(x) + u(x + v(x))
    assert ddf.abs().max() > 1.5 and rest.abs().max() < 2e-3


def test_it_is_that_of_the_whole_volume() -> None:
    ddf = smooth(1, 0.8)
    whole = invert(ddf, 40, tolerance=0.0).ddf
    torch.testing.assert_close(invert_by_voxel(ddf, 40, tolerance=1e-4), whole, atol=1e-3, rtol=0)


def test_a_good_start_needs_one_iteration_and_is_overwritten() -> None:
    ddf = smooth(2, 0.8)
    start = invert(ddf, 40, tolerance=0.0).ddf + 0.01
    found = invert_by_voxel(ddf, 1, start=start)
    assert found.data_ptr() == start.data_ptr()
    assert compose(ddf, found)[..., 4:-4, 4:-4, 4:-4].abs().max() < 0.01
    assert compose(ddf, invert_by_voxel(ddf, 1))[..., 4:-4, 4:-4, 4:-4].abs().max() > 0.1


def test_damping_inverts_what_more_than_doubles_a_length() -> None:
    axis = torch.arange(24.0).view(1, 1, -1, 1, 1)
    ddf = torch.zeros(1, 3, 24, 6, 6)
    ddf[:, :1] = 1.6 * (axis - 11.5)
    inverse = invert_by_voxel(ddf, 50, tolerance=1e-3)
    expected = -1.6 / 2.6 * (axis - 11.5)
    torch.testing.assert_close(inverse[:, :1], expected.expand(1, 1, 24, 6, 6), atol=5e-3, rtol=0)


def test_folds_and_nan_come_to_an_end() -> None:
    ddf = smooth(3, 9.0)
    assert jacobian_determinant(ddf).min() < 0
    assert invert_by_voxel(ddf, 20).isfinite().all()
    assert invert_by_voxel(torch.full((1, 3, 4, 4, 4), torch.nan)).isnan().all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"invert_by_voxel\(\) 'ddf' and 'start' must be one field"):
        invert_by_voxel(torch.zeros(2, 3, 4, 4, 4))
    with pytest.raises(ValueError, match=r"got \[1, 3, 4, 4, 4\] and \[1, 3, 4, 4, 5\]"):
        invert_by_voxel(torch.zeros(1, 3, 4, 4, 4), start=torch.zeros(1, 3, 4, 4, 5))
