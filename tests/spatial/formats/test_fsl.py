"""FSL's matrices and fields, with fslpy's own point maps and resampling as judge."""

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

from .scene import FIXED, MOVING, alike, deformable, field, image, linear, places, same_points, warped

fsl = pytest.importorskip("fsl.data.image")
MIRRORED = np.diag([-1.0, 1, 1, 1])


def flipped(grid: Grid) -> Grid:
    """The same voxels counted the other way along the first axis, which turns the sign of the determinant."""
    back = MIRRORED.copy()
    back[0, 3] = grid.size[0] - 1
    return Grid(grid.size, grid.affine @ back)


PAIRS: dict[str, dict[str, Any]] = {
    "positive": {"fixed": FIXED, "moving": MOVING},
    "negative": {"fixed": flipped(FIXED), "moving": flipped(MOVING)},
    "mixed": {"fixed": flipped(FIXED), "moving": MOVING},
}


def scans(grids: dict[str, Grid]) -> tuple[Any, Any]:
    """Source and reference as fslpy names them."""
    return fsl.Image(image(grids["moving"], 2)), fsl.Image(image(grids["fixed"], 1))


@pytest.mark.parametrize("name", PAIRS)
def test_a_matrix_of_flirt(name: str, tmp_path: Path) -> None:
    from fsl.transform import affine, flirt

    grids = PAIRS[name]
    write_transform(tmp_path / "a.mat", linear(), "fsl", **grids)
    assert all(line.endswith("  ") for line in (tmp_path / "a.mat").read_text().splitlines())  # as FLIRT's own
    source, reference = scans(grids)
    world = flirt.fromFlirt(flirt.readFlirt(str(tmp_path / "a.mat")), source, reference, "world", "world")
    found = affine.transform(places(), affine.invert(world))
    np.testing.assert_allclose(found, linear().map_points(places()), atol=1e-3)
    same_points(tmp_path / "a.mat", linear(), **grids)
    with pytest.raises(DataError, match="is FSL's matrix, which counts from the corners of the two images; convert"):
        read_transform(tmp_path / "a.mat", grids["fixed"])


@pytest.mark.parametrize("name", PAIRS)
def test_fslpy_reads_a_field(name: str, tmp_path: Path) -> None:
    from fsl.transform import fnirt, nonlinear

    grids = PAIRS[name]
    write_transform(tmp_path / "u.nii.gz", deformable(), "fsl", **grids)
    source, reference = scans(grids)
    warp = fnirt.readFnirt(str(tmp_path / "u.nii.gz"), source, reference)
    assert warp.deformationType == "relative"
    np.testing.assert_allclose(warp.transform(places(), "world", "world"), deformable().map_points(places()), atol=1e-3)
    same_points(tmp_path / "u.nii.gz", deformable(), **grids)
    if name == "positive":
        theirs = nonlinear.applyDeformation(source, warp, order=1, mode="constant")
        alike(theirs, warped(deformable()))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_field_of_fslpy_is_read(kind: str, name: str, tmp_path: Path) -> None:
    """Made from the definition: source place in FSL's coordinates of each voxel of the reference."""
    from fsl.transform import fnirt, nonlinear

    grids = PAIRS[name]
    source, reference = scans(grids)
    voxels = np.moveaxis(np.indices(FIXED.size), 0, -1).reshape(-1, 3)
    world = voxels @ grids["fixed"].affine[:3, :3].T + grids["fixed"].affine[:3, 3]
    into = source.getAffine("world", "fsl")
    there = deformable().map_points(world) @ into[:3, :3].T + into[:3, 3]
    if kind == "relative":
        start = reference.getAffine("voxel", "fsl")
        there = there - (voxels @ start[:3, :3].T + start[:3, 3])
    values = there.reshape(*FIXED.size, 3).astype(np.float32)
    warp = nonlinear.DeformationField(values, source, reference, header=reference.header, defType=kind)
    fnirt.toFnirt(warp).save(str(tmp_path / "u.nii.gz"))
    assert int(nib.load(tmp_path / "u.nii.gz").header["intent_code"]) == 2006
    same_points(tmp_path / "u.nii.gz", deformable(), **grids)
    with pytest.raises(DataError, match="u.nii.gz is a FNIRT field, which counts from the corners"):
        read_transform(tmp_path / "u.nii.gz")


def test_coefficients_are_read(tmp_path: Path) -> None:
    from fsl.transform import fnirt

    grids = PAIRS["positive"]
    values = np.random.default_rng(3).normal(0, 2, (9, 10, 8, 3)).astype(np.float32)
    header = nib.Nifti1Header()
    coefficients = nib.Nifti1Image(values, None, header)
    coefficients.header.set_zooms((4, 4, 4, 1))  # knots every four voxels
    coefficients.header.set_intent(2007, allow_unknown=True)
    for number, size in enumerate(FIXED.spacing, 1):
        coefficients.header[f"intent_p{number}"] = size
    coefficients.header.set_sform(np.eye(4), code=1)
    coefficients.header["qoffset_x"], coefficients.header["qoffset_y"], coefficients.header["qoffset_z"] = FIXED.size
    nib.save(coefficients, tmp_path / "c.nii.gz")
    source, reference = scans(grids)
    warp = fnirt.readFnirt(str(tmp_path / "c.nii.gz"), source, reference)
    expected = warp.transform(places(margin=6), "world", "world")
    found = map_points(read_transform(tmp_path / "c.nii.gz", **grids), places(margin=6))
    assert np.linalg.norm(expected - places(margin=6), axis=1).mean() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-3)
    coefficients.header.set_intent(2008, allow_unknown=True)
    nib.save(coefficients, tmp_path / "d.nii.gz")
    with pytest.raises(DataError, match="FSL's coefficients of intent 2008, which cannot be read; .*fnirtfileutils"):
        read_transform(tmp_path / "d.nii.gz", **grids)


def test_x5_of_fslpy_is_read(tmp_path: Path) -> None:
    from fsl.transform import fnirt, x5

    grids = PAIRS["positive"]
    source, reference = scans(grids)
    x5.writeLinearX5(str(tmp_path / "a.x5"), np.linalg.inv(linear().maps[0]), source, reference)
    same_points(tmp_path / "a.x5", linear())
    write_transform(tmp_path / "u.nii.gz", PointMap((field(),)), "fsl", **grids)
    warp = fnirt.fromFnirt(fnirt.readFnirt(str(tmp_path / "u.nii.gz"), source, reference), "world", "world")
    x5.writeNonLinearX5(str(tmp_path / "u.x5"), warp)
    same_points(tmp_path / "u.x5", PointMap((field(),)))


def test_other_endings(tmp_path: Path) -> None:
    for name, transform, ending in (("a.txt", linear(), r"\.mat"), ("u.h5", deformable(), r"\.nii\.gz")):
        with pytest.raises(DataError, match=f"must end in {ending}"):
            write_transform(tmp_path / name, transform, "fsl", **PAIRS["positive"])
