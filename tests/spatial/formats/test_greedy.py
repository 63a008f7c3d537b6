"""greedy reads the pair of files that is written for it, and what it writes is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform

from .scene import FIXED, alike, deformable, linear, same_points, save_pair, warped


def greedy(folder: Path, line: str) -> None:
    """In a process of its own, since its ITK and others do not get along."""
    pytest.importorskip("picsl_greedy")
    program = "import sys; from picsl_greedy import Greedy3D; Greedy3D().execute(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, line], cwd=folder, check=True, capture_output=True, timeout=300)


def test_greedy_warps_alike(tmp_path: Path) -> None:
    save_pair(tmp_path)
    names = [path.name for path in write_transform(tmp_path / "a", deformable(), "greedy", FIXED)]
    assert names == ["a_warp.nii.gz", "a_affine.mat"]
    greedy(tmp_path, f"-rf fixed.nii.gz -ri LINEAR -rm moving.nii.gz out.nii.gz -r {' '.join(names)}")
    alike(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), warped(deformable()))
    write_transform(tmp_path / "b", linear(), "greedy")
    greedy(tmp_path, "-rf fixed.nii.gz -ri LINEAR -rm moving.nii.gz out.nii.gz -r b_affine.mat")
    alike(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), warped(linear()))
    same_points(tmp_path / "b_affine.mat", linear())


@pytest.mark.slow
def test_what_greedy_registers_is_read(tmp_path: Path) -> None:
    save_pair(tmp_path)
    greedy(tmp_path, "-i fixed.nii.gz moving.nii.gz -a -dof 12 -m NCC 2x2x2 -n 10 -ia-identity -o g.mat")
    greedy(tmp_path, "-i fixed.nii.gz moving.nii.gz -it g.mat -m NCC 2x2x2 -n 10x5 -o g.nii.gz")
    greedy(tmp_path, "-rf fixed.nii.gz -ri LINEAR -rm moving.nii.gz out.nii.gz -r g.nii.gz g.mat")
    whole = compose_transforms([read_transform(tmp_path / "g.nii.gz"), read_transform(tmp_path / "g.mat")])
    alike(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), warped(whole))


def test_a_matrix_that_may_be_of_flirt_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "m.mat"
    np.savetxt(path, linear().maps[0])  # without the blank by which greedy's are told
    with pytest.raises(DataError, match=r"m\.mat may be FSL's .*; write fsl:.*m\.mat or ras:.*m\.mat$"):
        read_transform(path)
    same_points(f"ras:{path}", linear())
    same_points(f"greedy:{path}", linear())


def test_a_name_with_an_ending_is_refused(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.mat"):
        with pytest.raises(DataError, match="must be the beginning of two names"):
            write_transform(tmp_path / name, linear(), "greedy")
