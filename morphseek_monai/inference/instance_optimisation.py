"""Instance optimisation: fit the field to one pair, coarse to fine, by the closed-form forces of its images.

The scheme of greedy diffeomorphic registration (Yushkevich et al., greedy; Avants et al., SyN): the force is smoothed,
scaled to a largest step, composed with the field so far, and the field is smoothed a little. Steps of less than a voxel
that are smooth over two cannot fold, nor can their composition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from morphseek_monai.fields.separable import apply_separable, gaussian_matrix, resize_matrix, resize_smooth
from morphseek_monai.inference.image_forces import CorrelationForce, DescriptorForce, ImageForce, MeanForce, Sampler
from morphseek_monai.inference.landmark_force import LandmarkForce
from morphseek_monai.losses import MINDSSCLoss

COARSEST = 48  # voxels along the longest axis of the coarsest level, at most
LEVELS = 3  # at least; small images too are seen as a whole first
THINNEST = 8  # voxels that no level takes from an axis: a stack of ten thick slices keeps them
ITERATIONS = (60, 40, 20)  # of the coarsest and further coarse levels, the last but one, the finest
FORCE_SIGMA = 2.0  # voxels; greedy takes 1.7
FIELD_SIGMA = 0.6  # voxels, in each iteration; greedy takes 0.7
LARGEST_STEP = 1.0  # voxels, in the first iteration of a level
# the derivative of the squared correlation by voxels, whatever the contrast; what is below it is rounding, and would
# move identical images by a whole voxel
LEAST_FORCE = 1e-3
LAST_STEP = 0.1  # of it, in the last one: the field settles
HALF_FIELD = 2_000_000  # voxels of the images; from here on the field, smooth as it is, has half their resolution
PATIENCE = 5  # iterations
LEAST_PROGRESS = 0.001  # of the similarity gained at this level so far, in so many iterations; less ends it


class Level(NamedTuple):
    """What one level did.

    Attributes:
        size: voxels of the images.
        iterations: made.
        before: similarity at this level's resolution, before it; with landmarks less what they are off
            (:meth:`~morphseek_monai.inference.landmark_force.LandmarkForce.penalty`).
        after: the best of it.
    """

    size: tuple[int, int, int]
    iterations: int
    before: float
    after: float


class Optimised(NamedTuple):
    """Result of :func:`optimise`.

    Attributes:
        ddf: ``(1, 3, D, H, W)`` in voxels.
        levels: coarse to fine.
    """

    ddf: Tensor
    levels: tuple[Level, ...]


def level_sizes(size: Sequence[int], spacing: Sequence[float]) -> list[tuple[int, int, int]]:
    """Sizes of the levels, coarse to fine: halved until the whole is small, thick slices later than thin ones.

    Args:
        size: of the finest level ``(D, H, W)``.
        spacing: of its voxels, in any unit.

    Example:
        >>> level_sizes([192, 192, 10], [1.0, 1.0, 8.0])
        [(48, 48, 10), (96, 96, 10), (192, 192, 10)]
    """
    finest = min(spacing)
    count = max(LEVELS, 1 + math.ceil(math.log2(max(max(size) / COARSEST, 1))))
    sizes = []
    for level in reversed(range(count)):
        shrink = [max(1.0, 2**level * finest / width) for width in spacing]
        sizes.append(tuple(max(min(n, THINNEST), round(n / s)) for n, s in zip(size, shrink)))
    return sorted(set(sizes))


@torch.no_grad()
def optimise(
    moving: Tensor,
    fixed: Tensor,
    spacing: Sequence[float],
    *,
    valid: Tensor | None = None,
    counts: Tensor | None = None,
    landmarks: LandmarkForce | None = None,
    start: Tensor | None = None,
    levels: slice = slice(None),
    iterations: int | None = None,
    unlike: bool = False,
) -> Optimised:
    """Fit a displacement field to a pair.

    Args:
        moving: ``(1, C, D, H, W)`` in [0, 1], aligned, continued beyond its field of view. Of several contrasts the
            mean force is followed.
        fixed: same shape, contrasts in the same order.
        spacing: of the voxels, in any unit: only their ratios count.
        valid: ``(1, 1, D, H, W)``, 1 where ``moving`` was scanned and counts; None means everywhere.
        counts: same shape, 1 where ``fixed`` counts; None means everywhere. Where it does not, no image pulls, and the
            field follows its surroundings.
        landmarks: on this grid; they pull beside the images.
        start: field to start from, ``(1, 3, d, h, w)`` of any size over the same extent, in its own voxels; None starts
            at the identity.
        levels: which of :func:`level_sizes` are gone through; the field comes back at the resolution of the last.
        iterations: of the finest level; None takes 20. The coarser ones, an eighth of the price, keep theirs.
        unlike: True where contrasts differ, as CT and MR: MIND descriptors are compared instead of intensities.

    Raises:
        ValueError: When the shapes differ, or no level is left.

    Example:
        >>> fixed = torch.linspace(0, 6, 24).sin().square().view(1, 1, 24, 1, 1).expand(1, 1, 24, 24, 24)
        >>> result = optimise(fixed.roll(1, dims=2), fixed, [1.0, 1.0, 1.0])
        >>> result.levels[-1].after > result.levels[-1].before
        True
    """
    if moving.shape != fixed.shape or moving.ndim != 5 or moving.shape[0] != 1:
        raise ValueError(
            f"optimise() 'moving' and 'fixed' must both be (1, C, D, H, W), got {tuple(moving.shape)} and"
            f" {tuple(fixed.shape)}; resample them to one grid"
        )
    sizes = level_sizes(fixed.shape[2:], spacing)
    planned = [ITERATIONS[0]] * (len(sizes) - 2) + list(ITERATIONS[1:])
    planned[-1] = planned[-1] if iterations is None else iterations
    chosen = list(zip(sizes, planned[-len(sizes) :]))[levels]
    if not chosen:
        raise ValueError(f"optimise() 'levels' must leave one of the {len(sizes)} levels, got {levels}")
    ddf = torch.zeros(3, *_field_size(chosen[0][0]), device=fixed.device) if start is None else start[0]
    done = []
    for size, most in chosen:
        ddf = field_at(ddf, _field_size(size))
        force = _force(moving[0], fixed[0], _where(valid, size), _where(counts, size), unlike, size)
        ddf, level = _run_level(force, ddf, size, most, None if landmarks is None else landmarks.at(ddf.shape[1:]))
        done.append(level)
    return Optimised(field_at(ddf, chosen[-1][0])[None], tuple(done))


def _field_size(size: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(math.ceil(n / 2) if n > 2 * THINNEST else n for n in size) if math.prod(size) > HALF_FIELD else size


def field_at(ddf: Tensor, size: Sequence[int]) -> Tensor:
    """A field ``(3, D, H, W)`` at another resolution ``(D', H', W')`` over the same extent, in its voxels."""
    scale = torch.tensor([n / m for n, m in zip(size, ddf.shape[1:])], device=ddf.device)
    return resize_smooth(ddf, size, blur=0.0) * scale.view(3, 1, 1, 1)


def _where(mask: Tensor | None, size: Sequence[int]) -> Tensor | None:
    """A mask at a level, ``(1, D, H, W)`` of 0 and 1."""
    return None if mask is None else (resize_smooth(mask[0], size) > 0.5).float()


def _force(
    moving: Tensor, fixed: Tensor, valid: Tensor | None, counts: Tensor | None, unlike: bool, size: Sequence[int]
) -> ImageForce:
    moving, fixed = resize_smooth(moving, size), resize_smooth(fixed, size)
    valid = None if valid is None or bool(valid.all()) else valid
    within = None if counts is None else counts[0]
    describe = MINDSSCLoss(radius=1, dilation=1).describe
    forces: list[ImageForce] = []
    for one, other in zip(moving[:, None], fixed[:, None]):
        if unlike:
            forces.append(DescriptorForce(describe(one[None])[0], describe(other[None])[0], valid, within))
        else:
            forces.append(CorrelationForce(one, other, valid, within))
    return forces[0] if len(forces) == 1 else MeanForce(forces)


def _run_level(
    force: ImageForce, ddf: Tensor, size: tuple[int, int, int], most: int, landmarks: LandmarkForce | None
) -> tuple[Tensor, Level]:
    ratio = [n / m for n, m in zip(size, ddf.shape[1:])]
    scale = torch.tensor(ratio, device=ddf.device).view(3, 1, 1, 1)
    upsample = _filter(ddf.shape[1:], size, [0.0] * 3, ddf.device)
    smooth_force = _filter(size, ddf.shape[1:], [FORCE_SIGMA] * 3, ddf.device)
    smooth_field = _filter(ddf.shape[1:], ddf.shape[1:], [FIELD_SIGMA / r for r in ratio], ddf.device)
    sampler = Sampler(ddf.shape[1:], ddf.device)
    start = ddf
    history: list[float] = []
    for iteration in range(most):
        pull = force(upsample(ddf) * scale)
        history.append(pull.similarity - (0.0 if landmarks is None else landmarks.penalty(ddf)))
        if _stalled(history):
            break
        step = smooth_force(pull.force)
        longest = float(step.square().sum(0).max().sqrt())
        share = 1 - (1 - LAST_STEP) * iteration / max(most - 1, 1)
        step *= LARGEST_STEP * share / max(longest, LEAST_FORCE) / scale
        if landmarks is not None:
            step += landmarks.step(ddf)
        ddf = smooth_field(step + sampler.at(ddf, sampler.lattice(step)))
    if not history:
        history.append(math.nan)
    if max(history[1:], default=-math.inf) <= history[0]:
        ddf = start  # nothing was gained, as between two copies of one image
    return ddf, Level(size, len(history), history[0], max(history))


def _stalled(history: Sequence[float]) -> bool:
    if len(history) <= PATIENCE:
        return False
    gained = max(history) - history[0]
    return max(history[-PATIENCE:]) - max(history[:-PATIENCE]) <= LEAST_PROGRESS * gained


def _filter(
    size: Sequence[int], new_size: Sequence[int], sigma: Sequence[float], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Smoothing and then resizing of maps, as one product of matrices."""
    if tuple(size) == tuple(new_size) and not any(sigma):
        return lambda maps: maps
    matrices: list[Any] = [
        (resize_matrix(n, m) @ gaussian_matrix(n, s) if n != m else gaussian_matrix(n, s)).to(device)
        for n, m, s in zip(size, new_size, sigma)
    ]
    return lambda maps: apply_separable(maps, matrices)
