"""Backbones, the latent policy, and MorphSeekNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .affine_first import AffineFirst
    from .affine_fit import fit_affine
    from .atlas_segmenter import AtlasSegmenter
    from .backbone import Backbone, Encoding
    from .corrmlp import CorrMLP
    from .moments import moments_ddf
    from .monai_unet import MONAIUNet
    from .morphseek_net import MorphSeekNet
    from .nice_trans import NICETrans
    from .policy import GaussianPolicyHead, LatentPolicy
    from .transmorph import TransMorph
    from .voxelmorph import VoxelMorph, VoxelMorphL
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "AffineFirst",
    "AtlasSegmenter",
    "Backbone",
    "CorrMLP",
    "Encoding",
    "GaussianPolicyHead",
    "LatentPolicy",
    "MONAIUNet",
    "MorphSeekNet",
    "NICETrans",
    "TransMorph",
    "VoxelMorph",
    "VoxelMorphL",
    "fit_affine",
    "moments_ddf",
]
