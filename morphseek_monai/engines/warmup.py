"""Unsupervised warm-up (MorphSeek, section B)."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.engines.batch import Pair
from morphseek_monai.engines.step import StepResult
from morphseek_monai.engines.trainer import RefinementTrainer


class WarmupTrainer(RefinementTrainer):
    """Train without labels at tau = 0, so that anatomy goes into the policy's mean.

    A :class:`monai.engines.SupervisedTrainer` whose ``loss_function`` is a
    :class:`~morphseek_monai.losses.WarmupLoss`. One step per pair (``steps=1``) is the paper's warm-up; with more, the
    later steps are trained on what the earlier ones leave.
    """

    def refine(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
        """One deterministic step; labels and ``generator`` are not used."""
        encoding, policy, latent = self.observe(pair.image, ddf, scale)
        with self.autocast(pair.image, scale):
            ddf = self.network.act(encoding.skips, latent, ddf, scale)
        loss = self.loss_function(pair.image[:, :1], pair.image[:, 1:], ddf, policy, pair.mask)
        terms = {name: value.detach() for name, value in loss._asdict().items() if name != "total"}
        if policy is not None:
            terms["sigma"] = policy.log_sigma.detach().exp().mean()
        return StepResult(loss.total, ddf, terms)
