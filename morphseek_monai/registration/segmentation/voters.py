"""An atlas registered to a scan, on disk and read slab by slab: memory does not grow with the number of atlases."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap, slabs

__all__ = ["Voters", "store_voters"]


class Voters(NamedTuple):
    """The eight voxels of an atlas around each voxel of a scan, which vote by their share in linear interpolation.

    That is the fusion of linearly interpolated label probabilities, without one volume per label.

    Attributes:
        labels: of the atlas, on its own grid, int32.
        places: ``(3, X, Y, Z)`` float32, where the voxels of the scan lie in the atlas, in voxels; on disk.
        weights: ``(X, Y, Z)`` float32, how much the atlas counts, 0 where it sees nothing; on disk.
    """

    labels: NDArray[np.int32]
    places: NDArray[np.float32]
    weights: NDArray[np.float32]

    def votes(self, part: slice) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """What they say of some planes of the scan.

        Args:
            part: of the first axis, of ``d`` planes.

        Returns:
            labels and weights, ``(8, d, Y, Z)`` each.
        """
        places = np.asarray(self.places[:, part])
        weights = np.asarray(self.weights[part])
        low = np.floor(places)
        share = places - low
        size = self.labels.shape
        index = [[(low[a] + step).clip(0, n - 1).astype(np.intp) for step in (0, 1)] for a, n in enumerate(size)]
        parts = [(1 - share[a], share[a]) for a in range(3)]
        corners = list(product((0, 1), repeat=3))
        labels = np.stack([self.labels[index[0][i], index[1][j], index[2][k]] for i, j, k in corners])
        return labels, np.stack([weights * parts[0][i] * parts[1][j] * parts[2][k] for i, j, k in corners])


def store_voters(folder: Path, labels: Scan, points: PointMap, weights: NDArray[Any], grid: Grid) -> Voters:
    """Write what the fusion needs of an atlas.

    Args:
        folder: for three files, made if missing.
        labels: label map of the atlas on its own grid.
        points: points of the scan -> points of the atlas.
        weights: ``(X, Y, Z)`` of the scan's grid.
        grid: of the scan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = open_memmap(folder / "labels.npy", "w+", np.int32, labels.array.shape)
    ids[...] = labels.array
    places = open_memmap(folder / "places.npy", "w+", np.float32, (3, *grid.size))
    counted = open_memmap(folder / "weights.npy", "w+", np.float32, grid.size)
    bounds = np.array(labels.array.shape).reshape(3, 1, 1, 1) - 0.5
    for part in slabs(grid):
        where = points.places(grid, part, labels.affine).numpy()
        places[:, part] = where
        seen = ((where >= -0.5) & (where < bounds)).all(axis=0)
        counted[part] = np.where(seen, weights[part], 0)
    return Voters(ids, places, counted)
