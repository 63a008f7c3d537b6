"""Linear maps near a given one by few parameters, and their ascent: rigid, similarity and affine in one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.optimize import minimize

from .reading import combine

__all__ = ["TransformModel", "Objective", "ascend", "plausible", "transformed", "translation"]

Array = NDArray[np.float64]
TransformModel = Literal["rigid", "similarity", "affine"]
# places of points (3, N) -> a value and its derivative by the places (3, N)
Objective = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]

# beyond these, two images do not show the same part of two bodies
LEAST_SCALE, MOST_SCALE, MOST_SHEAR = 0.5, 2.0, 0.5
# one ascent goes no further, in radii and per unit matrix (a turn by 40 degrees): a trial step never overflows
MOST_SHIFT, MOST_CHANGE = 4.0, 1.0


def generators(model: TransformModel) -> Array:
    """Matrices ``(K, 3, 3)`` of unit norm whose combinations' exponentials are the linear parts of a model."""
    found = []
    for i, j in ((1, 2), (0, 2), (0, 1)):
        turn = np.zeros((3, 3))
        turn[i, j], turn[j, i] = -1, 1
        found.append(turn / np.sqrt(2))
    if model != "rigid":
        found.append(np.eye(3) / np.sqrt(3))
    if model == "affine":
        found += [np.diag([1.0, -1.0, 0.0]) / np.sqrt(2), np.diag([1.0, 1.0, -2.0]) / np.sqrt(6)]
        found += [np.abs(turn) for turn in found[:3]]
    return np.stack(found)


def ascend(
    objective: Objective,
    points: NDArray[np.float32],
    start: Array,
    model: TransformModel,
    centre: Array,
    step: float,
    iterations: int,
    stiffness: float = 0.0,
) -> Array:
    """Follow the gradient of an objective to its top (L-BFGS).

    Args:
        objective: places of ``points`` ``(3, N)`` -> its value and its derivative by the places ``(3, N)``.
        points: ``(3, N)``.
        start: ``(4, 4)``.
        model: of the maps that are tried, seen from ``start``.
        centre: of the points ``(3,)``; turning about it keeps the parameters independent. Lengths are such that the
            points lie about 1 from it: all parameters then have about the same effect.
        step: length of the first step.
        iterations: most of them.
        stiffness: how much the squared logarithm of the stretch away from ``start`` costs.

    Returns:
        ``(4, 4)``, no worse than ``start``.
    """
    basis = generators(model)
    stretch = np.arange(len(basis)) >= 3
    arms = (points - centre.astype(np.float32)[:, None]).astype(np.float32)
    origin = start[:3, :3] @ centre + start[:3, 3]

    def matrix_of(parameters: Array) -> tuple[Array, Array]:
        """The linear part, and its derivatives ``(K, 3, 3)``, from the exponential of block matrices."""
        tangent = np.tensordot(parameters[3:], basis, 1)
        blocks = np.zeros((len(basis), 6, 6))
        blocks[:, :3, :3] = blocks[:, 3:, 3:] = tangent
        blocks[:, :3, 3:] = basis
        powers = expm(blocks)
        return powers[0, :3, :3] @ start[:3, :3], powers[:, :3, 3:] @ start[:3, :3]

    def loss(scaled: Array) -> tuple[float, Array]:
        parameters = scaled * step
        linear, derivatives = matrix_of(parameters)
        small = np.column_stack([linear, origin + parameters[:3]])
        value, slope = objective(transformed(arms, small))
        shift = slope.sum(1, dtype=np.float64)
        turn = np.array([[(side * arm).sum(dtype=np.float64) for arm in arms] for side in slope])
        gradient = np.concatenate([shift, (derivatives * turn).sum((1, 2))])
        value -= stiffness * float((parameters[3:][stretch] ** 2).sum())
        gradient[3:][stretch] -= 2 * stiffness * parameters[3:][stretch]
        return -value, -gradient * step

    first = loss(np.zeros(3 + len(basis)))
    norm = float(np.linalg.norm(first[1]))
    if norm == 0:
        return start

    def scaled_loss(parameters: Array) -> tuple[float, Array]:
        value, gradient = loss(parameters)
        return (value - first[0]) / norm, gradient / norm  # the first step has the length 1

    found = minimize(
        scaled_loss,
        np.zeros(3 + len(basis)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-reach / step, reach / step) for reach in (*[MOST_SHIFT] * 3, *[MOST_CHANGE] * len(basis))],
        options={"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 0, "gtol": 1e-3},
    )
    if not found.fun < 0:
        return start
    parameters = found.x * step
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_of(parameters)[0]
    matrix[:3, 3] = origin + parameters[:3] - matrix[:3, :3] @ centre
    return matrix


def transformed(points: NDArray[np.float32], matrix: Array) -> NDArray[np.float32]:
    """Where a map ``(4, 4)`` puts points ``(3, N)``."""
    small = matrix.astype(np.float32)
    places: NDArray[np.float32] = combine(small, points) + small[:3, 3:]
    return places


def translation(shift: Array) -> Array:
    """The map ``(4, 4)`` that shifts by ``(3,)``."""
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def plausible(matrix: Array) -> bool:
    """Whether a map ``(4, 4)`` keeps handedness, scales by 0.5 to 2 along any direction and shears by at most 0.5."""
    linear = matrix[:3, :3]
    scales = np.linalg.svd(linear, compute_uv=False)
    if np.linalg.det(linear) <= 0 or scales.min() < LEAST_SCALE or scales.max() > MOST_SCALE:
        return False
    _, triangle = np.linalg.qr(linear)
    return bool(np.abs(np.triu(triangle / np.diag(triangle)[:, None], 1)).max() <= MOST_SHEAR)
