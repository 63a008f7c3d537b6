"""Move the images of a pair by random affine maps and smooth deformations, interpolated once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..fields import warp, warp_labels
from ..fields.separable import apply_separable, resize_matrix

__all__ = ["RandWarpd"]


class RandWarpd(RandomizableTransform):
    """Warp images and label maps by a random field: both of a pair alike, or each by its own.

    Alike varies the anatomy and the field of view and leaves the task as it is; each by its own is what is to be
    registered: what a coarse affine alignment leaves, and how two subjects differ. MONAI's ``RandAffined`` and
    ``RandSmoothDeformd`` do one after the other, which blurs the image twice, and the latter wants the size of the grid
    beforehand. What lies beyond the image is its edge.

    Args:
        image_key: images ``(N, D, H, W)``, interpolated linearly; skipped where they are empty (all zero).
        label_key: their label maps ``(N, D, H, W)``, integer, nearest neighbour.
        prob: how often.
        shared: one field for all N (True), or one for each (False, default).
        rotate: largest angle about each axis, radians.
        zoom: range of the magnification; the same along all axes.
        shift: largest shift as a share of each axis.
        deform: largest displacement of the control points in units of their distance. Up to 1/6 nothing can fold, at
            0.4 a voxel in ten thousand does.
        control: range of the number of control points along each axis: few make long waves, many short ones.

    Raises:
        ValueError: a range is out of order or out of bounds, or images and label maps differ in shape.

    Example:
        >>> label = torch.zeros(2, 16, 16, 16, dtype=torch.uint8)
        >>> label[:, 4:12, 4:12, 4:12] = 1
        >>> item = RandWarpd(zoom=(1.4, 1.5)).set_random_state(0)({"image": label.float(), "label": label})
        >>> bool((item["label"].flatten(1).sum(1) > 8**3).all()), bool((item["label"][0] != item["label"][1]).any())
        (True, True)
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 1.0,
        shared: bool = False,
        rotate: float = 0.1,
        zoom: Sequence[float] = (0.95, 1.05),
        shift: float = 0.03,
        deform: float = 0.3,
        control: Sequence[int] = (4, 8),
    ) -> None:
        super().__init__(prob)
        for name, pair, least in (("zoom", zoom, 0.01), ("control", control, 2)):
            if len(pair) != 2 or not least <= pair[0] <= pair[1]:
                raise ValueError(f"RandWarpd() '{name}' must be (low, high), at least {least}, got {tuple(pair)}")
        for name, value in (("rotate", rotate), ("shift", shift), ("deform", deform)):
            if value < 0:
                raise ValueError(f"RandWarpd() '{name}' must not be negative, got {value}")
        self.image_key = image_key
        self.label_key = label_key
        self.shared = shared
        self.rotate = rotate
        self.zoom = (float(zoom[0]), float(zoom[1]))
        self.shift = shift
        self.deform = deform
        self.control = (int(control[0]), int(control[1]))

    def randomize(self, data: int) -> None:
        """Draw the fields.

        Args:
            data: how many.
        """
        super().randomize(None)
        self._draws = [self._draw() for _ in range(data)] if self._do_transform else []

    def _draw(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        rotation = Rotation.from_euler("xyz", self.R.uniform(-self.rotate, self.rotate, 3)).as_matrix()
        zoom = np.exp(self.R.uniform(*np.log(self.zoom)))
        points = self.R.randint(self.control[0], self.control[1] + 1)
        deform = self.R.uniform(-self.deform, self.deform, (3, points, points, points))
        return rotation / zoom, self.R.uniform(-self.shift, self.shift, 3), deform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        image = convert_to_tensor(result[self.image_key], track_meta=False)
        label = convert_to_tensor(result[self.label_key], track_meta=False)
        if image.shape != label.shape:
            raise ValueError(
                f"RandWarpd() '{self.label_key}' must have the shape of '{self.image_key}', {tuple(image.shape)}, got"
                f" {tuple(label.shape)}; resample it to the image (nearest neighbour)"
            )
        self.randomize(1 if self.shared else len(image))
        if not self._do_transform:
            return result
        ddf = torch.cat([_field(*draw, image.shape[1:]) for draw in self._draws])
        batch = 0 if self.shared else 1  # images as channels of one item, or as items
        if bool(image.any()):
            warped = warp(image.float().unsqueeze(batch), ddf).view(image.shape)
            result[self.image_key] = convert_to_dst_type(warped, result[self.image_key])[0]
        labels = warp_labels(label.unsqueeze(batch), ddf, padding="border").view(label.shape)
        result[self.label_key] = convert_to_dst_type(labels, result[self.label_key], dtype=label.dtype)[0]
        return result


def _field(
    matrix: NDArray[np.float64], shift: NDArray[np.float64], deform: NDArray[np.float64], size: Sequence[int]
) -> Tensor:
    """``u(x) = (matrix - 1) (x - centre) + shift + deformation``, ``(1, 3, D, H, W)`` float32, voxels."""
    step = np.array(size) / deform.shape[1]
    points = torch.from_numpy(deform * step[:, None, None, None]).float()
    ddf = apply_separable(points, [resize_matrix(deform.shape[1], n) for n in size])[None]
    for axis in range(3):
        ddf[0, axis] += float(shift[axis] * size[axis])
        for other in range(3):
            place = torch.arange(size[other]) - (size[other] - 1) / 2
            slope = float(matrix[axis, other] - (axis == other))
            ddf[0, axis] += (slope * place).view([-1 if i == other else 1 for i in range(3)]).float()
    return ddf
