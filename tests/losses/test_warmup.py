"""The warm-up objective: its terms and their weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp, warp_labels
from morphseek_monai.losses import DiffusionLoss, LNCCLoss, MINDSSCLoss, WarmupLoss
from morphseek_monai.networks import LatentPolicy

SIZE = (10, 11, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(batch: int = 1) -> tuple[Tensor, Tensor, Tensor, LatentPolicy]:
    moving, fixed = torch.rand(2, batch, 1, *SIZE, generator=generator())
    ddf = torch.randn(batch, 3, *SIZE, generator=generator(1))
    mu, log_sigma = torch.randn(2, batch, 4, 2, 2, 2, generator=generator(2))
    return moving, fixed, ddf, LatentPolicy(mu, log_sigma)


@pytest.mark.parametrize("similarity", [nn.MSELoss(), LNCCLoss(5), MINDSSCLoss()])
def test_terms_are_those_of_the_parts_and_add_up(similarity: nn.Module) -> None:
    moving, fixed, ddf, policy = scene(batch=2)
    terms = WarmupLoss(similarity, DiffusionLoss(), reg_weight=0.7, kl_weight=0.03)(moving, fixed, ddf, policy)
    torch.testing.assert_close(terms.similarity, similarity(warp(moving, ddf), fixed))
    torch.testing.assert_close(terms.regularisation, DiffusionLoss()(ddf))
    torch.testing.assert_close(terms.kl, policy.kl())
    torch.testing.assert_close(terms.total, terms.similarity + 0.7 * terms.regularisation + 0.03 * terms.kl)


def test_no_policy_no_kl() -> None:
    moving, fixed, ddf, _ = scene()
    terms = WarmupLoss(nn.MSELoss(), DiffusionLoss(), kl_weight=10.0)(moving, fixed, ddf, None)
    assert terms.kl == 0
    torch.testing.assert_close(terms.total, terms.similarity + terms.regularisation)


@pytest.mark.parametrize(("name", "weights"), [("regularisation", (0.0, 1.0)), ("kl", (1.0, 0.0))])
def test_weight_zero_removes_the_gradient_of_its_term(name: str, weights: tuple[float, float]) -> None:
    moving, fixed, ddf, policy = scene()
    leaf = ddf if name == "regularisation" else policy.mu
    leaf.requires_grad_()
    still = nn.L1Loss()  # similarity of constant images has no gradient, so only the term in question is left
    terms = WarmupLoss(still, DiffusionLoss(), *weights)(torch.ones_like(moving), torch.ones_like(fixed), ddf, policy)
    (on,) = torch.autograd.grad(getattr(terms, name), leaf, retain_graph=True)
    (total,) = torch.autograd.grad(terms.total, leaf)
    assert on.abs().max() > 0
    assert total.abs().max() < 1e-6


def test_kl_weight_is_a_buffer_that_a_checkpoint_keeps() -> None:
    loss = WarmupLoss(nn.MSELoss(), DiffusionLoss(), kl_weight=0.01)
    loss.kl_weight *= 5
    other = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    other.load_state_dict(loss.state_dict())
    assert other.kl_weight.item() == pytest.approx(0.05)
    assert not list(loss.parameters())
    moving, fixed, ddf, policy = scene()
    torch.testing.assert_close(other(moving, fixed, ddf, policy), loss(moving, fixed, ddf, policy))


def halves() -> Tensor:
    """Moving mask: the first half along D; fixed mask: the first half along W."""
    mask = torch.zeros(1, 2, *SIZE, dtype=torch.uint8)
    mask[:, 0, :5] = 1
    mask[:, 1, :, :, :6] = 1
    return mask


class Seen(nn.Module):
    """A similarity that keeps its mask."""

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        self.mask = mask
        return (warped - fixed).square().mean()


def test_similarity_counts_where_fixed_and_warped_moving_mask_overlap() -> None:
    moving, fixed, ddf, policy = scene()
    ddf = torch.zeros_like(ddf)
    ddf[:, 0] = 2.0  # the mask of the moving image arrives two voxels lower
    similarity = Seen()
    WarmupLoss(similarity, DiffusionLoss())(moving, fixed, ddf, policy, halves())
    expected = torch.zeros(1, 1, *SIZE)
    expected[:, :, :3, :, :6] = 1
    assert similarity.mask is not None and torch.equal(similarity.mask.float(), expected)


def test_beyond_the_moving_image_nothing_counts() -> None:
    moving, fixed, ddf, policy = scene()
    similarity = Seen()
    far = torch.full_like(ddf, 100.0)
    WarmupLoss(similarity, DiffusionLoss())(moving, fixed, far, policy, torch.ones_like(halves()))
    assert similarity.mask is not None and not similarity.mask.any()


@pytest.mark.parametrize("similarity", [LNCCLoss(5), MINDSSCLoss()])
def test_mask_reaches_the_similarity_alone_and_carries_no_gradient(similarity: nn.Module) -> None:
    moving, fixed, ddf, policy = scene()
    ddf.requires_grad_()
    loss = WarmupLoss(similarity, DiffusionLoss())
    masked, plain = loss(moving, fixed, ddf, policy, mask=halves()), loss(moving, fixed, ddf, policy)
    inside = halves()[:, 1:] * warp_labels(halves()[:, :1], ddf.detach())
    torch.testing.assert_close(masked.similarity, similarity(warp(moving, ddf), fixed, inside))
    assert masked.similarity != plain.similarity
    assert (masked.regularisation, masked.kl) == (plain.regularisation, plain.kl)
    (grad,) = torch.autograd.grad(masked.similarity, ddf)
    (expected,) = torch.autograd.grad(similarity(warp(moving, ddf), fixed, inside), ddf)
    torch.testing.assert_close(grad, expected)


def test_masks_that_do_not_meet_are_no_nan() -> None:
    moving, fixed, ddf, policy = scene()
    mask = halves()
    mask[:, 1] = 0
    ddf.requires_grad_()
    terms = WarmupLoss(MINDSSCLoss(), DiffusionLoss())(moving, fixed, ddf, policy, mask)
    terms.total.backward()
    assert terms.similarity == 0
    assert ddf.grad is not None and ddf.grad.isfinite().all() and ddf.grad.any()


def test_without_mask_the_similarity_sees_two_arguments() -> None:
    moving, fixed, ddf, policy = scene()
    WarmupLoss(nn.MSELoss(), DiffusionLoss())(moving, fixed, ddf, policy, mask=None)
    with pytest.raises(TypeError, match="'similarity' must take a mask, MSELoss does not; use MINDSSCLoss or LNCCLoss"):
        WarmupLoss(nn.MSELoss(), DiffusionLoss())(moving, fixed, ddf, policy, mask=halves())


def test_refuses_a_single_mask() -> None:
    moving, fixed, ddf, policy = scene()
    with pytest.raises(ValueError, match=r"'mask' must be a pair of masks \(B, 2, D, H, W\), got \(1, 1, 10, 11, 12\)"):
        WarmupLoss(MINDSSCLoss(), DiffusionLoss())(moving, fixed, ddf, policy, halves()[:, 1:])
