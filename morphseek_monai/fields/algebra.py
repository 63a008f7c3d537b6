"""Compose, resize, integrate and invert displacement fields (compiled by TorchScript: plain typing only)."""

from typing import List, NamedTuple, Optional

import torch
import torch.nn.functional as F

from .arguments import check_ddf, check_same_grid
from .axes import voxel_axes
from .warping import warp

SLOW = 0.9  # an inversion that leaves more of a voxel's residual than this takes smaller steps there


def compose(previous: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Add a step to an accumulated field: `composed(x) = step(x) + previous(x + step(x))`.

    With `phi(x) = x + u(x)` this is `phi_previous o phi_step`, so warping once by the result is warping by
    `previous` first and warping the outcome by `step`, without the blur of the second interpolation:
    `warp(image, compose(u, d)) = warp(warp(image, u), d)`. Outside the grid the border of
    `previous` continues.

    Args:
        previous: accumulated displacement field `(B, 3, D, H, W)`, in voxels; batch 1 is shared by all steps.
        step: displacement field to add `(B, 3, D, H, W)`, in voxels, on the same grid.

    Returns:
        Composed displacement field `(B, 3, D, H, W)`, in voxels.

    Raises:
        TypeError: when a field is not floating point.
        ValueError: when the shapes do not fit or an axis has a single voxel.

    Example:
        >>> shift, double = torch.ones(1, 3, 4, 4, 4), torch.full((8, 3, 4, 4, 4), 2.0)
        >>> compose(shift, double).unique()
        tensor([3.])
    """
    previous = check_ddf(previous, "compose", "previous")
    step = check_ddf(step, "compose", "step")
    check_same_grid(previous, step, "compose", "previous", "step")
    return step + warp(previous, step, padding="border")


def resize_ddf(ddf: torch.Tensor, size: List[int], align_corners: bool = False) -> torch.Tensor:
    """Resample a field to another grid size and rescale its values, so that the deformation stays the same.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels of its own grid.
        size: new size `[D', H', W']`.
        align_corners: what the two grids have in common. `False` (default): the outer edges of the field of
            view, as in `monai.transforms.Resize`; values scale by `new / old`. `True`: the centres of the
            corner voxels; values scale by `(new - 1) / (old - 1)`.

    Returns:
        Displacement field `(B, 3, D', H', W')`, in voxels of the new grid. Shrinking samples the field
        without low-pass filtering.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape, or a new or old axis has a single voxel.

    Example:
        >>> ddf = torch.ones(1, 3, 4, 4, 4)
        >>> resize_ddf(ddf, [8, 4, 2])[0, :, 0, 0, 0]
        tensor([2.0000, 1.0000, 0.5000])
    """
    ddf = check_ddf(ddf, "resize_ddf", "ddf")
    if len(size) != 3:
        raise ValueError(f"resize_ddf() 'size' must be [D, H, W], got {list(size)}")
    if size[0] < 2 or size[1] < 2 or size[2] < 2:
        raise ValueError(f"resize_ddf() 'size' must have at least 2 voxels per axis, got {list(size)}")
    resized = F.interpolate(
        ddf, size=[size[0], size[1], size[2]], mode="trilinear", align_corners=align_corners
    )
    edge = 1 if align_corners else 0
    return torch.stack(
        (
            resized[:, 0] * ((size[0] - edge) / (ddf.shape[2] - edge)),
            resized[:, 1] * ((size[1] - edge) / (ddf.shape[3] - edge)),
            resized[:, 2] * ((size[2] - edge) / (ddf.shape[4] - edge)),
        ),
        dim=1,
    )


def integrate_velocity(velocity: torch.Tensor, steps: int = 7) -> torch.Tensor:
    """Integrate a stationary velocity field by scaling and squaring (Arsigny et al., MICCAI 2006).

    `exp(v) = exp(v / 2^steps)` composed `2^steps` times with itself; `integrate_velocity(-v)` is its inverse.

    Args:
        velocity: stationary velocity field `(B, 3, D, H, W)`, in voxels per unit time.
        steps: number of squarings; the default, 7 as in VoxelMorph, starts from 1/128 of the velocity.

    Returns:
        Displacement field `(B, 3, D, H, W)`, in voxels.

    Raises:
        TypeError: when `velocity` is not floating point.
        ValueError: when `velocity` has the wrong shape, an axis has a single voxel, or `steps` is negative.

    Example:
        >>> integrate_velocity(torch.full((1, 3, 4, 4, 4), 0.5)).unique()
        tensor([0.5000])
    """
    if steps < 0:
        raise ValueError(f"integrate_velocity() 'steps' must not be negative, got {steps}")
    ddf = check_ddf(velocity, "integrate_velocity", "velocity") / float(2**steps)
    for _ in range(steps):
        ddf = compose(ddf, ddf)
    return ddf


class Inverse(NamedTuple):
    """Result of `invert`.

    Attributes:
        ddf: inverse displacement field `(B, 3, D, H, W)`, in voxels.
        residual: `(B,)`, largest `|v(x) + u(x + v(x))|` in voxels over the voxels whose target `x + v(x)`
            lies on the grid (beyond it `u` is not known, only extrapolated); NaN where no target does.
    """

    ddf: torch.Tensor
    residual: torch.Tensor


@torch.no_grad()
def invert(
    ddf: torch.Tensor, iterations: int = 50, tolerance: float = 0.01, start: Optional[torch.Tensor] = None
) -> Inverse:
    """Invert a field by the damped fixed-point iteration `v <- v - a (v + u(x + v))`.

    With `a = 1` this is `v <- -u(x + v)` (Chen et al., Medical Physics 2008), which contracts where the Lipschitz
    constant of `u` is below 1. Where it does not, since the field more than doubles a length, `a` shrinks voxel by
    voxel as long as the residual does not fall by a tenth. Where the field folds, the inverse is one of several or does
    not exist: look at the residual and at the Jacobian. Not differentiable.

    Args:
        ddf: displacement field `u` `(B, 3, D, H, W)`, in voxels.
        iterations: largest number of iterations.
        tolerance: residual in voxels that every item of the batch must reach for the iteration to stop early.
        start: first guess `(B, 3, D, H, W)`, e.g. the resized inverse of a coarser grid; `-u` if left out.

    Returns:
        The inverse field with its residual, an `Inverse`. `warp(warp(image, u), v)` gives `image` back.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape, an axis has a single voxel, `start` has another shape, or
            `iterations` is below 1.

    Example:
        >>> inverse = invert(torch.full((1, 3, 4, 4, 4), 0.5))
        >>> inverse.ddf.unique(), bool(inverse.residual < 1e-6)
        (tensor([-0.5000]), True)
    """
    if iterations < 1:
        raise ValueError(f"invert() 'iterations' must be positive, got {iterations}")
    ddf = check_ddf(ddf, "invert", "ddf")
    if start is not None and start.shape != ddf.shape:
        raise ValueError(
            f"invert() 'start' must have the shape of 'ddf', got {list(start.shape)} and {list(ddf.shape)}; "
            "resize_ddf() it"
        )
    inverse = -ddf if start is None else start.to(ddf)
    damping = torch.ones_like(ddf[:, :1])
    last = torch.full_like(damping, torch.inf)
    for iteration in range(1, iterations + 1):
        difference = inverse + warp(ddf, inverse)
        length = difference.square().sum(1, keepdim=True).sqrt()  # linalg.vector_norm() is ten times as slow here
        residual = _inverse_residual(inverse, length[:, 0])
        if iteration == iterations or bool((residual <= tolerance).all()):
            break
        damping = torch.where(length > SLOW * last, (damping * 0.7).clamp(min=0.2), damping)
        last = length
        inverse = inverse - damping * difference
    return Inverse(inverse, residual)


def _inverse_residual(inverse: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Largest `error` `(B, D, H, W)` per item over the voxels with `x + v(x)` on the grid."""
    for axis, coordinate in enumerate(voxel_axes(inverse)):
        target = inverse[:, axis] + coordinate
        error = error.masked_fill((target < 0) | (target > inverse.shape[2 + axis] - 1), -1.0)
    largest = error.flatten(1).amax(1)
    return largest.masked_fill(largest < 0, torch.nan)
