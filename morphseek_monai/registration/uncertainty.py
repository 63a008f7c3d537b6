"""The uncertainty map of a registration: the expected error of its boundaries, in mm."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from morphseek_monai.fields import warp
from morphseek_monai.inference.expected_error import agreement, expected_error
from morphseek_monai.registration.fit import Fitted
from morphseek_monai.registration.native import native_map, transfer
from morphseek_monai.registration.prepare.finest import finest_grid, finest_pair
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.space.grid import Grid


def uncertainty_map(pair: NetworkPair, fitted: Fitted, target: Grid, coarser: float = 1.0) -> NDArray[Any]:
    """Expected error of a registration, from the images at the finest resolution that both of them have.

    Args:
        pair: that was registered.
        fitted: its field.
        target: RAS mm, of the map.
        coarser: factor on the spacing of the finest grid, to save memory.

    Returns:
        ``(X, Y, Z)`` mm, see :func:`~morphseek_monai.inference.expected_error.expected_error`. What the images do not
        show, and what a mask leaves out, has the largest value.
    """
    fixed, moving = pair.oriented
    grid = finest_grid(fixed, moving.grid.spacing, coarser)
    images = finest_pair(*pair.contrasts, pair.points, grid)
    warped, seen = images.moving, images.valid
    if fitted.ddf is not None:
        ddf = fitted.ddf.cpu() if fitted.grid.same_as(grid) else transfer(fitted.ddf, fitted.grid, grid)
        warped, seen = warp(warped, ddf), warp(seen, ddf)
    seen = (seen > 0.5).float() if images.counts is None else (seen > 0.5) * images.counts
    device = pair.image.device
    found = agreement(*(image.to(device) for image in (images.fixed, warped, seen)))
    return expected_error(native_map(found, grid, target), grid.spacing)
