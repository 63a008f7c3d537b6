"""Where two images may lie on each other: every shift, and every turn by quarters, on a coarse lattice at once.

Correlation under all shifts comes from Fourier transforms, with masks that leave out what either image has not seen
(D. Padfield, Masked object registration in the Fourier domain, IEEE TIP 21(5), 2012).
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from morphseek_monai.space.image import Image

from .reading import read, shrink

__all__ = ["Candidate", "candidates"]

Array = NDArray[np.float64]

ALONG, ALONG_LONGER = 20, 32  # least voxels along the smaller image, most along the larger one
LEAST_OVERLAP = 0.15  # of the smaller image's volume
FEW = 64  # voxels over which a correlation means nothing


class Candidate(NamedTuple):
    """One way to lay the images on each other.

    Attributes:
        matrix: ``(4, 4)``, positions fixed -> moving.
        turned: whether it turns about an axis.
        correlation: squared correlation over the overlap, times the share of the contrast of one image that it holds.
    """

    matrix: Array
    turned: bool
    correlation: float


def candidates(fixed: Image, moving: Image, count: int, turns: bool = True) -> list[Candidate]:
    """The best shift for each of the 24 turns by quarters of a full turn, best first; all proper rotations.

    Args:
        fixed: the fixed image; positions in any unit.
        moving: the moving image.
        count: how many of them.
        turns: whether to turn at all.
    """
    longest = [float(volume.extent.max()) for volume in (fixed, moving)]
    spacing = max(max(longest) / ALONG_LONGER, min(longest) / ALONG)
    (one, seen, origin), (other, seen_other, start) = (
        _lattice(shrink(volume, spacing), spacing) for volume in (fixed, moving)
    )
    longest_side = max(other.shape)
    shape = [
        fft.next_fast_len(side + (longest_side if turns else own) - 1, real=True)
        for side, own in zip(one.shape, other.shape)
    ]
    first = [np.conj(fft.rfftn(array, shape)) for array in (seen, one, one * one)]
    # the contrast of either image as a whole
    energies = [float((array * array).sum()) + 1e-12 for array in (one, other)]
    least = max(LEAST_OVERLAP * min(seen.sum(), seen_other.sum()), min(FEW, min(seen.sum(), seen_other.sum()) / 2))
    found = []
    for axes, signs in _turns() if turns else [((0, 1, 2), (1, 1, 1))]:
        turned = [_turn(array, axes, signs) for array in (seen_other, other, other * other)]
        second = [fft.rfftn(array, shape) for array in turned]
        correlation = _correlations(first, second, shape, energies, least)
        at = np.unravel_index(int(correlation.argmax()), correlation.shape)
        # shifts to the left are stored at the far end
        shift = np.array([i - n if i >= side else i for i, n, side in zip(at, shape, turned[0].shape)])
        linear = np.zeros((3, 3))
        linear[axes, range(3)] = signs
        offset = np.array([other.shape[axis] - 1 if sign < 0 else 0 for axis, sign in zip(axes, signs)])
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = start + linear @ (spacing * (shift - offset) - origin)
        found.append(Candidate(matrix, axes != (0, 1, 2) or min(signs) < 0, float(correlation[at])))
    return sorted(found, key=lambda candidate: -candidate.correlation)[:count]


def _correlations(
    first: list[Any], second: list[Any], shape: list[int], energies: list[float], least: float
) -> NDArray[np.float32]:
    """Squared correlation under every shift, times the share of either image's contrast that the overlap holds.

    Both are given as the transforms of mask, values and squared values. Without that share two corners that happen to
    match would win.
    """

    def correlate(i: int, j: int) -> Any:
        return fft.irfftn(first[i] * second[j], shape)

    count = np.maximum(correlate(0, 0), 1e-3)
    sums, sums_other = correlate(1, 0), correlate(0, 1)
    squares, squares_other = correlate(2, 0), correlate(0, 2)
    covariance = correlate(1, 1) - sums * sums_other / count
    spread = np.maximum(squares - sums**2 / count, 0) * np.maximum(squares_other - sums_other**2 / count, 0)
    held = np.maximum(squares / energies[0], squares_other / energies[1]).clip(0, 1)
    correlation: NDArray[np.float32] = covariance**2 / (spread + 1e-6 * energies[0] * energies[1]) * held
    return np.where(count >= least, correlation, 0)


def _turns() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Order and direction of axes of the 24 proper rotations, none first."""
    even = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    pairs = product(permutations(range(3)), product((1, -1), repeat=3))
    return [(axes, signs) for axes, signs in pairs if np.prod(signs) == (1 if axes in even else -1)]


def _turn(array: NDArray[np.float32], axes: tuple[int, ...], signs: tuple[int, ...]) -> NDArray[np.float32]:
    turned: NDArray[np.float32] = array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    return turned


def _lattice(volume: Image, spacing: float) -> tuple[NDArray[np.float32], NDArray[np.float32], Array]:
    """An image on a lattice along the axes of space, its mask, and the position of its first voxel.

    The image is less its own mean: what it does not hold adds nothing, and lengths of sums stay small.
    """
    corners = np.array(list(product(*[(-0.5, side - 0.5) for side in volume.array.shape])))
    places = volume.position(corners)
    low, high = places.min(0), places.max(0)
    size = np.maximum(np.ceil((high - low) / spacing - 1e-6), 1).astype(int)
    origin = (low + high - spacing * (size - 1)) / 2
    reading = read(volume, (origin[:, None] + spacing * np.indices(size).reshape(3, -1)).astype(np.float32))
    seen = (reading.weight > 0.4).astype(np.float32)
    mean = float((seen * reading.value).sum() / max(seen.sum(), 1))
    array = ((reading.value - mean) * seen).astype(np.float32)
    return array.reshape(size), seen.reshape(size), origin
