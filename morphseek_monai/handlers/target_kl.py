"""Trust region: steer the weight of the KL term towards a target KL."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events

from morphseek_monai.losses import WarmupLoss


class TargetKL:
    """Adapt ``loss.kl_weight`` so that KL(policy || N(0, I)) per latent dimension stays near ``target``.

    The rule of adaptive-KL PPO (Schulman et al., arXiv 1707.06347, section 4): beyond ``target * tolerance`` the weight
    grows by ``rate``, below ``target / tolerance`` it shrinks. The weight is a buffer of the loss, hence checkpointed
    with it.

    Args:
        loss: the loss whose ``kl_weight`` is steered.
        target: KL in nats per latent dimension. 1.3: the KL of sigma = 0.15 around a mean near zero, where the policy
            of a warmed-up network starts.
        rate: factor of one adjustment.
        tolerance: width of the band in which nothing is done.
        bounds: smallest and largest weight.

    Raises:
        ValueError: When ``target`` is not positive, or ``rate`` or ``tolerance`` is not above 1.
    """

    def __init__(
        self,
        loss: WarmupLoss,
        target: float = 1.3,
        rate: float = 1.02,
        tolerance: float = 1.2,
        bounds: tuple[float, float] = (1e-5, 1.0),
    ) -> None:
        if target <= 0 or rate <= 1 or tolerance <= 1:
            raise ValueError(
                f"TargetKL() needs target > 0, rate > 1, tolerance > 1, got {target}, {rate}, {tolerance}"
            )
        self.loss = loss
        self.target = target
        self.rate = rate
        self.tolerance = tolerance
        self.bounds = bounds

    def attach(self, engine: Engine) -> None:
        """Register on the trainer's ``ITERATION_COMPLETED``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Adjust the weight after an iteration."""
        output: Any = engine.state.output
        kl = output[0]["terms"]["kl"]
        weight = self.loss.kl_weight
        if kl > self.target * self.tolerance:
            weight *= self.rate
        elif kl < self.target / self.tolerance:
            weight /= self.rate
        weight.clamp_(*self.bounds)
