"""Images of places: MRtrix' warps, with its own programs as judge, SPM's and NiftyReg's by their definition."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.formats import base

from .scene import FIXED, LPS, alike, deformable, linear, same_points, save_pair, warped


def mrtrix(folder: Path, line: str) -> None:
    program, *rest = line.split()
    if shutil.which(program) is None:
        pytest.skip("no MRtrix")
    command = [program, *rest, "-quiet", "-force", "-nthreads", "1"]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)


def places() -> np.ndarray:  # type: ignore[type-arg]
    """Where each fixed voxel comes from, RAS mm, by hand."""
    voxels = np.moveaxis(np.indices(FIXED.size), 0, -1).reshape(-1, 3)
    found = deformable().map_points(voxels @ FIXED.affine[:3, :3].T + FIXED.affine[:3, 3])
    return found.reshape(*FIXED.size, 3).astype(np.float32)


def test_mrtrix_warps_alike(tmp_path: Path) -> None:
    save_pair(tmp_path)
    write_transform(tmp_path / "w.nii.gz", deformable(), "mrtrix", FIXED)
    np.testing.assert_allclose(np.asarray(nib.load(tmp_path / "w.nii.gz").dataobj), places(), atol=1e-3)
    same_points(tmp_path / "w.nii.gz", deformable())
    mrtrix(tmp_path, "mrtransform moving.nii.gz -warp w.nii.gz -interp linear out.nii")
    alike(np.asarray(nib.load(tmp_path / "out.nii").dataobj), warped(deformable()))


def test_mrtrix_takes_a_matrix(tmp_path: Path) -> None:
    save_pair(tmp_path)
    write_transform(tmp_path / "a.txt", linear(), "mrtrix")
    same_points(tmp_path / "a.txt", linear())
    onto = "-template fixed.nii.gz -interp linear -oversample 1"  # without the latter it averages within a voxel
    mrtrix(tmp_path, f"mrtransform moving.nii.gz -linear a.txt {onto} out.nii")
    alike(np.asarray(nib.load(tmp_path / "out.nii").dataobj), warped(linear()))


def test_a_matrix_of_mrtrix_is_read(tmp_path: Path) -> None:
    write_transform(tmp_path / "a.txt", linear(), "mrtrix")
    mrtrix(tmp_path, "transformcalc a.txt invert i.txt")
    mrtrix(tmp_path, "transformcalc i.txt invert b.txt")
    assert "command_history" in (tmp_path / "b.txt").read_text()
    same_points(tmp_path / "b.txt", linear())


def test_mrtrix_displacements_are_not_guessed_at(tmp_path: Path) -> None:
    write_transform(tmp_path / "w.nii.gz", deformable(), "mrtrix", FIXED)
    mrtrix(tmp_path, "warpconvert w.nii.gz deformation2displacement d.nii")
    with pytest.raises(DataError, match="d.nii is a NIfTI of displacements whose header does not say of what kind"):
        read_transform(tmp_path / "d.nii")


def saved(path: Path, values: np.ndarray, name: str = "", parameter: float = 0) -> Path:  # type: ignore[type-arg]
    image = nib.Nifti1Image(values[:, :, :, None], FIXED.affine)
    image.header.set_intent(1007, (), name)
    image.header["intent_p1"] = parameter
    nib.save(image, path)
    return path


def test_deformations_of_spm(tmp_path: Path) -> None:
    same_points(saved(tmp_path / "def.nii", places(), "Mapping"), deformable())
    same_points(saved(tmp_path / "y_subject.nii", places()), deformable())
    same_points(f"spm:{saved(tmp_path / 'other.nii', places())}", deformable())
    with pytest.raises(DataError, match=r"y_x\.nii must hold places in mm .* got displacements"):
        read_transform(saved(tmp_path / "y_x.nii", places() - base.positions(FIXED).astype(np.float32)))


def test_places_are_not_taken_for_displacements(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"other\.nii must hold displacements, got places in mm; write spm:"):
        read_transform(saved(tmp_path / "other.nii", places()))


def test_fields_of_niftyreg(tmp_path: Path) -> None:
    moved = places() - base.positions(FIXED).astype(np.float32)
    same_points(saved(tmp_path / "d.nii", places(), "NREG_TRANS", 0), deformable())
    same_points(saved(tmp_path / "u.nii", moved, "NREG_TRANS", 1), deformable())
    same_points(saved(tmp_path / "itk.nii", moved * LPS.astype(np.float32)), deformable())
    for kind in (2, 3, 5):
        with pytest.raises(DataError, match=f"spline grid of NiftyReg .kind {kind}.; .*reg_transform"):
            read_transform(saved(tmp_path / "s.nii", moved, "NREG_TRANS", kind))
