"""The affine map closest to a displacement field (compiled by TorchScript: plain typing only)."""

import torch
from torch import Tensor

from morphseek_monai.fields.axes import build_axes
from morphseek_monai.networks.affine import affine_ddf


def fit_affine(ddf: Tensor, weights: Tensor) -> Tensor:
    """Replace a field by its affine part: weighted least squares of ``u(x)`` on ``x``.

    Args:
        ddf: displacement field ``(B, 3, D, H, W)``, in voxels.
        weights: how much each voxel counts, ``(B, 1, D, H, W)``, 0 and above, e.g. the fixed image.

    Returns:
        Affine displacement field ``(B, 3, D, H, W)``, in voxels; a mere shift where the weights leave a direction
        open.

    Example:
        >>> parameters = torch.zeros(1, 3, 4)
        >>> parameters[0, 1, 2], parameters[0, 2, 3] = 0.3, 0.1
        >>> field = affine_ddf(parameters, [8, 8, 8])
        >>> torch.allclose(fit_affine(field, torch.ones(1, 1, 8, 8, 8)), field, atol=1e-5)
        True
    """
    size = [ddf.shape[2], ddf.shape[3], ddf.shape[4]]
    weights = weights[:, 0].clamp_min(0.0)
    # a trace of weight everywhere keeps the equations solvable for an image that is empty
    weights = weights / weights.sum([1, 2, 3], keepdim=True).clamp_min(1e-6) + 1e-6 / weights[0].numel()
    axes = []
    for i, axis in enumerate(build_axes(size, ddf.device, ddf.dtype)):
        axes.append(((2.0 * axis + 1.0) / size[i] - 1.0).expand(size[0], size[1], size[2]))
    place = torch.stack(axes).flatten(1).unsqueeze(0)  # (1, 3, D * H * W), from -1 to 1 between the edges
    share = weights.flatten(1).unsqueeze(1)
    share = share / share.sum(2, keepdim=True)
    half = torch.tensor(size, dtype=ddf.dtype, device=ddf.device).view(1, 3, 1) / 2
    move = ddf.flatten(2) / half
    centre, shift = (share * place).sum(2, keepdim=True), (share * move).sum(2, keepdim=True)
    place = place - centre
    weighted = (share * place).transpose(1, 2)
    matrix = torch.matmul(torch.matmul(move - shift, weighted), _inverse(torch.matmul(place, weighted)))
    return affine_ddf(torch.cat([matrix, shift - torch.matmul(matrix, centre)], dim=2), size)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of symmetric matrices ``(B, 3, 3)`` by cofactors; ONNX has no inverse."""
    a, b, c = matrix[:, 0], matrix[:, 1], matrix[:, 2]
    cofactors = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=2)
    determinant = (a * cofactors[:, :, 0]).sum(1)
    return cofactors / determinant[:, None, None]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    x = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    y = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    z = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return torch.stack([x, y, z], dim=1)
