"""docs/benchmarks/latent.py: every figure on networks and rewards whose answer is known."""

from __future__ import annotations

import csv
import importlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.engines import prepare_pairs
from morphseek_monai.losses import DiffusionLoss, GRPOLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.networks import MorphSeekNet, VoxelMorph
from morphseek_monai.rewards import DiceGain, Reward, RewardState

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "benchmarks"))  # where Python puts it when the script is run
latent = importlib.import_module("latent")
measures = importlib.import_module("latent_measures")
OVERLAY = {
    "augmentation": "$None",
    "quiet": True,
    "steps": 2,
    "trajectories": 3,
    "tau": 0.5,
    "backbone": {
        "_target_": "morphseek_monai.networks.VoxelMorph",
        "encoder": [4, 8],
        "decoder": [8, 8],
        "extras": [4],
    },
    "warmup_loss#kl_weight": 0.5,
    "experiment": {"plan": "phantom", "row": "tiny"},
    "seed": 7,
}


class Blind(VoxelMorph):
    """Decodes without looking at the latent, or at the skips."""

    blind_to = "latent"

    def decode(self, skips: list[Tensor], latent: Tensor) -> Tensor:
        if self.blind_to == "latent":
            return super().decode(skips, torch.zeros_like(latent))
        return super().decode([torch.zeros_like(skip) for skip in skips], latent)


def blind(to: str) -> MorphSeekNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Blind((4, 8), (8, 8), (4,), integration_steps=2)
        nn.init.normal_(backbone.flow.weight, std=0.5)
        backbone.blind_to = to
        return MorphSeekNet(backbone)


class Linear(Reward):
    """Mean displacement along the first axis, of the whole field or place by place."""

    def __init__(self, local: bool = False) -> None:
        self.local = local

    def __call__(self, state: RewardState) -> Tensor:
        return state.ddf[:, 0] if self.local else state.ddf[:, 0].mean((1, 2, 3))


class Chance(Reward):
    """Has nothing to do with the trajectory."""

    def __init__(self) -> None:
        self.random = generator()

    def __call__(self, state: RewardState) -> Tensor:
        return torch.rand(len(state.ddf), generator=self.random)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def objective(policy_weight: float = 1.0) -> MorphSeekLoss:
    return MorphSeekLoss(WarmupLoss(nn.MSELoss(), DiffusionLoss()), 3, GRPOLoss(), policy_weight=policy_weight)


def steps(net: MorphSeekNet, batch: dict[str, Any]) -> list[Any]:
    pairs = prepare_pairs(batch)
    return [measures.steps_of(net, pairs.pair(i))[-1] for i in range(len(batch["image"]))]


def fields(net: MorphSeekNet, batch: dict[str, Any], tau: float = 0.5, samples: int = 16) -> dict[str, float]:
    step, other = steps(net, batch)
    found: dict[str, float] = measures.field_measures(net, step, other, 3, samples, tau, generator())
    return found


def gradients(net: MorphSeekNet, batch: dict[str, Any], size: int, groups: int = 2, **kwargs: Any) -> dict[str, float]:
    loss = kwargs.pop("loss", objective())
    credits = kwargs or {"global": Linear()}
    step = steps(net, batch)[0]
    found: dict[str, float] = measures.gradient_measures(net, step, loss, credits, size, groups, 0.5, generator())
    return found


@pytest.mark.parametrize(("to", "z_share", "skip_share"), [("latent", 0.0, 0.01), ("skips", 0.01, 0.0)])
def test_shares_of_a_decoder_that_looks_at_one_thing(
    to: str, z_share: float, skip_share: float, make_batch: MakeBatch
) -> None:
    found = fields(blind(to), make_batch(2))
    for name, least in (("z_share", z_share), ("skip_share", skip_share)):
        assert found[name] > least if least else found[name] == 0
    dices = ("spread", "best", "shift", "noise_share", "spread_tau1", "noise_share_tau1", "best_of_8")
    if to == "latent":
        assert [found[name] for name in dices] == pytest.approx([0.0] * len(dices), abs=1e-5)
    else:
        assert found["noise_share_tau1"] > found["noise_share"] > 0


