"""What is given of one subject: a scan, further contrasts of it, a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan
from morphseek_monai.space.image import Image

from .mask import Mask, read_mask
from .resample import onto_grid

__all__ = ["MOST_CONTRASTS", "ScanSet", "check_contrasts", "read_scan_set"]

MOST_CONTRASTS = 9  # their files are numbered by one digit


class ScanSet(NamedTuple):
    """Scans of one subject in one place.

    Attributes:
        scan: the first contrast, whose grid is that of the subject.
        others: further contrasts on grids of their own.
        mask: where all of them count; None for everywhere.
        notices: remarks for the user.
    """

    scan: Scan
    others: tuple[Scan, ...] = ()
    mask: Mask | None = None
    notices: tuple[str, ...] = ()

    def contrasts(self) -> list[NDArray[Any]]:
        """All contrasts on the grid of the first, ``(X, Y, Z)`` each; the border of a smaller one is continued."""
        grid = self.scan.grid
        arrays = [self.scan.array]
        for other in self.others:
            same = other.grid.same_as(grid)
            image = Image(other.array, other.affine)
            arrays.append(other.array if same else onto_grid(image, grid, np.eye(4), None))
        return arrays


def read_scan_set(source: Any, role: str, frame: int | None = None, mask: Any = None) -> ScanSet:
    """Read what is given of one subject.

    Args:
        source: what :func:`~morphseek_monai.data.scans.scan.read_scan` reads, or a list of it, a contrast each.
        role: ``"fixed"`` or ``"moving"``.
        frame: volume of 4-D images.
        mask: where it counts, see :func:`~.mask.read_mask`; None for everywhere.

    Raises:
        DataError: one of them cannot be read, there are none or more than nine, a contrast lies elsewhere than the
            first, or the mask is of no use.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not 1 <= len(sources) <= MOST_CONTRASTS:
        raise DataError(
            f"{role} must be a scan or 1 to {MOST_CONTRASTS} contrasts of one subject, got {len(sources)}; name them"
        )
    scan, *others = (read_scan(one, f"{role} image", frame) for one in sources)
    notices = [*scan.notices]
    for other in others:
        notices += [*other.notices, *_told(scan, other, role)]
    read = None if mask is None else read_mask(mask, scan, role)
    return ScanSet(scan, tuple(others), read, (*notices, *(() if read is None else read.notices)))


def check_contrasts(fixed: ScanSet, moving: ScanSet) -> None:
    """Refuse contrasts that do not pair up.

    Raises:
        DataError: one subject has more than the other.
    """
    counts = [1 + len(one.others) for one in (fixed, moving)]
    if counts[0] != counts[1]:
        raise DataError(
            f"fixed and moving must be the same contrasts in the same order, got {counts[0]} and {counts[1]}; leave out"
            " those that only one of them has"
        )


def _told(scan: Scan, other: Scan, role: str) -> Sequence[str]:
    """What is told of a contrast on another grid."""
    if other.grid.same_as(scan.grid):
        return ()
    ends = np.indices(scan.grid.size)[:, ::2, ::2, ::2].reshape(3, -1)
    beyond = 1 - other.grid.contains(Image(scan.array, scan.affine).position(ends.T)).mean()
    if beyond == 1:
        raise DataError(
            f"{role} image {other.name} lies elsewhere than {scan.name}, the first contrast; correct its header, or"
            " register the contrasts first"
        )
    more = f", {100 * beyond:.0f} % of which it does not show" if beyond >= 0.005 else ""
    return (f"{role} image {other.name} lies on another grid than the first contrast: resampled to it{more}",)
