"""Fine-tuning: sampling, rewards in chunks, the greedy choice, what is logged, and learning from rewards alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.engines import GRPOTrainer, prepare_pairs
from morphseek_monai.fields import warp_labels
from morphseek_monai.losses import DiffusionLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.metrics import RegistrationDice
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.rewards import LocalDiceGain, Reward, RewardState

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., GRPOTrainer]


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


class MeanAlongFirstAxis(Reward):
    """Higher the farther the field points along the first axis."""

    def __call__(self, state: RewardState) -> Tensor:
        return state.ddf[:, 0].mean((1, 2, 3))


class Given(Reward):
    """Rewards the test chooses, handed out trajectory by trajectory."""

    def __init__(self, *rewards: float) -> None:
        self.left = list(rewards)

    def __call__(self, state: RewardState) -> Tensor:
        return torch.tensor([float(self.left.pop(0)) for _ in state.ddf])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def start(batch: dict[str, Any]) -> Tensor:
    return torch.rand(1, 3, *batch["image"].shape[2:], generator=generator())


def test_overfits_a_pair(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    net, batch = make_net(steps=2, flow_std=1e-5), make_batch()
    dice = RegistrationDice(3)
    before = dice(net(batch["image"]).detach(), batch["label"]).mean()
    make_trainer(GRPOTrainer, [batch] * 50, net, optimizer=torch.optim.Adam, lr=0.003).run()
    after = dice(net(batch["image"]).detach(), batch["label"]).mean()
    assert after > before + 0.3


def test_learns_from_rewards_alone(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    """No similarity, no Dice: the deterministic field must follow the reward through the policy gradient."""
    net, batch = make_net(seed=2, initial_log_sigma=-1.0), make_batch()
    warmup = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    loss = MorphSeekLoss(warmup, 3, warmup_weight=0.0, dice_weight=0.0)
    before = net(batch["image"])[:, 0].mean().item()
    decoder = flat(net.backbone.up)
    trainer = make_trainer(
        GRPOTrainer,
        [batch] * 20,
        net,
        optimizer=torch.optim.Adam,
        lr=0.03,
        loss_function=loss,
        reward=MeanAlongFirstAxis(),
        trajectories=8,
    )
    trainer.run()
    assert net(batch["image"])[:, 0].mean().item() > before + 0.5
    assert torch.equal(flat(net.backbone.up), decoder)


@pytest.mark.parametrize("chunk", [2, 3, 4])
def test_chunks_change_nothing(
    chunk: int, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    def run(chunk: int) -> tuple[dict[str, float], Tensor]:
        trainer = make_trainer(GRPOTrainer, [make_batch(2)], make_net(steps=2, flow_std=1.0), chunk=chunk, lr=1.0)
        trainer.run()
        return trainer.state.output[0]["terms"], flat(trainer.network)

    terms, weights = run(1)
    chunked, chunked_weights = run(chunk)
    assert terms["reward_spread"] > 1e-4
    assert chunked == pytest.approx(terms, rel=1e-3, abs=1e-5)
    assert (chunked_weights - weights).norm() < 1e-3 * (weights - flat(make_net(flow_std=1.0))).norm()


@pytest.mark.parametrize("best", [0, 2, 3])
def test_best_trajectory_goes_on_and_is_logged(
    best: int, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    batch, tau = make_batch(), 0.7
    rewards = [0.1, -0.2, 0.0, 0.05]
    rewards[best] = 0.9
    trainer = make_trainer(GRPOTrainer, [batch], reward=Given(*rewards), tau=tau, chunk=3)
    net, ddf = trainer.network, start(batch)
    result = trainer.refine(prepare_pairs(batch).pair(0), ddf, generator())
    encoding = net.observe(batch["image"][:, :1], batch["image"][:, 1:], ddf)
    policy = net.head(encoding.top)  # type: ignore[misc]
    latents = policy.latent(policy.noise(4, generator()), tau)
    fields = net.act(encoding.skips, latents, ddf)
    torch.testing.assert_close(result.ddf, fields[best : best + 1], atol=1e-5, rtol=1e-5)
    mean = net.step(batch["image"][:, :1], batch["image"][:, 1:], ddf)  # what inference returns is what is judged
    judged = trainer.loss_function(batch["image"], batch["label"], mean, policy)
    assert not result.ddf.requires_grad
    assert float(result.terms["dice"]) == pytest.approx(judged.dice.item(), abs=1e-5)
    assert float(result.terms["similarity"]) == pytest.approx(judged.similarity.item(), abs=1e-5)
    values = torch.tensor(rewards)
    assert float(result.terms["reward"]) == pytest.approx(values.mean().item())
    assert float(result.terms["reward_spread"]) == pytest.approx(values.std(correction=0).item())
    assert float(result.terms["reward_best"]) == pytest.approx(0.9)
    assert float(result.terms["sigma"]) == pytest.approx(tau * policy.log_sigma.exp().mean().item())


@pytest.mark.parametrize("case", ["unlabelled", "one trajectory", "no policy"])
def test_mean_latent_where_nothing_is_drawn(
    case: str, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    net = make_net(policy="none" if case == "no policy" else "gaussian")
    trainer = make_trainer(GRPOTrainer, [batch], net, trajectories=4 if case == "unlabelled" else 1)
    pair = prepare_pairs(batch | {"labelled": [case != "unlabelled"]}).pair(0)
    result = trainer.refine(pair, start(batch), generator())
    expected = net.step(batch["image"][:, :1], batch["image"][:, 1:], start(batch))
    torch.testing.assert_close(result.ddf, expected)
    assert not {"reward", "reward_best", "reward_spread"} & result.terms.keys()
    assert result.terms["policy"] == 0
    assert (result.terms["dice"] == 0) == (case == "unlabelled")


def test_unlabelled_pairs_do_not_dilute_the_logged_reward(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    terms = []
    for labelled in ([True, True], [True, False]):
        reward = Given(*range(4), *range(10, 14))
        trainer = make_trainer(GRPOTrainer, [make_batch(2, labelled=labelled)], reward=reward)
        trainer.run()
        terms.append(trainer.state.output[0]["terms"])
    assert (terms[0]["reward"], terms[1]["reward"]) == (6.5, 1.5)


def test_noise_is_new_in_each_iteration_and_pair(make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    """The same pair all over, at learning rate 0: rewards differ by the noise only."""
    batch = make_batch()
    twice = {name: torch.cat([value] * 2) if isinstance(value, Tensor) else value * 2 for name, value in batch.items()}
    rewards: list[float] = []
    trainer = make_trainer(GRPOTrainer, [twice] * 2, lr=0.0, reward=MeanAlongFirstAxis())
    refine = trainer.refine

    def spy(*args: Any) -> Any:
        result = refine(*args)
        rewards.append(float(result.terms["reward"]))
        return result

    trainer.refine = spy  # type: ignore[method-assign]
    trainer.run()
    assert len(set(rewards)) == 4


def test_decoder_learns_under_autocast(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    """Weights cast for the trajectories without gradient must not be taken again for the chosen one."""
    net = make_net()
    before = copy.deepcopy(net)
    make_trainer(GRPOTrainer, [make_batch()], net, amp=True).run()
    still = [name for (name, p), q in zip(net.named_parameters(), before.parameters()) if torch.equal(p, q)]
    assert not still


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trajectories": 0}, "'trajectories' must be at least 1, got 0"),
        ({"chunk": 0}, "'chunk' must be at least 1, got 0"),
        ({"tau": 0.0}, "'tau' must be positive, got 0.0; the mean latent needs trajectories=1"),
        ({"spread": 0.0}, "'spread' must be positive, got 0.0"),
        ({"noise_spacing": 0}, "'noise_spacing' must be at least 1, got 0"),
        ({"action": "fields"}, "'action' must be 'latent' or 'field', got 'fields'"),
    ],
)
def test_refuses(
    arguments: dict[str, Any], message: str, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    with pytest.raises(ValueError, match=rf"GRPOTrainer\(\) {message}"):
        make_trainer(GRPOTrainer, [make_batch()], **arguments)


def test_refuses_to_draw_without_a_policy(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    with pytest.raises(ValueError, match=r"'trajectories' above 1 need MorphSeekNet\(policy='gaussian'\)"):
        make_trainer(GRPOTrainer, [make_batch()], make_net(policy="none"))


def test_local_credit_reaches_the_loss_on_the_grid_of_the_latent(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """Credit that praises one corner moves the latent there and nowhere else."""

    class OneCorner(Reward):
        def __call__(self, state: RewardState) -> Tensor:
            credit = torch.zeros_like(state.ddf[:, 0])
            credit[:, :4, :4, :4] = state.ddf[:, 0, :4, :4, :4]
            return credit

    batch = make_batch(size=48)
    loss = MorphSeekLoss(WarmupLoss(nn.MSELoss(), DiffusionLoss()), 3, warmup_weight=0.0, dice_weight=0.0)
    trainer = make_trainer(GRPOTrainer, [batch], make_net(seed=2), loss_function=loss, credit=OneCorner())
    net = trainer.network
    tops: list[Tensor] = []
    net.head.register_forward_hook(lambda module, args, output: tops.append(output.mu))  # type: ignore[union-attr]
    result = trainer.refine(prepare_pairs(batch).pair(0), torch.zeros(1, 3, 48, 48, 48), generator())
    tops[0].retain_grad()
    result.objective.backward()  # type: ignore[no-untyped-call]
    places = tops[0].grad.abs().sum((0, 1))  # type: ignore[union-attr]
    assert (places[:2, :2, :2] > 0).all()  # the block itself and those next to it
    assert not places[2:].any()
    assert not places[:, 2:].any()


def test_a_coarse_step_trains_what_inference_does(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    net = make_net(scales=(2, 1), steps=2)
    trainer = make_trainer(GRPOTrainer, [batch], net, trajectories=1)
    ddf = trainer.refine(prepare_pairs(batch).pair(0), torch.zeros_like(start(batch)), generator(), 2).ddf
    ddf = trainer.refine(prepare_pairs(batch).pair(0), ddf.detach(), generator(), 1).ddf
    torch.testing.assert_close(ddf, net(batch["image"]))


def by_reward_alone() -> dict[str, Any]:
    """Options of a trainer that the policy term at the field alone teaches: no soft Dice, no warm-up terms."""
    loss = MorphSeekLoss(WarmupLoss(nn.MSELoss(), DiffusionLoss()), 3, warmup_weight=0.0, dice_weight=0.0)
    return {"loss_function": loss, "action": "field", "optimizer": torch.optim.Adam, "lr": 0.003}


def test_learns_where_the_field_earned(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    """Hard Dice alone, without soft Dice or similarity, overfits a pair once the displacement is what is credited."""
    net, batch = make_net(steps=2, flow_std=1e-2), make_batch()
    dice = RegistrationDice(3)
    before = dice(net(batch["image"]).detach(), batch["label"]).mean()
    make_trainer(GRPOTrainer, [batch] * 30, net, **by_reward_alone(), credit=LocalDiceGain(3)).run()
    assert dice(net(batch["image"]).detach(), batch["label"]).mean() > before + 0.1


def test_the_slope_at_the_field_teaches_like_a_gradient(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """A reward that is linear in the field: what reaches the decoder's parameters is the gradient of that reward."""
    batch, net = make_batch(), make_net(seed=2, flow_std=1e-2)

    class ByVoxel(Reward):
        def __call__(self, state: RewardState) -> Tensor:
            return state.ddf[:, 0] - 0.5 * state.ddf[:, 2]

    trainer = make_trainer(GRPOTrainer, [batch], net, **by_reward_alone(), credit=ByVoxel(), trajectories=8)
    result = trainer.refine(prepare_pairs(batch).pair(0), start(batch), generator())
    (found,) = torch.autograd.grad(result.objective, net.backbone.flow.weight)
    field = net.step(batch["image"][:, :1], batch["image"][:, 1:], start(batch))
    (wanted,) = torch.autograd.grad(-(field[:, 0] - 0.5 * field[:, 2]).sum(), net.backbone.flow.weight)
    assert torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.95


