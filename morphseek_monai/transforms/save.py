"""Write a registration as files: Learn2Reg's field, the warped image and labels, ITK's transform."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms.transform import Transform
from torch import Tensor

from ..base.files import atomic_output
from ..data.layouts.naming import pair_name
from ..data.scans.stored import read_stored, require_same_grid, write_like, write_nifti
from ..fields import resize_ddf, transfer_ddf, warp, warp_labels
from ..spatial.displacement_file import write_itk_transform

__all__ = ["SaveRegistrationd"]

OUTPUTS = ("disp", "warped", "warped_label", "transform")


class SaveRegistrationd(Transform):
    """Write the registration of one pair, on the fixed image's native grid.

    The network may have worked on resized, cropped or turned images: its field is brought to the native grids
    by :func:`~morphseek_monai.fields.transfer_ddf`, with the affines that the preprocessing left, and the
    original images, read again from their files, are warped once. (Items without affines are taken as resized,
    outer edges of the field of view coinciding as in MONAI's ``Resized``.) ``NAME`` is
    ``XXXX_MMMM_XXXX_MMMM`` (fixed first) for Learn2Reg file names, both file stems for others.

    ============================  ==========================================================================
    ``disp_NAME.nii.gz``          the field for Learn2Reg's evaluation: array ``(X, Y, Z, 3)`` float32,
                                  in voxels, components in the order of the array axes, identity affine, no
                                  vector intent; ``warped(x) = moving(x + disp(x))``
    ``warped_NAME.nii.gz``        the moving image, trilinear, float32, with the fixed image's header
    ``warped_label_NAME.nii.gz``  the moving label map, nearest neighbour, in its own dtype; if there is one
    ``transform_NAME.h5``         ITK displacement field transform in LPS mm: SimpleITK, ANTs, 3D Slicer
    ============================  ==========================================================================

    Where the native grids of the two images differ, ``disp`` still points into the moving file's array
    (voxels of the moving image at fixed voxel + ``disp``), and ``transform`` is in millimetres as ever.

    Every file appears whole or not at all. A postprocessing transform for decollated items of
    :class:`~morphseek_monai.data.PairDataset`::

        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "morphseek_monai.transforms.SaveRegistrationd", "output_dir": "@output_dir"}]}

    Args:
        output_dir: folder of the files, made if absent.
        key: item key of the field ``(3, D, H, W)``, in voxels of the network's grid.
        outputs: what to write, of ``disp``, ``warped``, ``warped_label``, ``transform``; all by default.
        short_names: ``disp_XXXX_XXXX`` without modalities; Learn2Reg accepts that for 0000 <- 0001 only.
        same_grid: refuse pairs whose native grids differ (default): a network that was trained on images of one
            grid starts from the position in the scanner. False where the preprocessing brings every image to one
            frame, as the crop to the body does for CTs of different patients; the items need their affines.

    Raises:
        ValueError: an unknown output; an item without affines and ``same_grid=False``.
        DataError: the images are on different grids.
    """

    def __init__(
        self,
        output_dir: str,
        key: str = "pred",
        outputs: Sequence[str] = OUTPUTS,
        short_names: bool = False,
        same_grid: bool = True,
    ) -> None:
        unknown = set(outputs) - set(OUTPUTS)
        if unknown:
            raise ValueError(f"SaveRegistrationd() 'outputs' must be of {OUTPUTS}, got {sorted(unknown)}")
        self.output_dir = Path(output_dir)
        self.key = key
        self.outputs = tuple(outputs)
        self.short_names = short_names
        self.same_grid = same_grid

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files.

        Args:
            data: ``pred`` ``(3, D, H, W)``, ``fixed_image``, ``moving_image``, optional ``moving_label``
                (paths), optional ``affine`` and ``moving_affine`` of the prepared images.

        Returns:
            the item with ``<output>_path`` for every file written.
        """
        fixed = read_stored(str(data["fixed_image"]), "fixed image")
        moving = read_stored(str(data["moving_image"]), "moving image")
        if self.same_grid:
            require_same_grid(fixed, moving)
        ddf = torch.as_tensor(data[self.key]).detach().cpu().float()
        if ddf.ndim != 4 or ddf.shape[0] != 3:
            raise ValueError(
                f"SaveRegistrationd() '{self.key}' must be a field (3, D, H, W), got {tuple(ddf.shape)}"
            )
        size = list(fixed.array.shape)
        if data.get("moving_affine") is not None:
            bring = partial(transfer_ddf, ddf[None], data["affine"], data["moving_affine"], size, fixed.affine)
            native = bring(moving.affine)
            in_space = native if np.array_equal(moving.affine, fixed.affine) else bring(fixed.affine)
        elif self.same_grid:
            native = in_space = resize_ddf(ddf[None], size)
        else:
            raise ValueError(
                "SaveRegistrationd() 'same_grid' must be True for items without affines, got False;"
                " load the images with LoadImaged"
            )

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
                write_like(path, _warp(warp, image, native, "replicate").numpy(), fixed)
            elif output == "warped_label":
                label = read_stored(str(data["moving_label"]), "moving label")
                require_same_grid(moving, label)
                # int64 holds every label dtype, also uint16 and floats, which torch cannot gather by
                ids = torch.from_numpy(label.array.astype(np.int64))
                warped = _warp(warp_labels, ids, native, "constant").numpy()
                write_like(path, warped.astype(label.dtype), fixed)
            else:
                with atomic_output(path) as temporary:
                    write_itk_transform(temporary, in_space, fixed.affine)
            result[f"{output}_path"] = str(path)
        return result


def _warp(how: Callable[[Tensor, Tensor], Tensor], volume: Tensor, ddf: Tensor, padding: str) -> Tensor:
    """Warp a volume ``(X, Y, Z)`` of any size: both are filled up to one size, as the warping functions want."""
    sizes = [(volume.shape[axis], ddf.shape[2 + axis]) for axis in (2, 1, 0)]
    onto_volume = [end for v, d in sizes for end in (0, max(d - v, 0))]
    onto_ddf = [end for v, d in sizes for end in (0, max(v - d, 0))]
    warped = how(F.pad(volume[None, None], onto_volume, mode=padding), F.pad(ddf, onto_ddf))
    return warped[0, 0, : ddf.shape[2], : ddf.shape[3], : ddf.shape[4]]
