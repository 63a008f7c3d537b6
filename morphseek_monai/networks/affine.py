"""Affine registration from a feature map: a head that predicts the matrix, and the displacement field of a matrix."""

from typing import List

import torch
from torch import Tensor, nn

from morphseek_monai.fields.axes import build_axes


class AffineHead(nn.Module):
    """Global average pooling and two linear layers to the twelve parameters of :func:`affine_ddf`, bounded by tanh.

    The last layer starts at N(0, 1e-5) like the flow heads, so that an untrained head is the identity; with the usual
    initialisation it would move voxels by several voxels before the first iteration.

    Args:
        in_channels: channels C of the feature map; the layer between has half as many.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        hidden = nn.Linear(in_channels, in_channels // 2, bias=False)
        last = nn.Linear(in_channels // 2, 12, bias=False)
        nn.init.normal_(last.weight, std=1e-5)
        self.layers = nn.Sequential(hidden, nn.ReLU(), last, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Parameters ``(B, 3, 4)``, float32, of the feature map ``(B, C, d, h, w)``."""
        parameters: Tensor = self.layers(x.mean((2, 3, 4))).float()
        return parameters.reshape(-1, 3, 4)


def affine_ddf(parameters: Tensor, size: List[int]) -> Tensor:
    """Displacement field of the affine map ``n -> n + A n + t`` in normalised coordinates.

    Coordinates ``n`` run along D, H, W from -1 to 1 between the outer edges of the field of view. Pooling keeps the
    edges, so one matrix is one and the same map at every level of a pyramid. A translation of 1 is half the field of
    view.

    Args:
        parameters: ``[A | t]``, ``(B, 3, 4)``; zero is the identity.
        size: ``[D, H, W]``.

    Returns:
        Displacement field ``(B, 3, D, H, W)``, in voxels.

    Example:
        >>> parameters = torch.zeros(1, 3, 4)
        >>> parameters[0, 0, 3] = 0.5  # a quarter of the 8 voxels along D
        >>> affine_ddf(parameters, [8, 4, 4])[0, :, 0, 0, 0]
        tensor([2., 0., 0.])
    """
    displacement = parameters[:, :, 3, None, None, None].expand(-1, -1, size[0], size[1], size[2])
    for i, axis in enumerate(build_axes(size, parameters.device, parameters.dtype)):
        normalised = (2.0 * axis + 1.0) / size[i] - 1.0
        displacement = displacement + parameters[:, :, i, None, None, None] * normalised
    voxels = [displacement[:, i] * (size[i] / 2) for i in range(3)]
    return torch.stack(voxels, dim=1)
