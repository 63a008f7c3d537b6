"""Everything that a registration is given beside numbers and words: scans, masks, a start, landmarks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from morphseek_monai.registration.options import RegisterOptions
from morphseek_monai.registration.prepare.initial import read_initial
from morphseek_monai.registration.prepare.landmarks import PointPair, read_landmarks
from morphseek_monai.registration.prepare.pair import Affine
from morphseek_monai.registration.prepare.scan_set import ScanSet, check_contrasts, read_scan_set

__all__ = ["Given", "read_given"]


class Given(NamedTuple):
    """What was read.

    Attributes:
        fixed: what stays.
        moving: what is brought to it.
        start: the affine, how to find it, or the map to start from.
        landmarks: to respect, or None.
        notices: remarks for the user.
    """

    fixed: ScanSet
    moving: ScanSet
    start: Affine
    landmarks: PointPair | None
    notices: tuple[str, ...]

    @property
    def more(self) -> int:
        """Contrasts and masks that take memory beside the first contrasts."""
        return len(self.fixed.others) + any(one.mask is not None for one in (self.fixed, self.moving))


def read_given(fixed: Any, moving: Any, options: RegisterOptions) -> Given:
    """Read all of it, before a network is loaded.

    Args:
        fixed: a scan, or a list of contrasts.
        moving: likewise.
        options: name the rest.

    Raises:
        DataError: something cannot be read, or does not belong together.
    """
    sets = (
        read_scan_set(fixed, "fixed", options.frames[0], options.fixed_mask),
        read_scan_set(moving, "moving", options.frames[1], options.moving_mask),
    )
    check_contrasts(*sets)
    scans = sets[0].scan, sets[1].scan
    grids = scans[0].grid, scans[1].grid
    notices = [*sets[0].notices, *sets[1].notices]
    if grids[0].same_as(grids[1]) and np.array_equal(scans[0].array, scans[1].array):
        notices.append("fixed and moving are the same image, voxel by voxel")
    start: Affine = options.affine
    if options.initial_transform is not None:
        start = read_initial(options.initial_transform, *grids)
    landmarks = None
    if options.fixed_points is not None:
        landmarks = read_landmarks(options.fixed_points, options.moving_points, options.space, grids)
        notices += landmarks.notices
    return Given(*sets, start, landmarks, tuple(notices))
