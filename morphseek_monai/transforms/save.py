"""Write a registration as files: Learn2Reg's field, the warped image and labels, ITK's transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import Transform
from numpy.typing import NDArray

from ..data.errors import DataError
from ..data.files import replacing
from ..data.naming import pair_name
from ..data.nifti import Native, corners, read_native, require_same_grid, write_like, write_nifti
from ..fields import resize_ddf, warp, warp_labels
from ..fields.itk import write_itk_transform

__all__ = ["SaveRegistrationd"]

OUTPUTS = ("disp", "warped", "warped_label", "transform")
GRID_TOLERANCE = 0.01  # voxels of the native grid by which resizing may misplace the field of view


class SaveRegistrationd(Transform):
    """Write the registration of one pair, on the fixed image's native grid.

    The network may have worked on a resized grid: its field is brought to the native grid by
    :func:`~morphseek_monai.fields.resize_ddf` (outer edges of the field of view coincide, as MONAI's
    ``Resized``), and the original images, read again from their files, are warped once. Moving and fixed
    image must share their native grid. ``NAME`` is ``XXXX_MMMM_XXXX_MMMM`` (fixed first) for Learn2Reg file
    names, both file stems for others.

    ============================  ==========================================================================
    ``disp_NAME.nii.gz``          the field for Learn2Reg's evaluation: array ``(X, Y, Z, 3)`` float32,
                                  in voxels, components in the order of the array axes, identity affine, no
                                  vector intent; ``warped(x) = moving(x + disp(x))``
    ``warped_NAME.nii.gz``        the moving image, trilinear, float32, with the fixed image's header
    ``warped_label_NAME.nii.gz``  the moving label map, nearest neighbour, in its own dtype; if there is one
    ``transform_NAME.h5``         ITK displacement field transform in LPS mm: SimpleITK, ANTs, 3D Slicer
    ============================  ==========================================================================

    Every file appears whole or not at all. A postprocessing transform for decollated items of
    :class:`~morphseek_monai.data.PairDataset`::

        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "morphseek_monai.transforms.SaveRegistrationd", "output_dir": "@output_dir"}]}

    Args:
        output_dir: folder of the files, made if absent.
        key: item key of the field ``(3, D, H, W)``, in voxels of the network's grid.
        outputs: what to write, of ``disp``, ``warped``, ``warped_label``, ``transform``; all by default.
        short_names: ``disp_XXXX_XXXX`` without modalities; Learn2Reg accepts that for 0000 <- 0001 only.

    Raises:
        ValueError: an unknown output.
        DataError: the images are on different grids, or the network's grid is no resized native grid.
    """

    def __init__(
        self,
        output_dir: str,
        key: str = "pred",
        outputs: Sequence[str] = OUTPUTS,
        short_names: bool = False,
    ) -> None:
        unknown = set(outputs) - set(OUTPUTS)
        if unknown:
            raise ValueError(f"SaveRegistrationd() 'outputs' must be of {OUTPUTS}, got {sorted(unknown)}")
        self.output_dir = Path(output_dir)
        self.key = key
        self.outputs = tuple(outputs)
        self.short_names = short_names

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files.

        Args:
            data: ``pred`` ``(3, D, H, W)``, ``fixed_image``, ``moving_image``, optional ``moving_label``
                (paths), optional ``affine`` of the network's grid, to check it.

        Returns:
            the item with ``<output>_path`` for every file written.
        """
        fixed = read_native(str(data["fixed_image"]), "fixed image")
        moving = read_native(str(data["moving_image"]), "moving image")
        require_same_grid(fixed, moving)
        ddf = torch.as_tensor(data[self.key]).detach().cpu().float()
        if ddf.ndim != 4 or ddf.shape[0] != 3:
            raise ValueError(
                f"SaveRegistrationd() '{self.key}' must be a field (3, D, H, W), got {tuple(ddf.shape)}"
            )
        if data.get("affine") is not None:
            _require_resized(np.asarray(data["affine"]), tuple(ddf.shape[1:]), fixed)
        native = resize_ddf(ddf[None], list(fixed.array.shape))

        name = pair_name(fixed.path, moving.path, self.short_names)
        result = dict(data)
        for output in self.outputs:
            if output == "warped_label" and not data.get("moving_label"):
                continue
            path = self.output_dir / f"{output}_{name}{'.h5' if output == 'transform' else '.nii.gz'}"
            if output == "disp":
                write_nifti(path, native[0].permute(1, 2, 3, 0).contiguous().numpy(), np.eye(4))
            elif output == "warped":
                image = torch.from_numpy(moving.array.astype(np.float32))
                write_like(path, warp(image[None, None], native)[0, 0].numpy(), fixed)
            elif output == "warped_label":
                label = read_native(str(data["moving_label"]), "moving label")
                require_same_grid(fixed, label)
                # int64 holds every label dtype, also uint16 and floats, which torch cannot gather by
                ids = torch.from_numpy(label.array.astype(np.int64))
                warped = warp_labels(ids[None, None], native)[0, 0].numpy()
                write_like(path, warped.astype(label.dtype), fixed)
            else:
                with replacing(path) as temporary:
                    write_itk_transform(temporary, native, fixed.affine)
            result[f"{output}_path"] = str(path)
        return result


def _require_resized(affine: NDArray[Any], shape: tuple[int, ...], fixed: Native) -> None:
    """Check that the corners of the network's grid are those of the native grid."""
    ours = np.linalg.solve(fixed.affine, affine @ corners(shape))
    apart = np.abs(ours - corners(fixed.array.shape)).max()
    if not apart <= GRID_TOLERANCE:
        raise DataError(
            f"the network's grid {shape} is not a resized grid of fixed image {fixed.path} (corners"
            f" {apart:.3g} voxels apart); use Resized alone, without Orientationd, Spacingd or crop"
        )