def test_dice_of_samples(make_net: MakeNet, make_batch: MakeBatch) -> None:
    """The same latents, decoded and rated by hand; in the second step, so that fields must be composed."""
    net, batch = make_net(steps=2, initial_log_sigma=-0.5), make_batch(2, size=20)
    found = fields(net, batch)
    image, label = batch["image"][:1], batch["label"][:1]
    with torch.no_grad():
        first = net.step(image[:, :1], image[:, 1:], torch.zeros(1, 3, 20, 20, 20))
        encoding = net.observe(image[:, :1], image[:, 1:], first)
        policy = net.head(encoding.top)  # type: ignore[misc]
        values = {}
        for tau in (0.5, 1.0):
            drawn = torch.cat([policy.mean, policy.sample(16, tau, generator())])
            state = RewardState(label[:, :1], label[:, 1:], first, net.act(encoding.skips, drawn, first))
            values[tau] = 100 * DiceGain(3)(state._replace(previous_dice=torch.zeros(1)))
    assert found["dice"] == pytest.approx(values[0.5][0].item(), abs=1e-3)
    for suffix, tau in (("", 0.5), ("_tau1", 1.0)):
        mean, samples = values[tau][0], values[tau][1:]
        assert samples.std() > 0.1
        assert found[f"spread{suffix}"] == pytest.approx(samples.std().item(), rel=1e-3)
        assert found[f"best{suffix}"] == pytest.approx((samples.max() - samples.mean()).item(), rel=1e-3)
        assert found[f"shift{suffix}"] == pytest.approx((samples.mean() - mean).item(), abs=1e-3)
    assert found["best_of_16"] == pytest.approx((values[0.5][1:].max() - values[0.5][0]).item(), abs=1e-3)
    gains = [found[f"best_of_{j}"] for j in measures.BEST_OF]
    assert gains == sorted(gains)


