"""The whole way: foreign tools agree with the files, headers do not matter, bad pairs do not come out as succeeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.spatial.transform import map_points

from ..scenes import Brains, centred, turned


@pytest.fixture(scope="module")
def oblique(brains: Brains) -> tuple[Any, Any]:
    """Oblique, anisotropic images of different sizes, far from the origin."""
    fixed = brains.resampled(0, centred((62, 56, 46), (3.2, 3.6, 4.3), turned((12, -9, 20))))
    moving = brains.resampled(1, centred((50, 60, 42), (4.0, 3.4, 5.0), turned((-6, 14, -10))))
    place = turned((0, 0, 0), (15, -8, 30))
    return nib.Nifti1Image(fixed.get_fdata(dtype=np.float32), place @ fixed.affine), nib.Nifti1Image(
        moving.get_fdata(dtype=np.float32), place @ moving.affine
    )


@pytest.fixture(scope="module")
def saved(oblique: tuple[Any, Any], model: RegistrationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the registered oblique pair, with its inputs."""
    folder = tmp_path_factory.mktemp("registered")
    for name, image in zip(("fixed", "moving"), oblique):
        nib.save(image, folder / f"{name}.nii.gz")
    result = register(folder / "fixed.nii.gz", folder / "moving.nii.gz", bundle=model)
    assert result.verdict == "succeeded", result.checks
    result.save(folder / "out")
    return folder


