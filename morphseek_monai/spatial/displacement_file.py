"""Displacement fields as ITK transform files, readable by SimpleITK, ANTs and 3D Slicer.

The only file of `morphseek_monai.fields` that touches the disk; it needs the `itk` package and is therefore
not imported by `morphseek_monai.fields` itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from morphseek_monai.base.lazy import lazy_module

from ..fields.world import ddf_to_world, lps_affine, world_to_ddf

itk = lazy_module("itk")

SUFFIXES = (".h5", ".hdf5", ".tfm")
# ITK wants orthonormal directions; headers stored in single precision miss this by about 1e-6.
ORTHONORMAL_TOLERANCE = 1e-4


def write_itk_transform(
    path: str | os.PathLike[str], ddf: torch.Tensor, affine: torch.Tensor | np.ndarray
) -> None:
    """Write a displacement field as an `itk::DisplacementFieldTransform`, in LPS mm, together with its grid.

    Resampling the moving image onto the fixed grid with this transform (`SimpleITK.Resample`,
    `antsApplyTransforms`, Slicer's *Harden transform*) gives `warp(moving, ddf)`. The file appears only once
    it is complete. Parameters are written in single precision, which readers that want double precision
    convert.

    Args:
        path: file to write, `.h5` or `.hdf5` (compressed binary) or `.tfm` (text, for small fields).
        ddf: one displacement field `(3, D, H, W)` or `(1, 3, D, H, W)`, in voxels.
        affine: affine of the fixed image, voxel -> RAS mm as in NiBabel, `(4, 4)`, without shear.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `path` has another suffix or no existing folder, `ddf` has the wrong shape, or
            `affine` is no affine, or a sheared one (ITK stores a grid as origin, spacing and rotation).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_itk_transform(f"{folder}/u.h5", torch.ones(1, 3, 4, 4, 4), torch.eye(4))
        ...     ddf, affine = read_itk_transform(f"{folder}/u.h5")
        >>> ddf.shape, ddf.unique()
        (torch.Size([1, 3, 4, 4, 4]), tensor([1.]))
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"write_itk_transform() 'path' must end in one of {', '.join(SUFFIXES)}, got {path}")
    if not path.parent.is_dir():
        raise ValueError(
            f"write_itk_transform() 'path' must lie in an existing folder, got {path}; create it first"
        )
    if ddf.dim() == 4:
        ddf = ddf[None]
    if ddf.dim() != 5 or ddf.shape[0] != 1:
        raise ValueError(
            f"write_itk_transform() 'ddf' must be one field (1, 3, D, H, W), got {list(ddf.shape)}"
        )
    origin, spacing, direction = _itk_geometry(affine)

    displacement = ddf_to_world(ddf.detach().cpu().double(), affine)[0]
    # ITK counts its first axis fastest: NumPy sees (W, H, D, 3), and ITK's axis 0 is our D.
    array = np.ascontiguousarray(displacement.permute(3, 2, 1, 0).numpy(), dtype=np.float32)
    image = itk.image_from_array(array, ttype=itk.Image[itk.Vector[itk.F, 3], 3])
    image.SetOrigin(origin.tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(itk.matrix_from_array(direction.numpy()))
    transform = itk.DisplacementFieldTransform[itk.F, 3].New()
    transform.SetDisplacementField(image)

    target = Path(os.path.abspath(path))  # loading a module, ITK leaves the working folder for a while
    part = target.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        writer = itk.TransformFileWriterTemplate[itk.F].New()  # itk.transformwrite() would convert to double precision
        writer.SetFileName(os.fspath(part))
        writer.SetUseCompression(True)
        writer.AddTransform(transform)
        writer.Update()
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def read_itk_transform(path: str | os.PathLike[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a displacement field written by `write_itk_transform`, or by another ITK program.

    Args:
        path: file holding exactly one `itk::DisplacementFieldTransform`.

    Returns:
        The displacement field `(1, 3, D, H, W)` float32, in voxels, and the affine of its grid, voxel -> RAS
        mm, `(4, 4)` float64.

    Raises:
        ValueError: when the file does not exist, ITK cannot read it, or it holds anything but one
            displacement field.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"read_itk_transform() 'path' must be an existing file, got {path}")
    try:
        transforms = itk.transformread(os.path.abspath(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        message = f"read_itk_transform() 'path' must be an ITK transform file, got {path} ({reason})"
        raise ValueError(message) from error
    kinds = [transform.GetNameOfClass() for transform in transforms]
    if kinds != ["DisplacementFieldTransform"]:
        raise ValueError(
            f"read_itk_transform() 'path' must hold one DisplacementFieldTransform, got {kinds} in {path}; "
            "convert it with SimpleITK.TransformToDisplacementField"
        )
    image = transforms[0].GetDisplacementField()

    affine = torch.eye(4, dtype=torch.float64)
    direction = torch.from_numpy(itk.array_from_matrix(image.GetDirection()))
    affine[:3, :3] = direction * torch.tensor(list(image.GetSpacing()), dtype=torch.float64)
    affine[:3, 3] = torch.tensor(list(image.GetOrigin()), dtype=torch.float64)
    affine[:2] *= -1  # LPS -> RAS
    displacement = torch.from_numpy(itk.array_from_image(image)).double().permute(3, 2, 1, 0)
    return world_to_ddf(displacement[None], affine).float().contiguous(), affine


def _itk_geometry(affine: torch.Tensor | np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Split a NiBabel affine into ITK's origin `(3,)`, spacing `(3,)` and direction `(3, 3)`."""
    matrix = lps_affine(affine, "write_itk_transform")
    spacing = torch.linalg.vector_norm(matrix[:3, :3], dim=0)
    direction = matrix[:3, :3] / spacing
    shear = float((direction.T @ direction - torch.eye(3, dtype=torch.float64)).abs().max())
    if shear > ORTHONORMAL_TOLERANCE:
        raise ValueError(
            f"write_itk_transform() 'affine' must have orthogonal axes, got a shear of {shear:.2g}; resample "
            "the fixed image to an orthogonal grid (nibabel.processing.resample_to_output) and register again"
        )
    return matrix[:3, 3], spacing, direction