def test_learns_from_a_plain_function_of_the_labels_alone(
    make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """One number for the whole field, counted in NumPy, is all that the network is taught by."""
    net, batch = make_net(flow_std=1e-2), make_batch()

    def agreement(state: RewardState) -> list[float]:
        fixed = state.fixed_label[0, 0].numpy()
        warped = warp_labels(state.moving_label, state.ddf).numpy()[:, 0]
        return [100 * float(np.mean(one == fixed)) for one in warped]

    def reached() -> float:
        label, ddf = batch["label"], net(batch["image"]).detach()
        return agreement(RewardState(label[:, :1], label[:, 1:], ddf, ddf))[0]

    before = reached()
    options = by_reward_alone() | {"reward": agreement, "trajectories": 16, "noise_spacing": 8}
    make_trainer(GRPOTrainer, [batch] * 30, net, **options).run()
    assert reached() > before + 1


def test_a_reward_sees_the_images(make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    batch = make_batch()
    seen: list[RewardState] = []

    def score(state: RewardState) -> list[float]:
        seen.append(state)
        return [0.0] * len(state.ddf)

    make_trainer(GRPOTrainer, [batch], reward=score).run()
    assert all(torch.equal(state.image, batch["image"]) for state in seen)  # type: ignore[arg-type]
    assert seen


@pytest.mark.parametrize("action", ["latent", "field"])
def test_a_reward_that_cannot_be_used_ends_the_training_with_its_name(
    action: str, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    def my_score(state: RewardState) -> Tensor:
        return torch.full((len(state.ddf),), torch.nan)

    with pytest.raises(ValueError, match="reward my_score must be finite, got nan"):
        make_trainer(GRPOTrainer, [make_batch()], reward=my_score, action=action).run()
