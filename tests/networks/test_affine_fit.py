"""The affine part of a field: exact for affine fields, least squares (as NumPy's) for others."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morphseek_monai.networks import fit_affine
from morphseek_monai.networks.affine import affine_ddf

SIZE = [10, 12, 14]


def random_parameters(batch: int) -> Tensor:
    return 0.3 * torch.randn(batch, 3, 4, generator=torch.Generator().manual_seed(0))


def test_affine_fields_are_kept() -> None:
    field = affine_ddf(random_parameters(3), SIZE)
    weights = torch.rand(3, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fit_affine(field, weights), field, rtol=1e-4, atol=1e-4)


def test_least_squares_of_numpy() -> None:
    generator = torch.Generator().manual_seed(2)
    field = torch.randn(1, 3, *SIZE, generator=generator)
    weights = torch.rand(1, 1, *SIZE, generator=generator).where(torch.rand(1, 1, *SIZE, generator=generator) > 0.5, 0)
    places = np.concatenate([np.indices(SIZE).reshape(3, -1), np.ones((1, np.prod(SIZE)))]).T
    root = weights.flatten().sqrt().double().numpy()[:, None]
    target = field[0].flatten(1).T.double().numpy()
    solution = np.linalg.lstsq(root * places, root * target, rcond=None)[0]
    expected = (places @ solution).T.reshape(3, *SIZE)
    np.testing.assert_allclose(fit_affine(field, weights)[0].numpy(), expected, atol=1e-4)


def test_weights_decide() -> None:
    """Where the weight is, the field is a shift of two voxels; elsewhere it is noise."""
    field = 10 * torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    weights = torch.zeros(1, 1, *SIZE)
    field[..., 2:8, 2:8, 2:8], weights[..., 2:8, 2:8, 2:8] = 2.0, 1.0
    torch.testing.assert_close(fit_affine(field, weights), torch.full_like(field, 2.0), rtol=0, atol=1e-2)


def test_no_weight_at_all_stays_finite() -> None:
    assert fit_affine(affine_ddf(random_parameters(1), SIZE), torch.zeros(1, 1, *SIZE)).isfinite().all()
