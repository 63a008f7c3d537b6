"""The unsupervised objective of the warm-up, kept as an anchor during fine-tuning (MorphSeek, section B)."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp, warp_labels
from morphseek_monai.networks.policy import LatentPolicy


class WarmupTerms(NamedTuple):
    """Terms of :class:`WarmupLoss`, scalars; ``total`` carries the gradient of all."""

    total: Tensor
    similarity: Tensor
    regularisation: Tensor
    kl: Tensor


class WarmupLoss(nn.Module):
    """``L_sim(fixed, moving o Phi) + reg_weight * L_reg(Phi) + kl_weight * KL(policy || N(0, I))``.

    Args:
        similarity: module ``(warped, fixed) -> scalar``; ``torch.nn.MSELoss()`` for one modality,
            :class:`~morphseek_monai.losses.LNCCLoss` when contrast varies,
            :class:`~morphseek_monai.losses.MINDSSCLoss` across modalities. The latter two also take
            ``(warped, fixed, mask)``, which pairs with masks need.
        regularisation: callable ``ddf -> scalar``; :class:`~morphseek_monai.losses.DiffusionLoss` as in the paper.
        reg_weight: weight of the regulariser.
        kl_weight: starting weight of the KL term, per latent dimension. It is a buffer, so that
            :class:`~morphseek_monai.handlers.TargetKL` can steer it and a checkpoint keeps it. 1e-4 holds sigma up
            beside similarities of 0.01 to 1; 1e-2 beside an MSE of 0.01 pulls the mean code to zero instead.
    """

    kl_weight: Tensor

    def __init__(
        self, similarity: nn.Module, regularisation: nn.Module, reg_weight: float = 1.0, kl_weight: float = 1e-4
    ) -> None:
        super().__init__()
        self.similarity = similarity
        self.regularisation = regularisation
        self.reg_weight = reg_weight
        self.register_buffer("kl_weight", torch.tensor(float(kl_weight)))

    def forward(
        self,
        moving: Tensor,
        fixed: Tensor,
        ddf: Tensor,
        policy: LatentPolicy | None,
        mask: Tensor | None = None,
    ) -> WarmupTerms:
        """Evaluate one pair.

        Args:
            moving: ``(B, 1, D, H, W)``.
            fixed: ``(B, 1, D, H, W)``.
            ddf: accumulated field ``(B, 3, D, H, W)``.
            policy: the policy of this step, or None for a network without one (no KL term).
            mask: masks of the pair ``(B, 2, D, H, W)``, integer, moving and fixed, or None (default). The similarity
                then counts where the fixed mask and the warped moving mask (nearest neighbour, without gradient)
                agree that there is something to compare; the other terms are not masked.

        Raises:
            TypeError: When there is a mask and the similarity does not take one.
            ValueError: When ``mask`` has another shape.
        """
        warped = warp(moving, ddf)
        if mask is None:
            similarity = self.similarity(warped, fixed)
        else:
            similarity = self.similarity(warped, fixed, self._inside(mask, ddf))
        regularisation = self.regularisation(ddf)
        kl = policy.kl() if policy is not None else ddf.new_zeros(())
        total = similarity + self.reg_weight * regularisation + self.kl_weight * kl
        return WarmupTerms(total, similarity, regularisation, kl)

    def _inside(self, mask: Tensor, ddf: Tensor) -> Tensor:
        if "mask" not in inspect.signature(self.similarity.forward).parameters:
            raise TypeError(
                f"WarmupLoss() 'similarity' must take a mask, {type(self.similarity).__name__} does not; "
                "use MINDSSCLoss or LNCCLoss, or PairDataset(use_mask=False)"
            )
        if mask.ndim != 5 or mask.shape[1] != 2:
            raise ValueError(
                f"WarmupLoss() 'mask' must be a pair of masks (B, 2, D, H, W), got {tuple(mask.shape)}"
            )
        return mask[:, 1:] * warp_labels(mask[:, :1], ddf.detach(), padding="zeros")
