"""MONAI's own U-Nets as backbones."""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Union

import torch
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.unet import UNet
from monai.utils.misc import ensure_tuple, ensure_tuple_rep
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from morphseek_monai.networks.backbone import Backbone, Encoding


class _Layers(NamedTuple):
    """A U-Net taken apart.

    Attributes:
        down: encoder modules ``x -> x``, finest first; the last one makes the top feature, the others a skip each.
        up: decoder modules ``(x, skip) -> x``, deepest first.
        flow: convolution to the output.
        strides: stride of each encoder module.
    """

    down: Sequence[nn.Module]
    up: Sequence[nn.Module]
    flow: _ConvNd
    strides: Sequence[Union[int, Sequence[int]]]


class _UNetUp(nn.Module):
    """An up layer of ``UNet``, called with its skip as those of ``BasicUNet`` and ``DynUNet`` are."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.up = up

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Append ``x`` to ``skip``, the order of MONAI's ``SkipConnection``, and apply the layer."""
        out: Tensor = self.up(torch.cat([skip, x], dim=1))
        return out


def _basic_unet_layers(network: BasicUNet) -> _Layers:
    down = [network.conv_0, network.down_1, network.down_2, network.down_3, network.down_4]
    up = [network.upcat_4, network.upcat_3, network.upcat_2, network.upcat_1]
    return _Layers(down, up, network.final_conv, (1, 2, 2, 2, 2))


def _unet_layers(network: UNet) -> _Layers:
    if network.num_res_units > 0:
        raise ValueError(
            "MONAIUNet() 'network' must end in a convolution, a UNet with residual units ends in a sum; "
            "build it with num_res_units=0"
        )
    down: List[nn.Module] = []
    up: List[nn.Module] = []
    block: Any = network.model
    flow: _ConvNd = block[2].conv  # the uppermost up layer; without residual units one transposed convolution
    for _ in network.channels[1:]:  # Sequential(down, SkipConnection(next block), up), as far as the bottom layer
        layer, skip_connection, up_layer = block
        down.append(layer)
        up.insert(0, _UNetUp(up_layer))
        block = skip_connection.submodule
    up[-1] = _UNetUp(nn.Identity())
    return _Layers([*down, block], up, flow, network.strides[: len(down)])


def _dyn_unet_layers(network: DynUNet) -> _Layers:
    if set(ensure_tuple(network.strides[0])) != {1}:
        raise ValueError(
            "MONAIUNet() 'network' must return the size it is given, a DynUNet whose strides begin with "
            f"{network.strides[0]} does not; begin with 1"
        )
    down = [network.input_block, *network.downsamples, network.bottleneck]
    return _Layers(down, list(network.upsamples), network.output_block.conv.conv, network.strides)


_FAMILIES: Dict[type, Callable[..., _Layers]] = {
    BasicUNet: _basic_unet_layers,
    UNet: _unet_layers,
    DynUNet: _dyn_unet_layers,
}


class MONAIUNet(Backbone):
    """A U-Net of :mod:`monai.networks.nets` as a backbone: ``BasicUNet``, ``UNet`` or ``DynUNet``.

    The adapter takes the network apart at its deepest feature and holds MONAI's own modules, not copies:
    ``backbone(moving, fixed)`` is ``network(torch.cat([moving, fixed], 1))``. Their last convolution becomes the
    displacement head: its weights are drawn anew from N(0, 1e-5), so that an untrained network is the identity. Load
    trained weights into the adapter, not into ``network`` before. The output is the displacement itself, there is no
    integration.

    The top feature is the output of ``down_4`` (``BasicUNet``), of the bottom layer (``UNet``) or of ``bottleneck``
    (``DynUNet``, whose deep supervision and output dropout are left out); the stride is the product of all strides.

    Args:
        network: built with ``spatial_dims=3, in_channels=2, out_channels=3``. MONAI's default, instance normalisation,
            needs two voxels or more at the deepest level: an image of exactly ``stride`` voxels along every axis is
            refused, unless the network is built with group normalisation.

    Raises:
        TypeError: When ``network`` is of another class.
        ValueError: When it has other dimensions or channels, batch normalisation (the trajectories of one pair are
            decoded as a batch), residual units (``UNet``), a first stride (``DynUNet``), or strides whose product
            differs between the axes.

    Example:
        >>> import torch
        >>> from monai.networks.nets import BasicUNet
        >>> net = MONAIUNet(BasicUNet(spatial_dims=3, in_channels=2, out_channels=3, features=(4, 4, 8, 8, 16, 4)))
        >>> net.latent_channels, net.stride
        (16, 16)
        >>> net(torch.rand(1, 1, 16, 16, 32), torch.rand(1, 1, 16, 16, 32)).shape
        torch.Size([1, 3, 16, 16, 32])
    """

    def __init__(self, network: Union[BasicUNet, UNet, DynUNet]) -> None:
        super().__init__()
        if type(network) not in _FAMILIES:  # a subclass may be wired otherwise
            raise TypeError(
                "MONAIUNet() 'network' must be a BasicUNet, UNet or DynUNet of monai.networks.nets, got "
                f"{type(network).__name__}; write a Backbone for it"
            )
        if any(isinstance(module, _BatchNorm) for module in network.modules()):
            raise ValueError("MONAIUNet() 'network' must not normalise over the batch; build it with norm='instance'")
        layers = _FAMILIES[type(network)](network)
        convolutions = [m for layer in layers.down for m in layer.modules() if isinstance(m, _ConvNd)]
        flow = layers.flow
        built = (flow.weight.dim() - 2, convolutions[0].in_channels, flow.out_channels)
        if built != (3, 2, 3):
            raise ValueError(
                "MONAIUNet() 'network' must have spatial_dims, in_channels, out_channels = (3, 2, 3), got "
                f"{built}; build it with these"
            )
        per_axis = [math.prod(axis) for axis in zip(*(ensure_tuple_rep(stride, 3) for stride in layers.strides))]
        if len(set(per_axis)) > 1:
            raise ValueError(
                f"MONAIUNet() 'network' must have one stride for all axes, got {per_axis} over all levels; "
                "build it with isotropic strides"
            )
        nn.init.normal_(flow.weight, std=1e-5)
        if flow.bias is not None:
            nn.init.zeros_(flow.bias)
        self.latent_channels = convolutions[-1].out_channels
        self.stride = per_axis[0]
        self.down = nn.ModuleList(layers.down)
        self.up = nn.ModuleList(layers.up)
        self.flow = flow
        self.one_voxel_fails = any(isinstance(module, nn.InstanceNorm3d) for module in self.down[-1].modules())

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the outputs of the encoder modules but the last, finest first."""
        if self.one_voxel_fails and max(moving.shape[2:]) <= self.stride:
            raise ValueError(
                f"MONAIUNet.encode() 'moving' must exceed {self.stride} voxels along an axis, got "
                f"{list(moving.shape[2:])}; instance normalisation needs two voxels, build 'network' with norm='group'"
            )
        x = torch.cat([moving, fixed], dim=1)
        skips: List[Tensor] = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        return Encoding(skips[:-1], x)

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent."""
        x = latent
        for level, layer in enumerate(self.up):
            x = layer(x, skips[len(skips) - 1 - level])
        flow: Tensor = self.flow(x).float()
        return flow
