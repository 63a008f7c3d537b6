"""Find the patient in a CT, for the crop to the body."""

from __future__ import annotations

import numpy as np
import torch
from monai.utils.type_conversion import convert_to_numpy
from scipy.ndimage import label as connected_components
from torch import Tensor

from ..base.errors import DataError
from ..data.pairs.requirements import source_name

__all__ = ["body_mask"]


def body_mask(image: Tensor, threshold: float = -500.0) -> Tensor:
    """Mark the largest connected region that is denser than ``threshold``: the body, without table and air.

    Lungs and gas inside the body are not marked, which does not matter for its bounding box. A table that
    touches the body in the thresholded image stays part of it.

    It is the ``select_fn`` of MONAI's ``CropForegroundd``::

        {"_target_": "CropForegroundd", "keys": ["image", "label"], "source_key": "image", "allow_smaller": true,
         "select_fn": {"_target_": "morphseek_monai.transforms.body_mask", "_mode_": "callable"}}

    Args:
        image: ``(1, D, H, W)``, Hounsfield units.
        threshold: HU; the default lies between air (-1000) or foam (-950) and fat (-100).

    Returns:
        bool ``(1, D, H, W)``.

    Raises:
        DataError: nothing is denser than ``threshold``.

    Example:
        >>> image = torch.full((1, 8, 8, 8), -1000.0)
        >>> image[:, 2:6, 2:6] = 40.0  # a patient
        >>> image[:, :, 7] = 200.0  # a table
        >>> body_mask(image).nonzero()[:, 1:].amax(0)
        tensor([5, 5, 7])
    """
    dense = np.asarray(convert_to_numpy(image))[0] > threshold
    components, count = connected_components(dense)
    if count == 0:
        raise DataError(
            f"image {source_name(image, 'array')} has no voxel above {threshold:g} HU;"
            " give a CT in Hounsfield units or change the crop"
        )
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # what is not dense
    return torch.from_numpy(components == sizes.argmax())[None]
