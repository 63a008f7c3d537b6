"""Fields of other programs become those of this package: SimpleITK and SciPy warp alike; no tool is needed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import map_coordinates, rotate

from morphseek_monai.fields import warp_labels

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "benchmarks"))
convert = importlib.import_module("comparison.convert")

SIZE = (20, 24, 28)


def blocks() -> np.ndarray:
    """A label map whose axes cannot be confused."""
    label = np.zeros(SIZE, dtype=np.uint8)
    label[4:12, 5:16, 6:24], label[8:16, 14:20, 4:12] = 1, 2
    return rotate(label, 25, axes=(0, 2), order=0, reshape=False)


def waves(scale: float) -> np.ndarray:
    """Smooth displacements ``(D, H, W, 3)``, another one along each axis."""
    d, h, w = np.meshgrid(*(np.linspace(0, np.pi, n) for n in SIZE), indexing="ij")
    return scale * np.stack([np.sin(d) * np.cos(h), 0.5 + np.sin(h + w), np.cos(w) * np.sin(d)], axis=-1)


def oblique() -> np.ndarray:
    """Affine of a turned grid of unequal spacing with a flipped axis."""
    a, b = np.cos(0.3), np.sin(0.3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]) @ np.diag([-2.0, 1.5, 3.0])
    affine[:3, 3] = [30, -40, 7]
    return affine


def itk_image(array: np.ndarray, affine: np.ndarray, vector: bool = False) -> sitk.Image:
    """SimpleITK's image of an array in NiBabel's order; the geometry is spelled out, independently of the package."""
    image = sitk.GetImageFromArray(np.swapaxes(array, 0, 2), isVector=vector)
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    return image


@pytest.mark.parametrize("order", ["itk", "world"])
def test_fields_in_millimetres_warp_as_itk_does(order: str) -> None:
    affine, label, field = oblique(), blocks(), waves(5.0)
    transform = sitk.DisplacementFieldTransform(itk_image(field, affine, vector=True))
    image = itk_image(label, affine)
    resampled = sitk.Resample(image, image, transform, sitk.sitkNearestNeighbor)
    expected = np.swapaxes(sitk.GetArrayFromImage(resampled), 0, 2)
    ddf = convert.from_itk(np.swapaxes(field, 0, 2), affine) if order == "itk" else convert.from_world(field, affine)
    warped = warp_labels(torch.from_numpy(label)[None, None], ddf, padding="zeros")[0, 0].numpy()
    assert ddf.dtype == torch.float32
    assert (expected != label).mean() > 0.05
    assert (warped != expected).mean() < 1e-3


def test_fields_in_voxels_warp_as_scipy_does() -> None:
    label, field = blocks(), waves(3.0)
    expected = map_coordinates(label, field.transpose(3, 0, 1, 2) + np.indices(SIZE), order=0)
    warped = warp_labels(torch.from_numpy(label)[None, None], convert.from_voxels(field), padding="zeros")[0, 0].numpy()
    assert (expected != label).mean() > 0.05
    assert (warped != expected).mean() < 1e-3
