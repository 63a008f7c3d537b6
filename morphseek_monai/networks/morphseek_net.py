"""MorphSeekNet: a backbone, a Gaussian policy on its top feature, and coarse-to-fine refinement."""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn

from morphseek_monai.fields import compose, resize_ddf, warp
from morphseek_monai.networks.backbone import Backbone, Encoding
from morphseek_monai.networks.convolution import use_fast_convolutions
from morphseek_monai.networks.policy import GaussianPolicyHead


class MorphSeekNet(nn.Module):
    """Registration network of MorphSeek (CVPR 2026, arXiv 2511.17392).

    ``forward(image)`` is an ordinary MONAI network: a pair in, a displacement field out, at tau = 0. Each of the
    ``steps`` refinement steps encodes the moving image warped by the field so far, decodes the latent mean and composes
    the result: ``u_t(x) = d(x) + u_{t-1}(x + d(x))``. Training, evaluation and sampling use the same two halves of a
    step, :meth:`observe` and :meth:`act`, and choose the latent between them.

    Args:
        backbone: any :class:`~morphseek_monai.networks.Backbone`.
        steps: refinement steps T. 3 as in the paper; time grows linearly, memory in training does not.
        policy: ``"gaussian"`` puts the Gaussian head on the top feature; ``"none"`` leaves the plain backbone, refined
            (the baseline).
        scales: by how much the images are reduced in each step, coarse to fine, e.g. ``(4, 2, 1)``; the last counts for
            all further steps. One network serves all scales, since what it sees of a pair (edges, and which way they
            must move) looks alike on each; a coarse step reaches farther and costs an eighth. ``(1,)`` as in the paper.
        latent_scale: see :class:`GaussianPolicyHead`.
        log_sigma_range: see :class:`GaussianPolicyHead`.
        initial_log_sigma: see :class:`GaussianPolicyHead`.

    Raises:
        ValueError: When ``steps`` or a scale is below 1, there is no scale, or ``policy`` is neither of the two.

    Example:
        >>> import torch
        >>> from morphseek_monai.networks import MorphSeekNet, VoxelMorph
        >>> net = MorphSeekNet(VoxelMorph(), steps=2)
        >>> net(torch.rand(1, 2, 30, 33, 40)).shape  # sizes need not be multiples of the stride
        torch.Size([1, 3, 30, 33, 40])
    """

    def __init__(
        self,
        backbone: Backbone,
        steps: int = 3,
        policy: str = "gaussian",
        scales: Sequence[int] = (1,),
        latent_scale: float = 10.0,
        log_sigma_range: Tuple[float, float] = (-3.0, 0.0),
        initial_log_sigma: float = -2.0,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"MorphSeekNet() 'steps' must be at least 1, got {steps}")
        if policy not in ("gaussian", "none"):
            raise ValueError(f"MorphSeekNet() 'policy' must be 'gaussian' or 'none', got {policy!r}")
        if len(scales) == 0 or min(scales) < 1:
            raise ValueError(f"MorphSeekNet() 'scales' must be factors of at least 1, got {list(scales)}")
        self.backbone = backbone
        self.steps = steps
        self.scales: List[int] = [int(scale) for scale in scales]
        self.stride = backbone.stride
        self.head = (
            GaussianPolicyHead(backbone.latent_channels, latent_scale, log_sigma_range, initial_log_sigma)
            if policy == "gaussian"
            else None
        )
        use_fast_convolutions(self)

    def scale(self, step: int) -> int:
        """Factor by which step number ``step``, from 0, reduces the images."""
        return self.scales[min(step, len(self.scales) - 1)]

    def observe(self, moving: Tensor, fixed: Tensor, ddf: Tensor, scale: int = 1) -> Encoding:
        """First half of a step: encode the pair with ``moving`` warped by the accumulated ``ddf``.

        Args:
            moving: the **original** moving image ``(B, 1, D, H, W)``; it is never warped twice.
            fixed: ``(B, 1, D, H, W)``.
            ddf: accumulated field ``(B, 3, D, H, W)`` in voxels.
            scale: factor by which both images are reduced, by averaging, after warping.
        """
        return self.backbone.encode(self._reduce(warp(moving, ddf), scale), self._reduce(fixed, scale))

    def act(self, skips: List[Tensor], latent: Tensor, ddf: Tensor, scale: int = 1) -> Tensor:
        """Second half of a step: decode ``latent`` and compose it with the accumulated ``ddf``.

        Args:
            skips: skips of one encoding (batch B, or 1 to be shared by J latents).
            latent: ``(B, C, d, h, w)``, or ``(J, C, d, h, w)`` for J trajectories of one pair.
            ddf: accumulated field ``(B, 3, D, H, W)`` (or batch 1, shared).
            scale: that of the observation.

        Returns:
            New accumulated fields, ``(B, 3, D, H, W)`` or ``(J, 3, D, H, W)``, float32.
        """
        n = latent.shape[0]
        shared: List[Tensor] = []
        for skip in skips:
            shared.append(skip if skip.shape[0] == n else skip.expand(n, -1, -1, -1, -1))
        step = self.backbone.decode(shared, latent).float()
        if scale > 1:
            step = resize_ddf(step, [scale * step.shape[2], scale * step.shape[3], scale * step.shape[4]])
        step = step[:, :, : ddf.shape[2], : ddf.shape[3], : ddf.shape[4]]
        return compose(ddf, step)

    def mean_latent(self, top: Tensor) -> Tensor:
        """The latent at tau = 0, ``(B, C, d, h, w)``."""
        if self.head is None:
            return top
        return self.head.mean(top)

    def step(self, moving: Tensor, fixed: Tensor, ddf: Tensor, scale: int = 1) -> Tensor:
        """One deterministic refinement step."""
        encoding = self.observe(moving, fixed, ddf, scale)
        return self.act(encoding.skips, self.mean_latent(encoding.top), ddf, scale)

    def forward(self, image: Tensor) -> Tensor:
        """Register a batch of pairs with ``steps`` deterministic steps.

        Args:
            image: ``(B, 2, D, H, W)``, channel 0 moving, channel 1 fixed.

        Returns:
            Displacement field ``(B, 3, D, H, W)`` in voxels on the fixed grid.
        """
        moving, fixed = image[:, 0:1], image[:, 1:2]
        ddf = torch.zeros_like(image[:, :1]).expand(-1, 3, -1, -1, -1)
        for t in range(self.steps):
            ddf = self.step(moving, fixed, ddf, self.scale(t))
        return ddf

    def _reduce(self, image: Tensor, scale: int) -> Tensor:
        """Pad to what the backbone divides by, at ``scale``, and average cubes of that many voxels."""
        s = self.stride * scale
        missing: List[int] = [(s - n % s) % s for n in image.shape[2:]]
        if missing[0] + missing[1] + missing[2] > 0:
            image = nn.functional.pad(image, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate")
        return nn.functional.avg_pool3d(image, scale) if scale > 1 else image
