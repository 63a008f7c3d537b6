"""Backbones, the latent policy, and MorphSeekNet."""

from morphseek_monai.networks.affine_first import AffineFirst
from morphseek_monai.networks.affine_fit import fit_affine
from morphseek_monai.networks.atlas_segmenter import AtlasSegmenter
from morphseek_monai.networks.backbone import Backbone, Encoding
from morphseek_monai.networks.corrmlp import CorrMLP
from morphseek_monai.networks.moments import moments_ddf
from morphseek_monai.networks.monai_unet import MONAIUNet
from morphseek_monai.networks.morphseek_net import MorphSeekNet
from morphseek_monai.networks.nice_trans import NICETrans
from morphseek_monai.networks.policy import GaussianPolicyHead, LatentPolicy
from morphseek_monai.networks.transmorph import TransMorph
from morphseek_monai.networks.voxelmorph import VoxelMorph, VoxelMorphL

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
