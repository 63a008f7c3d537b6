"""Displacement fields as images, by ITK's rule, against SimpleITK."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import PointMap

from .scene import FIXED, LPS, alike, deformable, displacements, field, linear, places, same_points, save_pair, warped

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


def by_simpleitk(path: Path) -> sitk.DisplacementFieldTransform:
    return sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64))


@pytest.mark.parametrize("ending", ENDINGS)
def test_simpleitk_reads_what_is_written(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"u{ending}"
    assert write_transform(path, deformable(), "itk-field", FIXED) == [path]
    phi = by_simpleitk(path)
    found = np.array([phi.TransformPoint(point) for point in (places() * LPS).tolist()]) * LPS
    np.testing.assert_allclose(found, deformable().map_points(places()), atol=1e-3)


def test_simpleitk_warps_alike(tmp_path: Path) -> None:
    save_pair(tmp_path)
    write_transform(tmp_path / "u.nii.gz", deformable(), "itk-field", FIXED)
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, by_simpleitk(tmp_path / "u.nii.gz")))
    alike(theirs.transpose(2, 1, 0), warped(read_transform(tmp_path / "u.nii.gz")))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("precision", [sitk.sitkVectorFloat32, sitk.sitkVectorFloat64])
def test_what_simpleitk_writes_is_read(ending: str, precision: int, tmp_path: Path) -> None:
    values = (displacements(field()) * LPS).transpose(2, 1, 0, 3)
    image = sitk.GetImageFromArray(values, isVector=True)
    lps = np.diag([-1.0, -1, 1, 1]) @ FIXED.affine
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(FIXED.spacing.tolist())
    image.SetDirection((lps[:3, :3] / FIXED.spacing).ravel().tolist())
    sitk.WriteImage(sitk.Cast(image, precision), str(tmp_path / f"u{ending}"))
    same_points(tmp_path / f"u{ending}", PointMap((field(),)))


def test_intent_1006_is_ras_as_simpleitk_has_it(tmp_path: Path) -> None:
    write_transform(tmp_path / "lps.nii.gz", deformable(), "itk-field", FIXED)
    lps = nib.load(tmp_path / "lps.nii.gz")
    ras = nib.Nifti1Image(np.asarray(lps.dataobj) * LPS, lps.affine, lps.header)
    ras.header.set_intent(1006)
    nib.save(ras, tmp_path / "ras.nii.gz")
    same_points(tmp_path / "ras.nii.gz", deformable())
    phi, point = by_simpleitk(tmp_path / "ras.nii.gz"), places()[0]
    found = np.array(phi.TransformPoint((point * LPS).tolist())) * LPS
    np.testing.assert_allclose(found, deformable().map_points(point)[0], atol=1e-3)


def test_a_plain_affine_is_no_composite(tmp_path: Path) -> None:
    for ending in (".tfm", ".txt", ".mat"):
        write_transform(tmp_path / f"a{ending}", linear())
        assert sitk.ReadTransform(str(tmp_path / f"a{ending}")).GetName() == "AffineTransform"
        same_points(tmp_path / f"a{ending}", linear())


class TestErrors:
    def field_image(self, tmp_path: Path) -> tuple[Path, nib.Nifti1Image]:
        write_transform(tmp_path / "u.nii.gz", deformable(), "itk-field", FIXED)
        return tmp_path / "v.nii.gz", nib.load(tmp_path / "u.nii.gz")

    def test_a_field_in_mat(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"t\.mat must be linear, .* got AffineTransform, DisplacementField"):
            write_transform(tmp_path / "t.mat", deformable())
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, value: float, tmp_path: Path) -> None:
        path, source = self.field_image(tmp_path)
        values = np.array(source.dataobj)
        values[3, 4, 5, 0, 1] = values[0, 0, 0] = value
        nib.save(nib.Nifti1Image(values, source.affine, source.header), path)
        with pytest.raises(DataError, match="must hold finite numbers, got NaN or infinity in 2 of 13440 voxels"):
            read_transform(path)

    def test_two_dimensions(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.Image([8, 9], sitk.sitkVectorFloat32, 2), str(tmp_path / "flat.nrrd"))
        with pytest.raises(DataError, match="flat.nrrd must be a 3-D image of 3 components, got 2-D of 2"):
            read_transform(tmp_path / "flat.nrrd")
        path, source = self.field_image(tmp_path)
        flat = nib.Nifti1Image(np.array(source.dataobj)[..., :2], source.affine)
        flat.header.set_intent(1007)
        nib.save(flat, path)
        with pytest.raises(DataError, match=r"must be an image of displacements, .* got \(24, .*, 2\) with 1007"):
            read_transform(path)

    def test_an_image(self, tmp_path: Path) -> None:
        save_pair(tmp_path)
        with pytest.raises(DataError, match=r"must be an image of displacements.*got \(24, 28, 20\) with 0"):
            read_transform(tmp_path / "fixed.nii.gz")

    def test_displacements_without_a_kind(self, tmp_path: Path) -> None:
        path, source = self.field_image(tmp_path)
        nib.save(nib.Nifti1Image(np.array(source.dataobj)[:, :, :, 0], source.affine), path)
        with pytest.raises(DataError, match="is a NIfTI of displacements whose header does not say of what kind"):
            read_transform(path)

    def test_truncated(self, tmp_path: Path) -> None:
        path, source = self.field_image(tmp_path)
        path = path.with_name("v.nii")
        nib.save(source, path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(DataError, match=r"v\.nii cannot be read"):
            read_transform(path)

    def test_no_grid(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="a displacement field needs a grid; give --fixed FIXED"):
            write_transform(tmp_path / "u.nii.gz", linear(), "itk-field")

    def test_unknown_names(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must be one of afni, ants, .* got 'elastix'"):
            write_transform(tmp_path / "u", linear(), "elastix")
        write_transform(tmp_path / "u.tfm", linear())
        with pytest.raises(DataError, match="u.tfm is no file of x5; leave x5: out"):
            read_transform(f"x5:{tmp_path / 'u.tfm'}")
