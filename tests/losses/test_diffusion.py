"""Diffusion regulariser against values derived by hand."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.losses.diffusion import DiffusionLoss


def test_linear_field() -> None:
    """``u_c(x) = a_c0 x_0 + a_c1 x_1 + a_c2 x_2``: every difference along axis k of component c is ``a_ck``.

    Axis k contributes ``mean_c a_ck**2``; the loss is the mean over k, i.e. ``sum_ck a_ck**2 / 9``.
    """
    a = torch.tensor([[1.0, 2.0, 0.0], [0.0, -3.0, 0.5], [4.0, 0.0, 1.0]])
    grid = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij"))
    ddf = torch.einsum("ck,kdhw->cdhw", a, grid)[None]
    expected = (1 + 4 + 9 + 0.25 + 16 + 1) / 9
    assert DiffusionLoss()(ddf).item() == pytest.approx(expected)


def test_single_spike_on_an_anisotropic_grid() -> None:
    """A spike of height 2 in the interior: along each axis two differences are 2, their squares sum to 8.

    Component 1 of a 3 x 4 x 5 grid. Axis 0 has 3 * (2 * 4 * 5) differences, axis 1 has 3 * (3 * 3 * 5), axis
    2 has 3 * (3 * 4 * 4): the means are 8 / 120, 8 / 135 and 8 / 144.
    """
    ddf = torch.zeros(1, 3, 3, 4, 5)
    ddf[0, 1, 1, 2, 2] = 2.0
    assert DiffusionLoss()(ddf).item() == pytest.approx((8 / 120 + 8 / 135 + 8 / 144) / 3)


def test_translation_is_free() -> None:
    assert DiffusionLoss()(torch.full((2, 3, 4, 4, 4), 7.0)).item() == 0.0


def test_gradient_passes_gradcheck() -> None:
    ddf = torch.randn(1, 3, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(DiffusionLoss(), (ddf,))


def test_half_precision_is_lifted() -> None:
    """Squares below float16's smallest number must not vanish."""
    ddf = torch.zeros(1, 3, 2, 2, 2, dtype=torch.float16)
    ddf[:, 0, 1] = 1e-4
    assert DiffusionLoss()(ddf).item() == pytest.approx(1e-8 / 9, rel=1e-2)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 4), (3, 4, 4, 4), (1, 3, 4, 1, 4)])
def test_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"DiffusionLoss\(\) 'ddf' must "):
        DiffusionLoss()(torch.zeros(shape))
