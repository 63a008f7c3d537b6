"""What pulls a displacement field: gradients of image similarity in closed form, for like and for unlike contrasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 5  # voxels: a boundary and its neighbour
PIECE = 2**17  # voxels: half a megabyte
FLOOR = 1e-4  # added to the windows' variances (intensities are in [0, 1]), so that noise far below it is not blown up


class Pull(NamedTuple):
    """What one look at the images says.

    Attributes:
        force: ``(3, D, H, W)``: ascent direction of the similarity by the displacement at each voxel.
        similarity: to be raised.
    """

    force: Tensor
    similarity: float


class ImageForce(Protocol):
    """Two images at one resolution; asked how a field should change."""

    def __call__(self, ddf: Tensor) -> Pull:
        """The pull on a field ``(3, D, H, W)`` in voxels."""


class CorrelationForce:
    """Gradient of the mean squared local correlation of ``fixed`` and the warped ``moving``.

    With ``w`` and ``f`` the images, ``<.>`` the mean over the window, and ``cc = <f,w>^2 / (<f,f> <w,w>)`` from centred
    moments, the derivative by ``w(x)`` gathers all windows that hold ``x`` (Avants et al., MedIA 2008, eq. 7, keep the
    one around ``x`` only, which loses its way where structures are small)::

        a = <f,w> / (<f,f> <w,w>),  b = a <f,w> / <w,w>
        d cc / d w = 2 (<a> f - <b> w - <a mean(f) - b mean(w)>)

    of which the half is taken. Squared, so that an inverted contrast counts as agreement.

    Args:
        moving: ``(1, D, H, W)``, intensities of order 1, continued beyond its field of view.
        fixed: same shape.
        valid: ``(1, D, H, W)``, 1 where ``moving`` was scanned; None means everywhere. Nothing pulls elsewhere.
        counts: ``(D, H, W)``, 1 where ``fixed`` counts, else 0: nothing pulls where it does not, and the similarity is
            that of the rest. None means everywhere.
    """

    def __init__(
        self, moving: Tensor, fixed: Tensor, valid: Tensor | None = None, counts: Tensor | None = None
    ) -> None:
        self.fixed, self.counts = fixed[0], counts
        self.maps = moving if valid is None else torch.cat([moving, valid])
        self.window = _window(fixed.shape[1:])
        mean, square = window_means(torch.cat([fixed, fixed * fixed]), self.window)
        self.fixed_mean, self.fixed_variance = mean, (square - mean * mean).clamp_min_(0).add_(FLOOR)
        self.sampler = Sampler(fixed.shape[1:], fixed.device)

    def __call__(self, ddf: Tensor) -> Pull:
        """See :class:`ImageForce`; the similarity is the mean squared local correlation of the windows that count."""
        where = self.sampler.lattice(ddf)
        warped, *seen = self.sampler.at(self.maps, where)
        mean, square, product = window_means(torch.stack([warped, warped * warped, warped * self.fixed]), self.window)
        variance = (square - mean * mean).clamp_min_(0).add_(FLOOR)
        covariance = product.addcmul_(mean, self.fixed_mean, value=-1)
        a = covariance / (variance * self.fixed_variance)
        b = a * covariance / variance
        weight = _product(self.counts, *seen)
        similarity = _mean(a * covariance, weight, self.counts)
        if weight is not None:
            a, b = a * weight, b * weight
        a_mean, b_mean, rest = window_means(
            torch.stack([a, b, (a * self.fixed_mean).addcmul_(b, mean, value=-1)]), self.window
        )
        slope = (a_mean * self.fixed).addcmul_(b_mean, warped, value=-1).sub_(rest)
        if weight is not None:
            slope *= weight
        return Pull(gradient(warped).mul_(slope), similarity)


class DescriptorForce:
    """Gradient of minus the mean squared difference of descriptors, e.g. MIND, for images of different contrast.

    The moving image's descriptors are warped as they are (Heinrich et al., convexAdam), and each pulls along its own
    gradient.

    Args:
        moving: descriptors ``(C, D, H, W)``.
        fixed: same shape.
        valid: as for :class:`CorrelationForce`.
        counts: likewise.
    """

    def __init__(
        self, moving: Tensor, fixed: Tensor, valid: Tensor | None = None, counts: Tensor | None = None
    ) -> None:
        self.moving, self.fixed, self.valid, self.counts = moving, fixed, valid, counts
        self.sampler = Sampler(fixed.shape[1:], fixed.device)

    def __call__(self, ddf: Tensor) -> Pull:
        """See :class:`ImageForce`; the similarity is minus the mean squared difference."""
        where = self.sampler.lattice(ddf)
        weight = _product(self.counts, *(() if self.valid is None else self.sampler.at(self.valid, where)))
        force, error = torch.zeros_like(ddf), 0.0
        for moving, fixed in zip(self.moving, self.fixed):  # one at a time: twelve gradients would fill the memory
            warped = self.sampler.at(moving[None], where)[0]
            difference = fixed - warped
            error += _mean(difference.square(), weight, self.counts)
            force += gradient(warped).mul_(difference)
        if weight is not None:
            force *= weight
        return Pull(force, -error / len(self.fixed))


class MeanForce:
    """Mean of the forces of several contrasts of one pair, and of their similarities.

    Args:
        forces: of one grid, at least one; asked one after the other, so that they need no more memory than one.
    """

    def __init__(self, forces: Sequence[ImageForce]) -> None:
        self.forces = forces

    def __call__(self, ddf: Tensor) -> Pull:
        """See :class:`ImageForce`."""
        first, *rest = self.forces
        force, similarity = first(ddf)
        for other in rest:
            pull = other(ddf)
            force += pull.force
            similarity += pull.similarity
        return Pull(force / len(self.forces), similarity / len(self.forces))


class Sampler:
    """Linear samples of maps on one grid, at displaced voxels; the grid's own coordinates are made once.

    Args:
        size: ``(D, H, W)``.
        device: of the maps.
    """

    def __init__(self, size: Sequence[int], device: torch.device) -> None:
        self.size = tuple(size)
        self.axes = [
            (torch.arange(n, device=device) * (2 / max(n - 1, 1)) - 1).view([-1 if i == a else 1 for i in range(3)])
            for a, n in enumerate(self.size)
        ]

    def lattice(self, ddf: Tensor) -> Tensor:
        """Where the voxels go, ``(1, D, H, W, 3)`` in the coordinates of ``grid_sample()``; ``ddf`` is in voxels."""
        lattice = torch.empty(*self.size, 3, device=ddf.device)
        for a in range(3):
            torch.add(self.axes[a], ddf[a], alpha=2 / max(self.size[a] - 1, 1), out=lattice[..., 2 - a])
        return lattice[None]

    @staticmethod
    def at(maps: Tensor, lattice: Tensor) -> Tensor:
        """Values of maps ``(C, D, H, W)`` there; the edge continues beyond the grid."""
        return F.grid_sample(maps[None], lattice, mode="bilinear", padding_mode="border", align_corners=True)[0]


def _product(*weights: Tensor | None) -> Tensor | None:
    """Of those that are given; None where none is."""
    given = [weight for weight in weights if weight is not None]
    return reduce(torch.mul, given) if given else None


def _mean(values: Tensor, weight: Tensor | None, counts: Tensor | None) -> float:
    """Over all voxels, or over those that count; what they do not see of the moving image then adds nothing."""
    if counts is None or weight is None:
        return float(values.mean())
    return float((values * weight).sum() / counts.sum().clamp(min=1))


def window_means(maps: Tensor, window: Sequence[int]) -> Tensor:
    """Means of maps ``(C, D, H, W)`` over cubes of odd edges; the edge of the grid is repeated.

    Sums of shifted slices, for five voxels three additions per axis, in pieces that stay in the processor's cache: many
    times as fast as pooling.
    """
    depth, height, width = maps.shape[1:]
    planes, rows = max(1, PIECE // (height * width)), max(1, PIECE // (depth * width))
    means = torch.empty_like(maps)
    for source, target in zip(maps, means):
        for first in range(0, depth, planes):
            piece = source[first : first + planes]
            for axis in (2, 1):
                piece = _window_sums(piece, axis, window[axis])
            target[first : first + planes] = piece
        for first in range(0, height, rows):
            piece = target[:, first : first + rows]
            torch.mul(_window_sums(piece, 0, window[0]), 1.0 / math.prod(window), out=piece)
    return means


def _window_sums(maps: Tensor, axis: int, edge: int) -> Tensor:
    if edge == 1:
        return maps
    size, reach = maps.shape[axis], edge // 2
    ends = [maps.narrow(axis, 0, 1)] * reach, [maps.narrow(axis, size - 1, 1)] * reach
    padded = torch.cat([*ends[0], maps, *ends[1]], dim=axis)
    last = padded.narrow(axis, edge - 1, size)
    if edge == 3:
        return (padded.narrow(axis, 0, size) + padded.narrow(axis, 1, size)).add_(last)
    pairs = padded.narrow(axis, 0, size + edge - 2) + padded.narrow(axis, 1, size + edge - 2)
    sums = pairs.narrow(axis, 0, size) + pairs.narrow(axis, 2, size)
    for first in range(4, edge - 1, 2):
        sums += pairs.narrow(axis, first, size)
    return sums.add_(last)


def gradient(image: Tensor) -> Tensor:
    """Central differences ``(3, D, H, W)`` of an image ``(D, H, W)``; zero at the edges of the grid."""
    slopes = image.new_zeros(3, *image.shape)
    for a, n in enumerate(image.shape):
        if n > 2:
            inner = slopes[a].narrow(a, 1, n - 2)
            torch.sub(image.narrow(a, 2, n - 2), image.narrow(a, 0, n - 2), out=inner)
    return slopes.mul_(0.5)


def _window(size: Sequence[int]) -> tuple[int, ...]:
    """Edges of the window: an axis of few slices takes fewer of them."""
    return tuple(WINDOW if n >= WINDOW else (3 if n >= 3 else 1) for n in size)