def test_simpleitk_resamples_to_the_same_image(saved: Path) -> None:
    fixed, moving = (sitk.ReadImage(str(saved / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    transform = sitk.ReadTransform(str(saved / "out/transform.h5"))
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(saved / "out/warped.nii.gz")))
    assert np.abs(warped - expected).max() < 1e-3 * np.ptp(sitk.GetArrayFromImage(moving))
    assert np.ptp(warped) > 0.5 * np.ptp(sitk.GetArrayFromImage(moving))


def test_warped_image_lies_on_the_fixed_grid_bit_for_bit(saved: Path) -> None:
    fixed: Any = nib.load(saved / "fixed.nii.gz")
    for name in ("warped", "jacobian"):
        image: Any = nib.load(saved / f"out/{name}.nii.gz")
        assert image.shape == fixed.shape
        assert np.array_equal(image.affine, fixed.affine)


def test_simpleitk_inverse_brings_points_back(saved: Path, oblique: tuple[Any, Any]) -> None:
    there = sitk.ReadTransform(str(saved / "out/transform.h5"))
    back = sitk.ReadTransform(str(saved / "out/inverse.h5"))
    fixed = oblique[0]
    bright = np.argwhere(fixed.get_fdata() > 0.4)[::2000]
    points = (fixed.affine @ np.c_[bright, np.ones(len(bright))].T)[:3].T * [-1, -1, 1]
    errors = [np.linalg.norm(np.subtract(back.TransformPoint(there.TransformPoint(p)), p)) for p in points.tolist()]
    assert len(errors) > 8 and np.mean(errors) < 0.6
    moved = [np.linalg.norm(np.subtract(there.TransformPoint(p), p)) for p in points.tolist()]
    assert np.mean(moved) > 2


def test_points_go_where_the_image_comes_from(saved: Path, brains: Brains, model: RegistrationModel) -> None:
    # a blob of the moving image, warped, must lie where the inverse brings its centre
    moving: Any = nib.load(saved / "moving.nii.gz")
    voxel = np.array([20.0, 27.0, 19.0])
    grid = np.indices(moving.shape) - voxel.reshape(3, 1, 1, 1)
    spacing = nib.affines.voxel_sizes(moving.affine).reshape(3, 1, 1, 1)
    blob = np.exp(-((grid * spacing) ** 2).sum(0) / (2 * 8.0**2)).astype(np.float32)
    result = register(saved / "fixed.nii.gz", moving, bundle=model)
    warped = result.warp(nib.Nifti1Image(blob, moving.affine), "linear").get_fdata()
    centre = np.array([(index * warped).sum() / warped.sum() for index in np.indices(warped.shape)])
    fixed: Any = nib.load(saved / "fixed.nii.gz")
    in_fixed = nib.affines.apply_affine(fixed.affine, centre)
    in_moving = nib.affines.apply_affine(moving.affine, voxel)
    assert np.linalg.norm(result.map_points(in_moving[None], "moving")[0] - in_fixed) < 1.5
    assert np.linalg.norm(result.map_points(in_fixed[None], "fixed")[0] - in_moving) < 1.5


def displacements(result: Any, points: Any) -> Any:
    return map_points(result.transform, points) - points


def points_in(image: Any) -> Any:
    bright = np.argwhere(image.get_fdata() > 0.3)[::500]
    return nib.affines.apply_affine(image.affine, bright)


@pytest.mark.parametrize("degrees", [(25, -17, 8), (0, 0, 40)])
def test_rotating_both_headers_rotates_the_displacements(
    brains: Brains, model: RegistrationModel, degrees: tuple[float, float, float]
) -> None:
    rigid = turned(degrees, (40, -25, 60))
    plain = register(brains.image(0), brains.image(1), bundle=model)
    rotated = register(
        brains.image(0, rigid @ brains.affine), brains.image(1, rigid @ brains.affine), bundle=model
    )
    points = points_in(brains.image(0))
    expected = displacements(plain, points) @ rigid[:3, :3].T
    found = displacements(rotated, nib.affines.apply_affine(rigid, points))
    assert np.linalg.norm(found - expected, axis=1).max() < 0.1
    assert np.linalg.norm(expected, axis=1).mean() > 1


@pytest.mark.parametrize(("fixed_axes", "moving_axes"), [("LPS", "LPS"), ("PIR", "PIR"), ("SAL", "RAI")])
def test_reorienting_the_files_changes_nothing(
    brains: Brains, model: RegistrationModel, fixed_axes: str, moving_axes: str
) -> None:
    def stored(image: Any, axes: str) -> Any:
        orientations: Any = nib.orientations
        change = orientations.ornt_transform(
            orientations.io_orientation(image.affine), orientations.axcodes2ornt(tuple(axes))
        )
        return image.as_reoriented(change)

    plain = register(brains.image(0), brains.image(1), bundle=model)
    other = register(stored(brains.image(0), fixed_axes), stored(brains.image(1), moving_axes), bundle=model)
    points = points_in(brains.image(0))
    assert np.linalg.norm(displacements(plain, points) - displacements(other, points), axis=1).max() < 0.1


def test_same_seed_same_bits(brains: Brains, model: RegistrationModel) -> None:
    first, second = (register(brains.image(0), brains.image(1), bundle=model, seed=3) for _ in range(2))
    assert np.array_equal(first.affine, second.affine) and torch.equal(first.ddf, second.ddf)
    assert np.array_equal(first.warped_array, second.warped_array)


def test_two_copies_of_one_scan_stay_where_they_are(brains: Brains, model: RegistrationModel) -> None:
    result = register(brains.image(0), brains.image(0), bundle=model)
    points = points_in(brains.image(0))
    assert np.linalg.norm(displacements(result, points), axis=1).max() < 0.3
    assert result.verdict == "succeeded" and any("same image" in notice for notice in result.notices)


@pytest.mark.parametrize("kind", ["nibabel", "itk", "MetaTensor"])
def test_same_type_in_same_type_out_and_inputs_unchanged(brains: Brains, model: RegistrationModel, kind: str) -> None:
    def as_kind(subject: int) -> Any:
        if kind == "nibabel":
            return brains.image(subject)
        if kind == "MetaTensor":
            return MetaTensor(torch.from_numpy(brains.arrays[subject].copy())[None], affine=np.diag([4.0, 4, 4, 1]))
        image = itk.image_from_array(np.ascontiguousarray(brains.arrays[subject].T))
        image.SetSpacing([4.0, 4.0, 4.0])
        return image

    images = as_kind(0), as_kind(1)
    result = register(*images, bundle=model)
    assert type(result.warped) is type(images[0])
    for subject, image in enumerate(images):
        values = {"nibabel": lambda i: i.get_fdata(), "itk": lambda i: itk.array_from_image(i).T}
        array = np.asarray(values.get(kind, lambda i: i[0].numpy())(image))
        assert np.array_equal(array, brains.arrays[subject])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64, ">i2", ">f4"])
def test_data_types_give_the_same_field(brains: Brains, model: RegistrationModel, dtype: Any) -> None:
    whole = [np.round(array.clip(0) / array.max() * 200) for array in brains.arrays]
    reference = register(*(nib.Nifti1Image(a.astype(np.float32), brains.affine) for a in whole), bundle=model)
    images = [nib.Nifti1Image(a.astype(dtype), brains.affine) for a in whole]
    result = register(*images, bundle=model)
    assert torch.equal(result.ddf, reference.ddf)
    assert result.warped_array.dtype == np.float32


