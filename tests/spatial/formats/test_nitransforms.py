"""NiTransforms as the judge of formats whose programs are not Python's: AFNI's matrices and warps, X5, LTA, FLIRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.transform import map_points

from .scene import AFFINE, FIXED, MOVING, deformable, displacements, field, linear, places, same_points, save_pair

nt = pytest.importorskip("nitransforms")
GRIDS: dict[str, Any] = {"fixed": FIXED, "moving": MOVING}
LINEAR = {"afni": ".aff12.1D", "fsl": ".mat", "freesurfer": ".lta", "itk": ".tfm", "x5": ".x5"}
NAMES = {"freesurfer": "lta", "x5": "X5"}  # NiTransforms' for it
UPRIGHT = Grid(FIXED.size, np.array([[-2.0, 0, 0, 24], [0, 0, 1.5, -18], [0, 2.5, 0, -30], [0, 0, 0, 1]]))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    save_pair(tmp_path)
    return {"reference": str(tmp_path / "fixed.nii.gz"), "moving": str(tmp_path / "moving.nii.gz")}


@pytest.mark.parametrize("to", LINEAR)
def test_it_reads_what_is_written(to: str, images: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / f"a{LINEAR[to]}"
    write_transform(path, linear(), to, **GRIDS)
    found = nt.linear.Affine.from_filename(path, fmt=NAMES.get(to, to), **images)
    np.testing.assert_allclose(found.map(places()), linear().map_points(places()), atol=1e-3)
    same_points(path, linear(), **GRIDS)


@pytest.mark.parametrize("to", ["afni", "fsl", "itk", "x5"])  # its LTA names the two volumes the wrong way round
def test_what_it_writes_is_read(to: str, images: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / f"a{LINEAR[to]}"
    affine = nt.linear.Affine(AFFINE, reference=images["reference"])
    affine.to_filename(path, fmt=NAMES.get(to, to), moving=images["moving"])
    if to == "fsl":  # written without the blanks by which FLIRT's are told
        with pytest.raises(DataError, match=r"a\.mat may be FSL's"):
            read_transform(path, **GRIDS)
        same_points(f"fsl:{path}", linear(), **GRIDS)
    else:
        same_points(path, linear(), **GRIDS)


def test_an_x5_field_is_that_of_nitransforms(tmp_path: Path) -> None:
    write_transform(tmp_path / "u.x5", deformable(), "x5", **GRIDS)
    found = nt.nonlinear.DenseFieldTransform.from_filename(tmp_path / "u.x5")
    np.testing.assert_allclose(found.map(places()), deformable().map_points(places()), atol=1e-3)
    same_points(tmp_path / "u.x5", deformable())
    reference = nib.Nifti1Image(np.zeros(FIXED.size), FIXED.affine)
    theirs = nt.nonlinear.DenseFieldTransform(displacements(field()), reference=reference)
    nt.io.x5.to_filename(tmp_path / "v.x5", [theirs.to_x5()])
    same_points(tmp_path / "v.x5", PointMap((field(),)))
    nt.io.x5.to_filename(tmp_path / "w.x5", [theirs.to_x5(), theirs.to_x5()])
    with pytest.raises(DataError, match="must hold one transform, got 2"):
        read_transform(tmp_path / "w.x5")


def test_an_afni_warp_is_that_of_nitransforms(tmp_path: Path) -> None:
    there = UPRIGHT.affine @ np.linalg.inv(FIXED.affine)
    moved = PointMap((np.linalg.inv(there), *deformable().maps))
    write_transform(tmp_path / "u.nii.gz", moved, "afni", UPRIGHT)
    found = nt.nonlinear.DenseFieldTransform.from_filename(tmp_path / "u.nii.gz", fmt="afni")
    voxels = np.indices(UPRIGHT.size).reshape(3, -1).T[::97]
    points = voxels @ UPRIGHT.affine[:3, :3].T + UPRIGHT.affine[:3, 3]
    np.testing.assert_allclose(found.map(points), moved.map_points(points), atol=1e-3)
    ours = map_points(read_transform(tmp_path / "u.nii.gz"), points)
    np.testing.assert_allclose(ours, moved.map_points(points), atol=1e-3)
    with pytest.raises(DataError, match=r"is on an oblique grid, which AFNI's warps ignore"):
        write_transform(tmp_path / "v.nii.gz", deformable(), "afni", **GRIDS)


def test_afni_without_images(tmp_path: Path) -> None:
    write_transform(tmp_path / "a.aff12.1D", linear(), "afni", **GRIDS)
    with pytest.raises(DataError, match="is AFNI's matrix, which .*; convert it with them"):
        read_transform(tmp_path / "a.aff12.1D")
    (tmp_path / "b.aff12.1D").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    with pytest.raises(DataError, match="must hold one row of 12 numbers, got 3 rows"):
        read_transform(tmp_path / "b.aff12.1D", **GRIDS)
