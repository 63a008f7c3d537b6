"""Backbones, the latent policy, and MorphSeekNet."""

from morphseek_monai.networks.backbone import Backbone, Encoding
from morphseek_monai.networks.morphseek_net import MorphSeekNet
from morphseek_monai.networks.policy import GaussianPolicyHead, LatentPolicy
from morphseek_monai.networks.voxelmorph import VoxelMorph, VoxelMorphL

__all__ = [
    "Backbone",
    "Encoding",
    "GaussianPolicyHead",
    "LatentPolicy",
    "MorphSeekNet",
    "VoxelMorph",
    "VoxelMorphL",
]
