"""How much of the truth a policy gradient tells, by how it is estimated.

    python docs/benchmarks/estimators.py RUN --dataset_dir DATA [--pairs 4] [--groups 4] [--spread 0.5] [--only HD95]

RUN is the folder of a run (see latent.py), whose last weights are taken. On the first refinement step of training pairs
every estimator draws independent groups. The cosine of two groups is S / (S + N) of signal and noise; the other is with
the gradient of the soft Dice, which knows every dimension. Both on the parameters of encoder and policy head, the only
ones that the score of a latent reaches. Latents are drawn at the temperature at which their fields spread by `spread`
voxels, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from latent import BUNDLE, labelled_pairs, load_run
from latent_measures import Step, mean_cosine, observe, steps_of
from torch import Tensor

from morphseek_monai.engines.grpo import around
from morphseek_monai.losses import GRPOLoss, SoftDiceLoss, field_slope
from morphseek_monai.networks import LatentPolicy, MorphSeekNet
from morphseek_monai.rewards import DiceGain, HD95Penalty, LocalDiceGain


class Estimator(NamedTuple):
    """A way to estimate the policy gradient.

    Attributes:
        size: samples in a group.
        action: what is credited, the "latent" or the "field".
        local: whether it is credited place by place.
        pairs: whether a latent's noise is taken with both signs; a field's always is.
        smooth: whether noise is averaged over 27 places, and brought back to its size.
        pooled: whether a place of the latent is judged by the 26 around it too.
        spacing: voxels for each dimension of a field's noise along an axis; 1 is independent noise.
        hd95: whether HD95 is rewarded, not Dice.
        spread: of the fields in voxels; None takes the command line's.
    """

    size: int = 6
    action: str = "latent"
    local: bool = False
    pairs: bool = False
    smooth: bool = False
    pooled: bool = True
    spacing: int = 1
    hd95: bool = False
    spread: float | None = None


ESTIMATORS = {
    "latent, one reward, J = 6 (the paper's)": Estimator(),
    "latent, one reward, J = 64": Estimator(64),
    "latent, one reward, pairs of opposite sign": Estimator(pairs=True),
    "latent, one reward, smooth noise": Estimator(smooth=True),
    "latent, place by place, J = 6": Estimator(local=True),
    "latent, place by place, J = 64": Estimator(64, local=True),
    "latent, place by place, own block only": Estimator(local=True, pooled=False),
    "field, one reward, J = 6": Estimator(action="field"),
    "field, one reward, J = 64": Estimator(64, action="field"),
    "field, one reward, J = 64, one dimension for 12 voxels": Estimator(64, action="field", spacing=12),
    "field, one reward, J = 64, one dimension for 8 voxels": Estimator(64, action="field", spacing=8),
    "field, one reward, J = 16, one dimension for 12 voxels": Estimator(16, action="field", spacing=12),
    "field, HD95, J = 64": Estimator(64, action="field", hd95=True),
    **{
        f"field, HD95, J = 64, one dimension for 12 voxels, spread {spread}": Estimator(
            64, action="field", spacing=12, hd95=True, spread=spread
        )
        for spread in (0.5, 1.0, 2.0)
    },
    "field, voxel by voxel, J = 2": Estimator(2, action="field", local=True),
    "field, voxel by voxel, J = 6": Estimator(action="field", local=True),
}


def draw(estimator: Estimator, policy: LatentPolicy, tau: float, generator: torch.Generator) -> Tensor:
    """Latents ``(J, C, d, h, w)`` of a group."""
    noise = policy.noise(estimator.size, generator)
    if estimator.pairs:
        half = noise[: estimator.size // 2]
        noise = torch.cat([half, -half])
    if estimator.smooth:
        noise = F.avg_pool3d(noise, 3, stride=1, padding=1, count_include_pad=False)
        noise = noise / noise.std()
    return policy.latent(noise, tau)


def objective(
    estimator: Estimator, network: MorphSeekNet, step: Step, num_labels: int, spread: float
) -> Callable[[torch.Generator], Tensor]:
    """A function that draws a group and returns the objective whose gradient is the estimate."""
    encoding, policy = observe(network, step)
    refined = network.act(encoding.skips, policy.mean, step.ddf, step.scale)
    spread = spread if estimator.spread is None else estimator.spread

    def drawn(generator: torch.Generator) -> Tensor:
        whole = HD95Penalty(num_labels) if estimator.hd95 else DiceGain(num_labels)
        rate = LocalDiceGain(num_labels, 0.0) if estimator.local else whole
        with torch.no_grad():
            state = step.state(refined)
            state = state._replace(previous=refined) if estimator.local else state
            if estimator.action == "field":
                pairs = estimator.size // 2
                slope = field_slope(
                    lambda ddf: rate(state._replace(ddf=ddf)), refined, spread, pairs, generator, estimator.spacing
                )
            else:
                probe = network.act(encoding.skips, draw(estimator, policy, 1.0, generator), step.ddf, step.scale)
                tau = spread / float((probe - refined).square().mean().sqrt())
                latents = draw(estimator, policy, tau, generator)
                earned = rate(state._replace(ddf=network.act(encoding.skips, latents, step.ddf, step.scale)))
        if estimator.action == "field":
            return -(slope * refined).sum()
        if estimator.local:
            size = latents.shape[2:]
            earned = around(earned, size) if estimator.pooled else F.adaptive_avg_pool3d(earned, list(size))
        return GRPOLoss(eps=1e-12)(policy, latents, earned, tau)

    return drawn


def measure(
    network: MorphSeekNet, steps: Sequence[Step], num_labels: int, groups: int, spread: float, only: str = ""
) -> list[str]:
    """Lines of a Markdown table; of the estimators that have ``only`` in their name."""
    reached = [p for name, p in network.named_parameters() if name.startswith(("backbone.down", "head.mu"))]

    def gradient(value: Tensor) -> Tensor:
        grads = torch.autograd.grad(value, reached, retain_graph=True, materialize_grads=True)
        return F.normalize(torch.cat([grad.flatten() for grad in grads]).double(), dim=0)

    dices = []
    for step in steps:
        state = step.state(network.step(step.pair.image[:, :1], step.pair.image[:, 1:], step.ddf, step.scale))
        dices.append(gradient(SoftDiceLoss(num_labels)(state.ddf, state.moving_label, state.fixed_label)))
    lines = ["| estimator | cosine of two groups | with the soft Dice's gradient |", "| --- | --- | --- |"]
    for name, estimator in ESTIMATORS.items():
        if only not in name:
            continue
        agreement, towards = [], []
        for number, (step, dice) in enumerate(zip(steps, dices, strict=True)):
            drawn = objective(estimator, network, step, num_labels, spread)
            generator = torch.Generator().manual_seed(number)
            estimates = torch.stack([gradient(drawn(generator)) for _ in range(groups)])
            agreement.append(mean_cosine(estimates))
            towards.append(float((estimates @ dice).mean()))
        lines.append(f"| {name} | {fmean(agreement):.3f} | {fmean(towards):.3f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder OUT/PLAN/ROW/seedN")
    parser.add_argument("--dataset_dir", required=True, help="data folder of the bundle")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="that the plan was carried out with")
    parser.add_argument("--pairs", type=int, default=4, help="training pairs; default 4")
    parser.add_argument("--groups", type=int, default=4, help="groups drawn; default 4")
    parser.add_argument("--spread", type=float, default=0.5, help="of the fields, in voxels; default 0.5")
    parser.add_argument("--only", default="", help="part of the names of the estimators to measure; default: all")
    args = parser.parse_args()
    run = load_run(args.run, args.bundle.resolve(), args.dataset_dir)
    steps = [steps_of(run.network, pair)[0] for pair in labelled_pairs(run.training, args.pairs, run.device)]
    measure(run.network, steps, run.num_labels, args.groups, args.spread, args.only)


if __name__ == "__main__":
    main()
