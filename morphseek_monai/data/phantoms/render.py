"""One phantom subject: a random diffeomorphism of the canonical anatomy, as image and label map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.fields import integrate_velocity

from .anatomy import Anatomy, Array, paint

__all__ = ["PhantomScan", "make_scan"]

_WAVES = 12


class PhantomScan(NamedTuple):
    """One image of one subject.

    Attributes:
        image: ``(X, Y, Z)`` int16, MR in 0..about 1000, CT in Hounsfield units.
        label: ``(X, Y, Z)`` uint8.
        mask: ``(X, Y, Z)`` uint8, 1 where there is any tissue.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def make_scan(anatomy: Anatomy, modality: str, subject: int, shape: tuple[int, int, int], seed: int) -> PhantomScan:
    """Render one scan; it depends on these arguments alone, not on how many subjects are made.

    Args:
        anatomy: the task.
        modality: number of the modality, a key of ``anatomy.modality``.
        subject: number of the subject.
        shape: voxels ``(X, Y, Z)``.
        seed: of the data set.
    """
    person = np.random.default_rng((seed, subject))
    session = np.random.default_rng((seed, subject, 1 + int(modality)))
    grid = _positions(shape)
    velocity = _waves(grid, person, anatomy.motion[0])
    if len(anatomy.modality) > 1:
        velocity = velocity + _waves(grid, session, anatomy.motion[1])
    matrix, shift = _affine(person)
    place = np.tensordot(matrix, grid + _integrate(velocity), axes=1) + shift[:, None, None, None]

    mean = np.array([anatomy.air[modality]] + [s.signal[modality] for s in anatomy.structures])
    mean[1:] += anatomy.jitter[modality] * session.uniform(-1, 1, len(anatomy.structures))
    # partial volume: a voxel shows the mean of eight points inside it
    image = np.zeros(shape)
    for corner in np.ndindex(2, 2, 2):
        offset = (np.array(corner) - 0.5) / np.array(shape)
        image += mean[paint(anatomy, place + np.tensordot(matrix, offset, axes=1)[:, None, None, None])] / 8
    image *= 1 + _waves(grid, session, anatomy.bias[modality])[0]
    image += session.normal(0, anatomy.noise[modality], shape)

    drawn = paint(anatomy, place)
    ids = np.array([0] + [s.label for s in anatomy.structures], dtype=np.uint8)
    stored = np.round(image * anatomy.scale[modality]).astype(np.int16)
    return PhantomScan(stored, ids[drawn], (drawn > 0).astype(np.uint8))


def _positions(shape: tuple[int, int, int]) -> Array:
    """Voxel centres ``(3, X, Y, Z)`` in half fields of view."""
    axes = [(np.arange(size) + 0.5) * 2 / size - 1 for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _waves(grid: Array, rng: np.random.Generator, amplitude: float) -> Array:
    """A smooth random vector field ``(3, X, Y, Z)``: a few long waves of random direction and phase."""
    field = np.zeros_like(grid)
    for _ in range(_WAVES):
        wave = rng.uniform(-4.5, 4.5, 3)  # radians per half field of view: at least 0.7 field of view long
        phase = rng.uniform(0, 2 * np.pi)
        direction = rng.normal(0, 1, 3)
        field += direction[:, None, None, None] * np.cos(np.tensordot(wave, grid, axes=1) + phase)
    return field * float(amplitude * np.sqrt(2 / _WAVES))


def _integrate(velocity: Array) -> Array:
    """Integrate a stationary velocity, both in half fields of view."""
    half = np.array(velocity.shape[1:], dtype=np.float64)[:, None, None, None] / 2
    voxels = torch.from_numpy((velocity * half)[None]).float()
    displacement: Array = integrate_velocity(voxels)[0].double().numpy() / half
    return displacement


def _affine(rng: np.random.Generator) -> tuple[Array, Array]:
    """Small rotation, scales and shift of a head or body in the scanner."""
    angles = rng.uniform(-0.06, 0.06, 3)
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = rotation @ turn
    return rotation @ np.diag(1 + rng.uniform(-0.06, 0.06, 3)), rng.uniform(-0.03, 0.03, 3)
