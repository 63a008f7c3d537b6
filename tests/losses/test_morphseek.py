"""The fine-tuning objective: which term counts when, and which parameters each one reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.losses import (
    DiffusionLoss,
    Group,
    GRPOLoss,
    MINDSSCLoss,
    MorphSeekLoss,
    SoftDiceLoss,
    WarmupLoss,
)
from morphseek_monai.losses.morphseek import MorphSeekTerms
from morphseek_monai.networks import LatentPolicy, MorphSeekNet

SIZE = (8, 9, 10)
LABELS = 4


def make_loss(**kwargs: Any) -> MorphSeekLoss:
    return MorphSeekLoss(WarmupLoss(nn.MSELoss(), DiffusionLoss(), reg_weight=0.1), LABELS, **kwargs)


@pytest.fixture
def scene() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    mu, log_sigma = 0.5 * torch.randn(2, 1, 3, 2, 2, 2, generator=generator)
    policy = LatentPolicy(mu.requires_grad_(), log_sigma.requires_grad_())
    return {
        "image": torch.rand(1, 2, *SIZE, generator=generator),
        "label": torch.randint(0, LABELS, (1, 2, *SIZE), generator=generator).byte(),
        "ddf": torch.randn(1, 3, *SIZE, generator=generator).requires_grad_(),
        "policy": policy,
        "group": Group(policy.sample(4, 0.8, generator), torch.rand(4, generator=generator), 0.8),
    }


def gradient(total: Tensor, leaf: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if grad is None else grad


def test_terms_are_those_of_the_parts_and_add_up(scene: dict[str, Any]) -> None:
    loss = make_loss(policy=GRPOLoss("one"), warmup_weight=0.5, dice_weight=2.0, policy_weight=3.0)
    terms = loss(**scene)
    label, ddf, policy, group = (scene[name] for name in ("label", "ddf", "policy", "group"))
    anchor = loss.warmup(scene["image"][:, :1], scene["image"][:, 1:], ddf, policy)
    assert terms[3:] == anchor[1:]
    torch.testing.assert_close(terms.dice, SoftDiceLoss(LABELS)(ddf, label[:, :1], label[:, 1:]))
    torch.testing.assert_close(terms.policy, GRPOLoss("one")(policy, group.latents, group.rewards, tau=0.8))
    torch.testing.assert_close(terms.total, 0.5 * anchor.total + 2 * terms.dice + 3 * terms.policy)


@pytest.mark.parametrize("weight", ["warmup_weight", "dice_weight", "policy_weight"])
def test_weight_zero_removes_its_term(scene: dict[str, Any], weight: str) -> None:
    def total(**kwargs: Any) -> Tensor:
        terms: MorphSeekTerms = make_loss(**kwargs)(**scene)
        return terms.total

    alone = dict.fromkeys(("warmup_weight", "dice_weight", "policy_weight"), 0.0) | {weight: 1.0}
    for leaf in (scene["ddf"], scene["policy"].mu):
        full, rest, term = (gradient(total(**w), leaf) for w in ({}, {weight: 0.0}, alone))
        torch.testing.assert_close(full, rest + term)
    taught = scene["policy"].mu if weight == "policy_weight" else scene["ddf"]
    assert gradient(total(**alone), taught).any()


def test_unlabelled_pair_has_no_dice(scene: dict[str, Any]) -> None:
    terms = make_loss()(scene["image"], None, scene["ddf"], scene["policy"])
    assert (terms.dice, terms.policy) == (0, 0)
    anchor = make_loss().warmup(scene["image"][:, :1], scene["image"][:, 1:], scene["ddf"], scene["policy"])
    torch.testing.assert_close(terms.total, anchor.total)


def test_no_group_no_policy_term(scene: dict[str, Any]) -> None:
    terms = make_loss()(**scene | {"group": None})
    assert terms.policy == 0
    assert terms.dice > 0
    assert make_loss()(**scene | {"policy": None}).policy == 0


def test_policy_defaults_to_sqrt(scene: dict[str, Any]) -> None:
    assert make_loss()(**scene).policy == make_loss(policy=GRPOLoss("sqrt"))(**scene).policy


def test_state_holds_the_kl_weight_only() -> None:
    assert list(make_loss().state_dict()) == ["warmup.kl_weight"]


def test_policy_term_never_reaches_the_decoder(
    make_net: Callable[..., MorphSeekNet], make_batch: Callable[..., dict[str, Any]]
) -> None:
    """It teaches encoder and head; soft Dice and similarity of the chosen trajectory teach everything."""
    net, batch = make_net(), make_batch()
    still = torch.zeros(1, 3, 16, 16, 16)

    def taught(**weights: float) -> set[str]:
        net.zero_grad()
        encoding = net.observe(batch["image"][:, :1], batch["image"][:, 1:], still)
        policy = net.head(encoding.top)  # type: ignore[misc]
        noise = policy.noise(4, torch.Generator().manual_seed(0))
        group = Group(policy.latent(noise), torch.arange(4.0), 1.0)
        ddf = net.act(encoding.skips, policy.latent(noise[-1:]), still)
        weights = {"warmup_weight": 0.0, "dice_weight": 0.0, "policy_weight": 0.0} | weights
        make_loss(**weights)(batch["image"], batch["label"], ddf, policy, group).total.backward()
        return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}

    everything = {name for name, _ in net.named_parameters()}
    encoder_and_head = {name for name in everything if name.startswith(("backbone.down", "head"))}
    assert taught(policy_weight=1.0) == encoder_and_head
    assert taught(dice_weight=1.0) == everything
    assert taught(warmup_weight=1.0) == everything


def test_mask_reaches_the_similarity_but_not_the_dice(scene: dict[str, Any]) -> None:
    loss = MorphSeekLoss(WarmupLoss(MINDSSCLoss(1, 1), DiffusionLoss()), LABELS)
    mask = torch.zeros(1, 2, *SIZE, dtype=torch.uint8)
    mask[:, :, 2:6] = 1
    masked, plain = loss(**scene, mask=mask), loss(**scene)
    image, ddf, policy = (scene[name] for name in ("image", "ddf", "policy"))
    anchor = loss.warmup(image[:, :1], image[:, 1:], ddf, policy, mask)
    assert masked.similarity == anchor.similarity != plain.similarity
    assert (masked.dice, masked.policy, masked.kl) == (plain.dice, plain.policy, plain.kl)
    torch.testing.assert_close(masked.total - plain.total, masked.similarity - plain.similarity)
