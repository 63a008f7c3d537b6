"""FreeSurfer's transforms, by surfa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import PointMap

from .scene import AFFINE, FIXED, MOVING, alike, deformable, displacements, field, linear, places, same_points, warped
from .scene import image as scan

sf = pytest.importorskip("surfa")
GRIDS: dict[str, Any] = {"fixed": FIXED, "moving": MOVING}


def geometry(grid):  # type: ignore[no-untyped-def]
    return sf.ImageGeometry(shape=grid.size, voxsize=grid.spacing, vox2world=grid.affine)


def volume():  # type: ignore[no-untyped-def]
    return sf.Volume(np.asarray(scan(MOVING, 2).dataobj), geometry=geometry(MOVING))


def test_surfa_reads_an_lta(tmp_path: Path) -> None:
    write_transform(tmp_path / "a.lta", linear(), "freesurfer", **GRIDS)
    affine = sf.load_affine(str(tmp_path / "a.lta"))
    np.testing.assert_allclose(affine.inv().transform(places()), linear().map_points(places()), atol=1e-3)
    assert np.allclose(affine.source.vox2world.matrix, MOVING.affine, atol=1e-4)
    assert np.allclose(affine.target.vox2world.matrix, FIXED.affine, atol=1e-4)


@pytest.mark.parametrize("space", ["world", "vox"])
def test_an_lta_of_surfa_is_read(space: str, tmp_path: Path) -> None:
    affine = sf.Affine(np.linalg.inv(AFFINE), source=geometry(MOVING), target=geometry(FIXED), space="world")
    affine.convert(space=space).save(str(tmp_path / "a.lta"))
    same_points(tmp_path / "a.lta", linear())


@pytest.fixture
def older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """surfa 0.6.3 reads binary tags by what NumPy 2.3 took away."""
    monkeypatch.setattr(np, "fromstring", lambda content, dtype: np.frombuffer(content, dtype), raising=False)


@pytest.mark.usefixtures("older_numpy")
@pytest.mark.parametrize("ending", [".mgz", ".nii.gz"])
def test_surfa_warps_alike(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"u{ending}"
    write_transform(path, deformable(), "freesurfer", **GRIDS)
    warp = sf.load_warp(str(path))
    if ending == ".nii.gz":
        warp.source = geometry(MOVING)  # which a NIfTI does not tell
    alike(warp.transform(volume()).data, warped(deformable()))
    same_points(path, deformable())


@pytest.mark.usefixtures("older_numpy")
@pytest.mark.parametrize("ending", [".mgz", ".nii.gz"])
@pytest.mark.parametrize("kind", ["abs_crs", "disp_crs", "abs_ras", "disp_ras"])
def test_a_warp_of_surfa_is_read(kind: str, ending: str, tmp_path: Path) -> None:
    values = displacements(field()).astype(np.float32)
    shapes = {"source": geometry(MOVING), "target": geometry(FIXED)}
    warp = sf.Warp(values, **shapes, format=sf.Warp.Format.disp_ras)
    warp.convert(getattr(sf.Warp.Format, kind)).save(str(tmp_path / f"u{ending}"))
    same_points(tmp_path / f"u{ending}", PointMap((field(),)))


def test_an_mgz_with_a_new_numpy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise ValueError("The binary mode of fromstring is removed, use frombuffer instead")

    write_transform(tmp_path / "u.mgz", deformable(), "freesurfer", **GRIDS)
    monkeypatch.setattr(np, "fromstring", gone)
    with pytest.raises(DataError, match=r"u.mgz cannot be read by surfa with this NumPy; .*mri_convert IN OUT.nii.gz$"):
        read_transform(tmp_path / "u.mgz")


@pytest.mark.usefixtures("older_numpy")
def test_what_is_no_transform(tmp_path: Path) -> None:
    frames = np.repeat(np.asarray(scan(MOVING, 2).dataobj)[..., None], 3, axis=3)
    sf.Volume(frames, geometry=geometry(MOVING)).save(str(tmp_path / "scan.mgz"))
    with pytest.raises(DataError, match="scan.mgz must be a warp of FreeSurfer, got an image"):
        read_transform(tmp_path / "scan.mgz")
    (tmp_path / "a.lta").write_text("type      = 0\nnxforms   = 1\n")
    with pytest.raises(DataError, match="a.lta cannot be read .*lta_convert"):
        read_transform(tmp_path / "a.lta")
    with pytest.raises(DataError, match="FreeSurfer's format needs both images; give --fixed FIXED"):
        write_transform(tmp_path / "b.lta", linear(), "freesurfer", FIXED)
    for name, transform, cure in (("b.txt", linear(), r"\.lta"), ("b.nii", deformable(), r"\.mgz or")):
        with pytest.raises(DataError, match=f"must end in {cure}"):
            write_transform(tmp_path / name, transform, "freesurfer", **GRIDS)
