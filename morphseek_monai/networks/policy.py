"""The Gaussian policy on a backbone's top feature (MorphSeek, arXiv 2511.17392, sections A and C)."""

import math
from typing import NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor, nn


def ldvn_scale(scale: Union[str, float], dimension: int) -> float:
    """Divisor ``s`` of latent-dimension variance normalisation.

    Args:
        scale: ``"sqrt"`` (the paper's choice), ``"one"`` (the plain log-density), ``"dim"``, or a positive number.
        dimension: number N of latent dimensions.

    Raises:
        ValueError: When ``scale`` is none of these.
    """
    named = {"one": 1.0, "sqrt": math.sqrt(dimension), "dim": float(dimension)}
    if isinstance(scale, str):
        if scale in named:
            return named[scale]
    elif scale > 0:
        return float(scale)
    raise ValueError(f"ldvn_scale() 'scale' must be 'sqrt', 'one', 'dim' or a positive number, got {scale!r}")


class LatentPolicy(NamedTuple):
    """Diagonal Gaussian N(mu, tau^2 sigma^2) over the latent map of one pair (or a batch of pairs).

    Attributes:
        mu: mean ``(B, C, d, h, w)``.
        log_sigma: logarithm of the standard deviation at tau = 1, same shape.
    """

    mu: Tensor
    log_sigma: Tensor

    @property
    def mean(self) -> Tensor:
        """The deterministic latent (tau = 0), ``(B, C, d, h, w)``."""
        return self.mu

    def noise(self, n: int, generator: Optional[torch.Generator] = None) -> Tensor:
        """``n`` standard normal maps for each pair, ``(n * B, C, d, h, w)``."""
        shape = (n * self.mu.shape[0], *self.mu.shape[1:])
        return torch.randn(shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype)

    def latent(self, noise: Tensor, tau: float = 1.0) -> Tensor:
        """Reparametrised sample ``mu + tau * sigma * noise``; differentiable in mu and sigma."""
        return self.mu + tau * self.log_sigma.exp() * noise

    def sample(self, n: int, tau: float = 1.0, generator: Optional[torch.Generator] = None) -> Tensor:
        """``n`` latents of one pair, ``(n, C, d, h, w)``, without gradient: actions, not activations.

        Raises:
            ValueError: When the policy holds more than one pair; a group belongs to one pair.
        """
        if self.mu.shape[0] != 1:
            raise ValueError(
                f"LatentPolicy.sample() expects the policy of one pair, got a batch of {self.mu.shape[0]}; index it"
            )
        with torch.no_grad():
            return self.latent(self.noise(n, generator), tau)

    def log_prob(
        self, z: Tensor, scale: Union[str, float] = "sqrt", tau: float = 1.0, local: bool = False
    ) -> Tensor:
        """Log-density of the latents divided by the LDVN scale.

        ``-(1 / (2 s)) sum_i [((z_i - mu_i) / (tau sigma_i))^2 + log(2 pi tau^2 sigma_i^2)]``. With ``scale="one"``
        this is the log-density itself; the division keeps the loss statistics independent of N (1e4 to 1e6) and does
        not touch the sampling.

        Args:
            z: latents ``(J, C, d, h, w)``.
            scale: see :func:`ldvn_scale`.
            tau: temperature the latents were drawn at; positive.
            local: keep the places of the latent map apart: summed over the channels only.

        Returns:
            ``(J,)`` float32, or ``(J, d, h, w)`` with ``local``, whose sum over the places it is.
        """
        mu, log_sigma = self.mu.float(), self.log_sigma.float()
        log_std = log_sigma + math.log(tau)
        terms = ((z.float() - mu) / log_std.exp()).square() + 2.0 * log_std + math.log(2.0 * math.pi)
        summed = terms.sum(1) if local else terms.flatten(1).sum(1)
        return -0.5 * summed / ldvn_scale(scale, mu[0].numel())

    def kl(self) -> Tensor:
        """KL(N(mu, sigma^2) || N(0, 1)) in nats **per latent dimension**, a scalar.

        The mean, not the sum, so that one weight serves latents of 1e4 and of 1e6 dimensions.
        """
        mu, log_sigma = self.mu.float(), self.log_sigma.float()
        return 0.5 * (mu.square() + (2.0 * log_sigma).exp() - 1.0 - 2.0 * log_sigma).mean()


class GaussianPolicyHead(nn.Module):
    """Two 1x1x1 convolutions that turn the top feature into a :class:`LatentPolicy`.

    ``mu = latent_scale * tanh(W_mu f / latent_scale)`` and ``log_sigma = clip(W_sigma f, lo, hi)``. W_mu starts as the
    identity, so that a head put on a trained backbone hands on (nearly) the feature that its decoder knows; the paper
    leaves initialisation, scale and clip open. Bounds on both keep training from diverging (the paper's Table 5).

    Args:
        channels: channels C of the top feature.
        latent_scale: bound of \\|mu\\|, in units of the feature. 10: convolutional features of an order of 1 pass
            almost unchanged.
        log_sigma_range: lower and upper clip of log sigma; sigma stays in 0.05..1, since the policy gradient grows as
            1 / sigma.
        initial_log_sigma: log sigma of an untrained head, constant over the map.

    Raises:
        ValueError: When the scale is not positive, or the range is empty or does not hold ``initial_log_sigma``.
    """

    def __init__(
        self,
        channels: int,
        latent_scale: float = 10.0,
        log_sigma_range: Tuple[float, float] = (-3.0, 0.0),
        initial_log_sigma: float = -2.0,
    ) -> None:
        super().__init__()
        if latent_scale <= 0:
            raise ValueError(f"GaussianPolicyHead() 'latent_scale' must be positive, got {latent_scale}")
        low, high = log_sigma_range
        if not low <= initial_log_sigma <= high:
            raise ValueError(
                "GaussianPolicyHead() 'log_sigma_range' must be (low, high) around 'initial_log_sigma', got "
                f"{tuple(log_sigma_range)} and {initial_log_sigma}"
            )
        self.latent_scale = float(latent_scale)
        self.low = float(low)
        self.high = float(high)
        self.mu = nn.Conv3d(channels, channels, kernel_size=1)
        self.log_sigma = nn.Conv3d(channels, channels, kernel_size=1)
        with torch.no_grad():
            self.mu.weight.copy_(torch.eye(channels).reshape(channels, channels, 1, 1, 1))
            self.mu.bias.zero_()  # type: ignore[union-attr]
            self.log_sigma.weight.zero_()
            self.log_sigma.bias.fill_(initial_log_sigma)  # type: ignore[union-attr]

    def mean(self, top: Tensor) -> Tensor:
        """Mean latent of the top feature ``(B, C, d, h, w)``, float32."""
        return self.latent_scale * torch.tanh(self.mu(top).float() / self.latent_scale)

    def forward(self, top: Tensor) -> LatentPolicy:
        """Policy of the top feature ``(B, C, d, h, w)``."""
        return LatentPolicy(self.mean(top), self.log_sigma(top).float().clamp(self.low, self.high))