class TestVerdict:
    """What must not come out as succeeded."""

    def judge(self, model: RegistrationModel, fixed: Any, moving: Any, **options: Any) -> Any:
        return register(fixed, moving, bundle=model, **options)

    def test_a_good_pair(self, brains: Brains, model: RegistrationModel) -> None:
        assert self.judge(model, brains.image(0), brains.image(1)).verdict == "succeeded"

    @pytest.mark.parametrize("noisy", [0, 1])
    def test_pure_noise(self, brains: Brains, model: RegistrationModel, noisy: int) -> None:
        noise = np.random.default_rng(0).random(brains.arrays[0].shape).astype(np.float32)
        images = [brains.image(0), brains.image(1)]
        images[noisy] = nib.Nifti1Image(noise, brains.affine)
        assert self.judge(model, *images).verdict == "failed"

    def test_no_overlap_by_the_headers(self, brains: Brains, model: RegistrationModel) -> None:
        far = turned((0, 0, 0), (400, 0, 0)) @ brains.affine
        result = self.judge(model, brains.image(0), brains.image(1, far), affine="off")
        assert result.verdict == "failed"
        assert {c.name for c in result.checks if c.outcome == "failed"} >= {"overlap", "similarity"}

    def test_headers_far_apart_are_at_best_doubtful(self, brains: Brains, model: RegistrationModel) -> None:
        far = turned((0, 0, 0), (400, 0, 0)) @ brains.affine
        result = self.judge(model, brains.image(0), brains.image(1, far))
        assert result.verdict == "doubtful"  # the alignment brings them together, the headers disagree
        assert [c.name for c in result.checks if c.outcome != "succeeded"] == ["header overlap"]

    def test_half_of_the_anatomy_missing(self, brains: Brains, model: RegistrationModel) -> None:
        result = self.judge(
            model, brains.image(0), nib.Nifti1Image(brains.arrays[1][:, :, 26:].copy(), brains.affine @ shift(26))
        )
        assert result.verdict != "succeeded"

    def test_mirrored_moving_image(self, brains: Brains, model: RegistrationModel) -> None:
        from dataclasses import replace

        mirrored = nib.Nifti1Image(brains.arrays[0][::-1].copy(), brains.affine)
        aware = replace(model, mirror_axis=0)
        result = self.judge(aware, brains.image(1), mirrored)
        assert result.verdict != "succeeded"
        assert self.judge(aware, brains.image(1), brains.image(0)).verdict == "succeeded"

    def test_ten_times_as_large(self, brains: Brains, model: RegistrationModel) -> None:
        result = self.judge(model, brains.image(0), brains.image(1, np.diag([10.0, 10, 10, 1]) @ brains.affine))
        assert result.verdict != "succeeded" and any("check the voxel sizes" in notice for notice in result.notices)

    def test_thick_slices_against_thin_ones(self, brains: Brains, model: RegistrationModel) -> None:
        thick = brains.resampled(1, centred((48, 48, 12), (4.0, 4.0, 16.0), np.eye(4)))
        for pair in ((brains.image(0), thick), (thick, brains.image(0))):
            result = self.judge(model, *pair)
            assert result.verdict != "failed", result.checks
            assert result.metrics["after"]["similarity"] >= result.metrics["before"]["similarity"]
            assert result.warped_array.shape == pair[0].shape and result.metrics["after"]["njd_percent"] < 0.1

    def test_another_body_part(
        self, brains: Brains, model: RegistrationModel, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        from morphseek_monai.data import write_phantom

        folder = tmp_path_factory.mktemp("torso")
        write_phantom(folder, "torso", subjects=2, shape=(48, 48, 48))
        torso = sorted((folder / "imagesTr").glob("*_0000.nii.gz"))[0]
        assert self.judge(model, brains.image(0), torso, moving_modality="mr").verdict != "succeeded"


def shift(planes: int) -> Any:
    matrix = np.eye(4)
    matrix[2, 3] = planes
    return matrix


class TestArguments:
    def test_affine_matrix_is_used_as_it_is(self, brains: Brains, model: RegistrationModel) -> None:
        given = turned((0, 0, 5), (3, 0, 0))
        result = register(brains.image(0), brains.image(1), bundle=model, affine=given)
        assert np.allclose(result.affine, given, atol=1e-9)

    def test_reflection_is_refused(self, brains: Brains, model: RegistrationModel) -> None:
        with pytest.raises(DataError, match=r"affine must be a \(4, 4\) matrix with positive determinant"):
            register(brains.image(0), brains.image(1), bundle=model, affine=np.diag([-1.0, 1, 1, 1]))

    def test_unknown_device(self, brains: Brains) -> None:
        with pytest.raises(DataError, match="device must be auto, cpu or cuda"):
            register(brains.image(0), brains.image(1), device="gpu7")

    def test_modality_that_the_bundle_does_not_know(self, brains: Brains, model: RegistrationModel) -> None:
        with pytest.raises(DataError, match=r"fixed image is ct, bundle morphseek_phantom was made for mr"):
            register(brains.image(0), brains.image(1), bundle=model, fixed_modality="ct")