def test_the_policy_s_width(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net = make_net(log_sigma_range=(-3.0, -0.25), initial_log_sigma=-0.25)
    head: Any = net.head
    with torch.no_grad():
        head.mu.weight.zero_()
        head.log_sigma.bias[:2] = torch.tensor([-9.0, -1.0])  # one of eight channels clipped below, six above
    found = fields(net, make_batch(2))
    sigmas = torch.tensor([math.exp(-3.0), math.exp(-1.0), *[math.exp(-0.25)] * 6])
    assert (found["at_lower_clip"], found["at_upper_clip"]) == (0.125, 0.75)
    assert found["sigma"] == pytest.approx(sigmas.mean().item())
    assert found["kl"] == pytest.approx((0.5 * (sigmas**2 - 1) - sigmas.log()).mean().item(), rel=1e-5)


def test_expected_best() -> None:
    values = torch.rand(8, generator=generator())
    assert measures.expected_best(values, 1) == pytest.approx(values.mean().item())
    assert measures.expected_best(values, 8) == pytest.approx(values.max().item())
    assert measures.expected_best(values, 3) == pytest.approx(torch.combinations(values, 3).amax(1).mean().item())
    assert math.isnan(measures.expected_best(values, 9))


def test_steps_go_on_from_the_mean(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net, batch = make_net(steps=3, scales=(2, 1)), make_batch()
    found = measures.steps_of(net, prepare_pairs(batch).pair(0))
    assert [step.scale for step in found] == [2, 1, 1]
    last = net.step(batch["image"][:, :1], batch["image"][:, 1:], found[-1].ddf, 1)
    torch.testing.assert_close(last, net(batch["image"]))


def test_a_linear_reward_gives_signal_and_chance_gives_none(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net, batch = make_net(initial_log_sigma=-2.0), make_batch(size=8)  # a latent of 64 dimensions
    found = gradients(net, batch, 400, groups=3, linear=Linear(), chance=Chance())
    small = gradients(net, batch, 15, groups=20)
    assert found["linear_cosine"] > 0.85
    assert abs(found["chance_cosine"]) < 0.5
    assert 0 < small["global_cosine"] < 0.8
    needed = measures.group_size_for_equal_noise(small["global_cosine"], 15)
    assert 2 < needed < 130  # at most twice as large as the latent has dimensions


def test_credit_place_by_place_carries_more_signal(make_net: MakeNet, make_batch: MakeBatch) -> None:
    """What a place's latent does shows around it, not in the mean over all places."""
    found = gradients(make_net(initial_log_sigma=-2.0), make_batch(), 8, 8, all=Linear(), places=Linear(local=True))
    assert found["places_cosine"] > 1.5 * found["all_cosine"] > 0


def test_equal_groups_agree_and_opposite_credit_opposes(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Less(Reward):
        def __call__(self, state: RewardState) -> Tensor:
            return -Linear()(state)

    sample = measures.LatentPolicy.sample
    monkeypatch.setattr(measures.LatentPolicy, "sample", lambda self, n, tau, _: sample(self, n, tau, generator()))
    found = gradients(make_net(), make_batch(), 4, more=Linear(), less=Less())
    assert (found["more_cosine"], found["less_cosine"]) == pytest.approx((1.0, 1.0))
    assert found["more_dice_cosine"] == pytest.approx(-found["less_dice_cosine"])
    assert found["more_ratio"] == pytest.approx(found["less_ratio"])


def test_ratio_is_that_of_the_weighted_gradients(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net, batch = make_net(), make_batch()
    whole, tenth = (gradients(net, batch, 4, loss=objective(weight))["global_ratio"] for weight in (1.0, 0.1))
    assert tenth == pytest.approx(whole / 10)
    net.zero_grad()
    image = batch["image"]
    encoding = net.observe(image[:, :1], image[:, 1:], torch.zeros(1, 3, 16, 16, 16))
    policy: Any = net.head(encoding.top)  # type: ignore[misc]
    norms, random = [], generator()
    for _ in range(2):
        latents = policy.sample(4, 0.5, random)
        rewards = net.act(encoding.skips, latents, torch.zeros(1, 3, 16, 16, 16))[:, 0].mean((1, 2, 3))
        grads = torch.autograd.grad(GRPOLoss()(policy, latents, rewards, 0.5), net.head.parameters(), retain_graph=True)
        encoder = torch.autograd.grad(
            GRPOLoss()(policy, latents, rewards, 0.5), net.backbone.down.parameters(), retain_graph=True
        )
        norms.append(torch.cat([g.flatten() for g in (*grads, *encoder)]).norm())
    refined = net.act(encoding.skips, policy.mean, torch.zeros(1, 3, 16, 16, 16))
    objective()(image, batch["label"], refined, policy).total.backward()
    own = [*net.head.parameters(), *net.backbone.down.parameters()]  # type: ignore[union-attr]
    others = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in own]).norm()
    assert whole == pytest.approx((sum(norms) / 2 / others).item(), rel=1e-3)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(**overrides)``: folder of a run of the phantom bundle with untrained weights."""

    def make(**overrides: Any) -> Path:
        folder = tmp_path / "runs" / "phantom" / "tiny" / "seed7"
        (folder / "models").mkdir(parents=True)
        (folder / "overlay.json").write_text(json.dumps(OVERLAY | overrides), encoding="utf-8")
        net = MorphSeekNet(VoxelMorph((4, 8), (8, 8), (4,)), policy=overrides.get("policy", "gaussian"))
        nn.init.normal_(net.backbone.flow.weight, std=0.5)
        state = {"model": net.state_dict(), "loss": {"kl_weight": torch.tensor(0.25)}}
        torch.save(state, folder / "models" / "checkpoint_grpo.pt")
        return folder

    return make


def call(folder: Path, phantom: Path, *arguments: str) -> int:
    bundle = ROOT / "bundles" / "morphseek_phantom"
    command = [str(folder), "--dataset_dir", str(phantom), "--bundle", str(bundle), "--pairs", "2", *arguments]
    code: int = latent.main(command)
    return code


def test_a_run_from_the_command_line(
    make_run: Callable[..., Path], phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latent.csv"
    assert call(make_run(), phantom, "--samples", "4", "--groups", "2", "--out", str(out)) == 0
    (row,) = csv.DictReader(out.read_text(encoding="utf-8").splitlines())
    assert (row["run"], row["tau"], row["group_size"], row["samples"]) == ("phantom/tiny/seed7", "0.5", "3", "4")
    names = [name for name, _, _ in latent.QUANTITIES]
    assert {f"{name}_{stage}" for name in names for stage in ("first", "last")} <= row.keys()
    unknown = {name for name in names if not math.isfinite(float(row[f"{name}_last"]))}
    assert {"best_of_6", "best_of_8", "best_of_16"} <= unknown  # of four samples
    assert unknown <= {f"best_of_{j}" for j in (6, 8, 16)} | {f"{name}_group_size" for name in latent.CREDITS}
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(names) + 2
    assert f"{float(row['dice_first']):.2f} / {float(row['dice_last']):.2f}" in printed[2]


def test_the_run_s_own_settings_count(make_run: Callable[..., Path], phantom: Path) -> None:
    run = latent.load_run(make_run(), ROOT / "bundles" / "morphseek_phantom", str(phantom))
    assert run.loss.warmup.kl_weight == 0.25  # as the checkpoint has it, not as the training began
    assert (run.network.steps, run.trajectories, run.tau, run.num_labels) == (2, 3, 0.5, 13)
    assert run.network.backbone.flow.weight.std() > 0.4


def test_refuses_a_network_without_policy(
    make_run: Callable[..., Path], phantom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(policy="none")
    assert call(folder, phantom) == 1
    assert capsys.readouterr().err == (
        f"latent.py: {folder} was trained with policy='none', which has no latent to measure; leave it out\n"
    )


def test_refuses_what_is_no_run(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, phantom) == 1
    assert "has no overlay.json; give folders OUT/PLAN/ROW/seedN" in capsys.readouterr().err


def test_unlabelled_pairs_are_left_out(make_batch: MakeBatch) -> None:
    batch = make_batch(3, size=8, labelled=[False, True, True])
    data = [{key: value[i] for key, value in batch.items()} for i in range(3)]
    pairs = latent.labelled_pairs(data, 5, torch.device("cpu"))
    assert len(pairs) == 2
    assert torch.equal(pairs[0].image, batch["image"][1:2])
