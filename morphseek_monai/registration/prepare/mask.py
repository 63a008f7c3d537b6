"""Where an image counts: masks as they are given, and what stands in for the rest of the image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan
from morphseek_monai.inference.similarity import FOREGROUND
from morphseek_monai.space.image import Image
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.transform import resample

__all__ = ["Mask", "continued", "read_mask", "foreground_of"]


FEW = 0.1  # of the voxels: fewer are told, since a lesion drawn as 1 would leave itself alone


class Mask(NamedTuple):
    """Where a scan counts.

    Attributes:
        name: its path, or what kind of object it was.
        array: ``(X, Y, Z)`` bool on the scan's grid, True counts.
        notices: remarks for the user.
    """

    name: str
    array: NDArray[np.bool_]
    notices: tuple[str, ...]


def read_mask(source: Any, scan: Scan, role: str) -> Mask:
    """Read the mask of a scan: 0 does not count, every other whole number does, as for ANTs' ``-x``, greedy's ``-gm``.

    Args:
        source: as for :func:`~morphseek_monai.data.scans.scan.read_scan`, on any grid.
        scan: what it belongs to.
        role: of the scan, for messages: ``"fixed"`` or ``"moving"``.

    Raises:
        DataError: it cannot be read, holds fractions or negative numbers, is empty, or marks nothing of the scan.
    """
    read = read_scan(source, f"{role} mask")
    who = f"{role} mask {read.name}"
    if not read.is_label or read.array.min() < 0:
        got = "fractions" if not read.is_label else "negative ones"
        raise DataError(
            f"{who} must hold whole numbers, 0 where nothing counts, got {got}; threshold it, or resample it by nearest"
            " neighbour"
        )
    array, notices = read.array != 0, read.notices
    if not array.any():
        raise DataError(f"{who} is empty (0 everywhere): nothing would count; draw it, or leave it out")
    if not read.grid.same_as(scan.grid):
        marks = resample(array.astype(np.uint8), read.affine, PointMap(()), scan.grid, "nearest", 0)
        array = marks != 0
        notices += (f"{who} lies on another grid than the {role} image: resampled to it by nearest neighbour",)
    if not array.any():
        raise DataError(f"{who} does not touch the {role} image: what it marks lies elsewhere; give this image's mask")
    if array.mean() < FEW:
        notices += (f"{who}: only {100 * array.mean():.2g} % of the {role} image count (1 counts, 0 does not)",)
    return Mask(read.name, array, notices)


def foreground_of(image: Image, threshold: float = FOREGROUND) -> NDArray[np.bool_]:
    """The foreground of a prepared image that counts, ``(X, Y, Z)``."""
    found: NDArray[np.bool_] = image.array > threshold
    return found if image.mask is None else found & (image.mask > 0.5)


def continued(image: Image) -> Image:
    """An image whose values go on smoothly where it does not count: nothing that was there is left, nor an edge.

    Means of blocks of two voxels that are known fill blocks that are not, and so on until all are filled (push and
    pull, Gortler et al., The lumigraph, SIGGRAPH 1996).
    """
    if image.mask is None:
        return image
    known = torch.from_numpy(np.ascontiguousarray(image.mask, dtype=np.float32))[None, None]
    values = torch.from_numpy(np.ascontiguousarray(image.array, dtype=np.float32))[None, None]
    return image._replace(array=_filled(values, known)[0, 0].numpy())


def _filled(values: Tensor, known: Tensor) -> Tensor:
    if bool(known.all()):
        return values
    share = F.avg_pool3d(known, 2, ceil_mode=True)
    means = F.avg_pool3d(values * known, 2, ceil_mode=True) / share.clamp(min=1e-6)
    coarse = _filled(means, (share > 0).float())
    return torch.where(known > 0, values, F.interpolate(coarse, size=values.shape[2:], mode="trilinear"))
