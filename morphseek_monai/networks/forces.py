"""Forces of image similarity: where each voxel should move for the images to agree better."""

from typing import List

import torch
from torch import Tensor
from torch.nn import functional as F

from morphseek_monai.networks.box_mean import box_mean
from morphseek_monai.networks.mind import mind_ssc


def correlation_forces(warped: Tensor, fixed: Tensor, window: int = 5, floor: float = 1e-4) -> Tensor:
    """Gradient of the local cross-correlation by the displacement, at the displacement that made ``warped``.

    The forces of ANTs' SyN (Avants et al., MedIA 2008, eq. 7): for a voxel only the window around it is differentiated.
    With ``f`` and ``w`` the images less their window means, and ``<.,.>`` their inner product in the window, ::

        force = <f, w> / (<f, f> <w, w>) * (f - <f, w> / <w, w> * w) * grad(warped)

    divided by its root mean square over the image, so that its size does not depend on contrast. Where the images
    agree, and where nothing can be seen, it is near zero. Without gradient: an observation, not a layer.

    Args:
        warped: moving image under the field so far ``(B, 1, D, H, W)``, intensities of order 1.
        fixed: same shape.
        window: edge of the cubic window in voxels; odd. 5 voxels see a boundary and its neighbour.
        floor: added to the windows' variances and to the root mean square, so that noise far below it is not blown up.

    Returns:
        ``(B, 3, D, H, W)`` float32; channel c points along spatial axis c.

    Raises:
        ValueError: When ``window`` is even or below 3.

    Example:
        >>> ramp = torch.linspace(0, 3, 16).view(1, 1, 1, 1, 16).expand(1, 1, 16, 16, 16).sin()
        >>> ahead = correlation_forces(ramp, ramp.roll(-1, dims=4))  # fixed(x) = warped(x + 1): sample further on
        >>> ahead[..., 4:12].mean(dim=(0, 2, 3, 4)).sign()
        tensor([0., 0., 1.])
    """
    if window < 3 or window % 2 == 0:
        raise ValueError(f"correlation_forces() 'window' must be odd and at least 3, got {window}")
    w, f = warped.detach().float(), fixed.detach().float()
    means = _window_means(torch.cat([w, f, w * w, f * f, w * f], dim=1), window)
    w_mean, f_mean = means[:, 0:1], means[:, 1:2]
    ww = means[:, 2:3] - w_mean * w_mean + floor
    ff = means[:, 3:4] - f_mean * f_mean + floor
    wf = means[:, 4:5] - w_mean * f_mean
    slope = wf / (ff * ww) * (f - f_mean - wf / ww * (w - w_mean))
    return _of_unit_size(slope * _gradient(w), floor)


def descriptor_forces(warped: Tensor, fixed: Tensor, radius: int = 1, dilation: int = 2, floor: float = 1e-4) -> Tensor:
    """Descent direction of the squared difference of MIND-SSC descriptors, for images of unlike contrast.

    Local correlation knows one relation of intensities to a window: three tissues that change their order defeat it.
    Descriptors hold the shape around a voxel alone (Heinrich et al., MICCAI 2013). Each of the 12 pulls along its own
    gradient, ``force = sum_c (fixed_c - warped_c) grad(warped_c)``, divided by the root mean square over the image.
    Without gradient, as :func:`correlation_forces`.

    Args:
        warped: moving image under the field so far ``(B, 1, D, H, W)``, intensities of order 1.
        fixed: same shape.
        radius: half edge of the descriptors' patches in voxels; small, for a force that is exact at edges.
        dilation: distance of the neighbours that are compared, in voxels.
        floor: added to the root mean square.

    Returns:
        ``(B, 3, D, H, W)`` float32; channel c points along spatial axis c.

    Raises:
        ValueError: When ``radius`` or ``dilation`` is below 1.

    Example:
        >>> ramp = torch.linspace(0, 6, 24).view(1, 1, 1, 1, 24).expand(1, 1, 24, 24, 24).sin().abs()
        >>> ahead = descriptor_forces(ramp, 1 - ramp.roll(-1, dims=4))
        >>> ahead[..., 6:18].mean(dim=(0, 2, 3, 4)).sign()
        tensor([0., 0., 1.])
    """
    if radius < 1 or dilation < 1:
        raise ValueError(f"descriptor_forces() 'radius' and 'dilation' must be at least 1, got {radius} and {dilation}")
    w, f = mind_ssc(warped.float(), radius, dilation), mind_ssc(fixed.float(), radius, dilation)
    forces: List[Tensor] = []
    for slope in _slopes(w):
        forces.append(((f - w) * slope).sum(dim=1, keepdim=True))
    return _of_unit_size(torch.cat(forces, dim=1), floor)


def _of_unit_size(force: Tensor, floor: float) -> Tensor:
    return force / (force.square().mean(dim=[1, 2, 3, 4], keepdim=True).sqrt() + floor)


def _window_means(maps: Tensor, window: int) -> Tensor:
    r = window // 2  # the edge is repeated, so no outline appears
    return box_mean(F.pad(maps, [r, r, r, r, r, r], mode="replicate"), window)


def _gradient(image: Tensor) -> Tensor:
    return torch.cat(_slopes(image), dim=1)


def _slopes(image: Tensor) -> List[Tensor]:
    # central differences; one-sided halves at the edge, which is repeated
    padded = F.pad(image, [1, 1, 1, 1, 1, 1], mode="replicate")
    return [
        (padded[:, :, 2:, 1:-1, 1:-1] - padded[:, :, :-2, 1:-1, 1:-1]) / 2,
        (padded[:, :, 1:-1, 2:, 1:-1] - padded[:, :, 1:-1, :-2, 1:-1]) / 2,
        (padded[:, :, 1:-1, 1:-1, 2:] - padded[:, :, 1:-1, 1:-1, :-2]) / 2,
    ]
