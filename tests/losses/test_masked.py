"""The mean over a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphseek_monai.losses.masked import masked_mean

SIZE = (4, 5, 6)


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 2, *SIZE, generator=generator, dtype=torch.float64)
    return values, (torch.rand(3, 1, *SIZE, generator=generator) > 0.7).byte()


def test_equals_numpy_item_by_item() -> None:
    values, mask = scene()
    outside = np.broadcast_to(1 - mask.numpy(), values.shape)
    means = [np.ma.MaskedArray(v, o).mean() for v, o in zip(values.numpy(), outside, strict=True)]
    assert masked_mean(values, mask, "f").item() == pytest.approx(np.mean(means), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_type_and_size_of_the_mask_do_not_matter(dtype: torch.dtype) -> None:
    values, mask = scene()
    assert masked_mean(values, mask.to(dtype) * 1, "f") == masked_mean(values, mask, "f")
    assert masked_mean(values, 255 * mask, "f") == masked_mean(values, mask, "f")


def test_values_outside_have_no_say_even_if_not_finite() -> None:
    values, mask = scene()
    spoilt = torch.where(mask == 0, torch.nan, values).requires_grad_()
    mean = masked_mean(spoilt, mask, "f")
    mean.backward()
    assert mean == masked_mean(values, mask, "f")
    assert spoilt.grad is not None
    assert torch.equal(spoilt.grad != 0, (mask != 0).expand_as(values))


def test_empty_item_contributes_zero() -> None:
    values, mask = scene()
    mask[1] = 0
    rest = masked_mean(values[[0, 2]], mask[[0, 2]], "f")
    torch.testing.assert_close(masked_mean(values, mask, "f"), rest * 2 / 3)


@pytest.mark.parametrize("shape", [(3, 2, *SIZE), (1, 1, *SIZE), (3, 1, 4, 5, 5)])
def test_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"f\(\) 'mask' must be .* here \(3, 1, 4, 5, 6\), got \("):
        masked_mean(scene()[0], torch.ones(shape), "f")
