"""Measure a registration without labels and judge it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.evaluation.verdict import Check, judge
from morphseek_monai.fields import njd_percent, warp
from morphseek_monai.inference.similarity import WINDOW, local_correlation
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.native import NativeField, border_displacement
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.registration.prepare.resample import View

LEAST_SHOWN = 0.5  # of the fixed foreground


def similarities(pair: NetworkPair, views: Sequence[View]) -> list[float]:
    """Local correlation of moving images with the fixed one over the fixed foreground that they show, all contrasts.

    Beyond what was scanned, images are continued instead of dark, and do not count: an edge that two crops share would
    make them similar, one that they do not share unlike. What shows less than half of it is charged for it.
    """
    inside, reach = pair.scanned, [WINDOW // 2] * 6
    fixed = F.pad(pair.still.image[inside], reach, mode="replicate")
    fixed_foreground = pair.foreground[inside]
    values = []
    for view in views:
        shown = fixed_foreground & (view.valid[inside] > 0.5)
        image = F.pad(view.image[inside], reach, mode="replicate")
        share = float(shown.sum() / fixed_foreground.sum().clamp(min=1)) / LEAST_SHOWN
        values.append(float(local_correlation(fixed, image, F.pad(shown, reach))) * min(share, 1.0))
    return values


def moved(view: View, ddf: Tensor) -> View:
    """A view after a field on its grid, ``(1, 3, D, H, W)`` in voxels."""
    return View(warp(view.image, ddf), warp(view.valid, ddf))


def stage_similarities(pair: NetworkPair) -> dict[str, float]:
    """Local correlation with the fixed image ``before`` (by the headers) and after ``affine`` or ``initial``."""
    return dict(zip(("before", pair.begin), similarities(pair, [pair.by_headers, pair.view])))


def similarity_after(pair: NetworkPair, ddf: Tensor) -> float:
    """The same after a field on the network's grid, ``(1, 3, D, H, W)`` in its voxels."""
    return similarities(pair, [moved(pair.view, ddf)])[0]


def handedness(pair: NetworkPair) -> float | None:
    """How much more similar the aligned moving image is than its mirror image, aligned likewise.

    No anatomy is exactly symmetric. It is measured before the network, which evens the difference out. None where the
    bundle names no mirror.
    """
    if pair.mirrored is None:
        return None
    own, mirrored = similarities(pair, [pair.aligned, pair.mirrored])
    return own - mirrored


def rotation_angle(affine: NDArray[np.float64]) -> float:
    """Degrees that the rotation nearest to a ``(4, 4)`` turns by.

    Example:
        >>> round(rotation_angle(np.array([[0.0, -2, 0, 5], [3, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])), 6)
        90.0
    """
    u, _, vt = np.linalg.svd(affine[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))


def coverage(pair: NetworkPair, moving: Scan, ddf: Tensor | None) -> float:
    """Percentage of the fixed foreground whose counterpart lies inside the moving scan.

    Args:
        pair: on the network's grid.
        moving: the scan; what it is asked for is its field of view.
        ddf: with the alignment; None asks the headers alone.
    """
    fixed_foreground = pair.foreground[0, 0].cpu()
    voxels = fixed_foreground.nonzero().double().numpy()
    if len(voxels) == 0:
        return 0.0
    matrix = pair.grid.affine
    if ddf is not None:
        voxels = voxels + ddf[0].cpu()[:, fixed_foreground].T.double().numpy()
        matrix = pair.affine @ matrix
    where = voxels @ matrix[:3, :3].T + matrix[:3, 3]
    return float(100 * moving.grid.contains(where).mean())


def make_checks(
    pair: NetworkPair,
    ddf: Tensor,
    native: NativeField,
    similarity: dict[str, float],
    moving: Scan,
    model: RegistrationModel,
) -> list[Check]:
    """All checks of one registration, see :mod:`morphseek_monai.evaluation.verdict`.

    Args:
        pair: on the network's grid.
        ddf: the field there.
        native: the same on the grid of the result, with its inverse.
        similarity: ``before`` and ``after``; the latter without the optimisation, which raises that of wrong pairs too.
        moving: the moving scan.
        model: whose bundle has the limits.
    """
    numbers = {
        "similarity": similarity["after"],
        "gain": similarity["after"] - similarity["before"],
        "overlap": coverage(pair, moving, ddf),
        "header overlap": coverage(pair, moving, None),
        "volume": abs(float(np.log2(np.linalg.det(pair.affine[:3, :3])))),
        "rotation": rotation_angle(pair.affine),
        "folding": float(njd_percent(native.ddf)),
        "border": border_displacement(ddf, pair.foreground),
        "inverse error": native.inverse_error.p95 / float(pair.grid.spacing.mean()),
    }
    margin = handedness(pair)
    if margin is not None:
        numbers["handedness"] = margin
    return [judge(name, value, model.thresholds) for name, value in numbers.items()]
