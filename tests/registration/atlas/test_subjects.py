"""A head of any orientation, voxel size and place comes to the grid of the atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from morphseek_monai.registration.atlas.subjects import atlas_preprocessing, brighter_than_mean

SIZE, SPACING = (24, 28, 20), (2.0, 2.0, 2.0)
CENTRES = {1: (-9.0, 0.0, 4.0), 2: (8.0, 10.0, -3.0)}  # RAS mm; 1 is on the left


def write(folder: Path, affine: Any, shape: tuple[int, int, int]) -> dict[str, str]:
    """An ellipsoid with two balls in it, drawn at the RAS places of the grid's voxels."""
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    image = 300.0 * ((points / (20, 25, 16)) ** 2).sum(1).__lt__(1)
    label = np.zeros(len(points), np.uint8)
    for index, centre in CENTRES.items():
        inside = np.linalg.norm(points - centre, axis=1) < 6
        image[inside], label[inside] = 300 + 200 * index, index
    paths = {}
    for name, array in (("image", image.astype(np.int16)), ("label", label)):
        paths[name] = str(folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(array.reshape(shape), affine), paths[name])
    return paths


def placed(codes: tuple[tuple[int, int, int], tuple[int, int, int]], spacing: Any, shape: Any, turn: float = 0) -> Any:
    """An affine whose axes are ``codes`` (order, signs), with 0 mm in the middle, turned about the x axis."""
    order, signs = codes
    linear = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        linear[world, axis] = sign * spacing[axis]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("x", turn, degrees=True).as_matrix() @ linear
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def prepare(paths: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = atlas_preprocessing(SPACING, SIZE, "RAS", lambda image: image / 700)(paths)
    return result


@pytest.mark.parametrize(
    ("codes", "spacing", "shape", "turn"),
    [
        (((0, 1, 2), (1, 1, 1)), (2, 2, 2), (30, 32, 24), 0),
        (((0, 1, 2), (-1, 1, 1)), (1, 1, 1), (56, 60, 44), 0),
        (((2, 0, 1), (-1, 1, -1)), (3, 1.5, 1), (18, 40, 62), 0),
        (((0, 1, 2), (1, 1, 1)), (1, 1, 1.5), (60, 72, 50), 25),
    ],
    ids=["as it is", "LAS, 1 mm", "axes exchanged", "oblique header"],
)
def test_places_in_the_body(tmp_path: Path, codes: Any, spacing: Any, shape: Any, turn: float) -> None:
    prepared = prepare(write(tmp_path, placed(codes, spacing, shape, turn), shape))
    image, label = prepared["image"], prepared["label"]
    assert image.shape == label.shape == (1, *SIZE)
    middle = np.argwhere(np.asarray(image[0]) > 0.1).mean(0)
    for index, centre in CENTRES.items():
        found = np.argwhere(np.asarray(label[0]) == index).mean(0) - middle
        np.testing.assert_allclose(2 * found, np.array(centre), atol=1.5)
        assert float(image[label == index].mean()) * 700 == pytest.approx(300 + 200 * index, rel=0.1)


def test_a_wide_field_of_view_is_cut_and_a_narrow_one_padded(tmp_path: Path) -> None:
    wide = prepare(write(tmp_path, placed(((0, 1, 2), (1, 1, 1)), (2, 2, 2), (60, 60, 60)), (60, 60, 60)))
    narrow = prepare(write(tmp_path, placed(((0, 1, 2), (1, 1, 1)), (2, 2, 2), (22, 26, 18)), (22, 26, 18)))
    np.testing.assert_allclose(np.asarray(wide["image"]), np.asarray(narrow["image"]), atol=1e-3)


def test_foreground_is_above_noise(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(0, 20, (20, 20, 20))
    image[6:14, 7:13, 5:15] += 200
    found = np.argwhere(brighter_than_mean(image))  # type: ignore[arg-type]
    assert found.min(0).tolist() == [6, 7, 5] and found.max(0).tolist() == [13, 12, 14]
