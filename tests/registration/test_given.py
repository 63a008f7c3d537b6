"""What a registration may be given beside two scans: masks, an initial transform, contrasts, landmarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from scipy.ndimage import binary_dilation, gaussian_filter

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import map_points, resample

from ..scenes import Brains, turned

SHAPE = (32, 32, 32)
ALONE: dict[str, Any] = {"affine": "off", "steps": 0}  # the optimiser and nothing else
ROLES = ("fixed", "moving")
LESION = ((np.indices(SHAPE) - np.reshape([13, 16, 15], (3, 1, 1, 1))) ** 2).sum(0) < 4**2


@pytest.fixture(scope="module")
def small(brains: Brains) -> Brains:
    """The two brains in voxels of 6 mm: a second each."""
    grid = Grid(SHAPE, brains.affine @ np.diag([1.5, 1.5, 1.5, 1]))
    return Brains([brains.resampled(subject, grid).get_fdata(dtype=np.float32) for subject in (0, 1)], grid.affine)


def truth(brains: Brains) -> PointMap:
    """A smooth field of up to 10 mm, zero at its border, and a rigid map after it."""
    noise = np.random.default_rng(3).normal(size=(3, *SHAPE))
    taper = np.prod(np.sin(np.pi * np.indices(SHAPE) / 31), axis=0)
    ddf = np.stack([gaussian_filter(values, 4) * taper for values in noise])
    field = torch.from_numpy(1.6 * ddf / np.abs(ddf).max()).float()[None]
    return PointMap((Field(field, Grid(SHAPE, brains.affine)), turned((0, 0, 4), (3, -2, 1))))


def followed(brains: Brains, points: PointMap, array: Any = None) -> Any:
    """The fixed image of which a map is the truth, for the second brain as the moving one."""
    values = brains.arrays[1] if array is None else array
    return nib.Nifti1Image(resample(values, brains.affine, points, Grid(SHAPE, brains.affine)), brains.affine)


def tissue(brains: Brains) -> Any:
    return apply_affine(brains.affine, np.argwhere(brains.arrays[1] > 300)[::50])


def apart(result: RegistrationResult, points: PointMap, where: Any) -> float:
    """mm, mean."""
    return float(np.linalg.norm(result.map_points(where) - points.map_points(where), axis=1).mean())


def painted(array: Any) -> Any:
    """With a lesion, brighter than all else."""
    array = array.copy()
    array[LESION] = 2 * array.max()
    return array


def counts() -> Any:
    """1 but for the lesion, and a voxel around it."""
    return (~binary_dilation(LESION)).astype(np.uint8)


@pytest.fixture(scope="module")
def mask(small: Brains) -> Any:
    return nib.Nifti1Image(counts(), small.affine)


class TestMasks:
    def pair(self, small: Brains, painted_roles: Sequence[str] = ()) -> list[Any]:
        """The second header turned and shifted by some voxels."""
        pair = []
        for role, array, place in zip(ROLES, small.arrays, (np.eye(4), turned((0, 0, 8), (12, -8, 0)))):
            pair.append(nib.Nifti1Image(painted(array) if role in painted_roles else array, place @ small.affine))
        return pair

    @pytest.mark.slow
    def test_what_does_not_count_has_no_part_in_it(self, small: Brains, model: RegistrationModel) -> None:
        """Same bits, whatever was painted there: intensities, alignment, network, optimiser, verdict."""
        clean_pair = self.pair(small)
        masks = {f"{role}_mask": nib.Nifti1Image(counts(), i.affine) for role, i in zip(ROLES, clean_pair)}
        pairs = clean_pair, self.pair(small, ROLES)
        clean, other = (register(*pair, bundle=model, **masks, refine=3) for pair in pairs)
        assert np.array_equal(clean.affine, other.affine) and torch.equal(clean.ddf, other.ddf)
        assert clean.metrics == other.metrics and clean.checks == other.checks
        assert not np.array_equal(clean.affine, np.eye(4))

    @pytest.mark.parametrize("role", ROLES)
    def test_a_lesion_changes_the_field_less(
        self, role: str, small: Brains, model: RegistrationModel, mask: Any
    ) -> None:
        images = [small.image(0), small.image(1)]
        clean = register(*images, bundle=model, **ALONE)
        images[ROLES.index(role)] = nib.Nifti1Image(painted(small.arrays[ROLES.index(role)]), small.affine)
        plain, masked = (
            register(*images, bundle=model, **ALONE, **options) for options in ({}, {f"{role}_mask": mask})
        )
        distance = [float((found.ddf - clean.ddf).square().mean().sqrt()) for found in (plain, masked)]
        assert distance[1] < 0.6 * distance[0]
        assert masked.metrics["after"]["njd_percent"] == 0

    def test_a_mask_of_ones_is_none(self, small: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        ones = nib.Nifti1Image(np.ones(SHAPE, np.uint8), small.affine)
        nib.save(ones, tmp_path / "ones.nii.gz")
        options = {**ALONE, "refine": 1}
        plain = register(small.image(0), small.image(1), bundle=model, **options)
        given = {"fixed_mask": tmp_path / "ones.nii.gz", "moving_mask": ones}
        masked = register(small.image(0), small.image(1), bundle=model, **options, **given)
        assert torch.equal(plain.ddf, masked.ddf) and plain.metrics == masked.metrics
        record = json.loads(json.dumps(masked.record))
        assert record["fixed"]["mask"] == str(tmp_path / "ones.nii.gz") and record["moving"]["mask_percent"] == 100
        assert record["arguments"]["fixed_mask"] == str(tmp_path / "ones.nii.gz")
        assert record["arguments"]["moving_mask"] == "Nifti1Image"

    def test_outside_a_region_the_other_half_may_be_anything(self, small: Brains, model: RegistrationModel) -> None:
        region = np.zeros(SHAPE, np.uint8)
        region[:16] = 1
        fixed = small.arrays[0].copy()
        fixed[16:] = fixed.max() * np.random.default_rng(0).random(fixed[16:].shape)
        options = {**ALONE, "refine": 3, "fixed_mask": nib.Nifti1Image(region, small.affine)}
        found = register(nib.Nifti1Image(fixed, small.affine), small.image(1), bundle=model, **options)
        whole = register(nib.Nifti1Image(fixed, small.affine), small.image(1), bundle=model, **ALONE, refine=3)
        assert found.metrics["after"]["similarity"] > whole.metrics["after"]["similarity"] + 0.05
        assert found.metrics["after"]["njd_percent"] == 0


class TestInitialTransform:
    def test_from_the_truth_it_stays_there(self, small: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        points = truth(small)
        write_transform(tmp_path / "truth.h5", points)
        fixed, where = followed(small, points), tissue(small)
        start = tmp_path / "truth.h5"
        result = register(fixed, small.image(1), bundle=model, steps=0, initial_transform=start)
        still = np.linalg.norm(points.map_points(where) - where, axis=1).mean()
        assert still > 4 and apart(result, points, where) < 0.5
        assert list(result.metrics)[:2] == ["before", "initial"]
        assert result.metrics["initial"]["similarity"] > 0.95 and result.verdict == "succeeded"
        result.save(tmp_path / "out", report=False)
        written = map_points(read_transform(tmp_path / "out/transform.h5"), where)
        assert np.linalg.norm(written - points.map_points(where), axis=1).mean() < 0.5
        record = json.loads((tmp_path / "out/result.json").read_text())
        assert record["affine"]["start"] == record["arguments"]["initial_transform"] == str(start)

    def test_alone_it_is_the_result(self, small: Brains, model: RegistrationModel) -> None:
        points = truth(small)
        first, last = points.maps
        for steps in (points, PointMap((last, first)), PointMap((first, last, first))):  # fields anywhere in it
            options = {"steps": 0, "refine": "off", "initial_transform": steps}
            found = register(small.image(0), small.image(1), bundle=model, **options)
            assert apart(found, steps, tissue(small)) < 0.1
            np.testing.assert_allclose(found.affine, last, atol=1e-9)
            back = found.map_points(found.map_points(tissue(small)), "moving")
            assert np.linalg.norm(back - tissue(small), axis=1).mean() < 0.4  # of 6 mm
            assert found.metrics["after"]["similarity"] == found.metrics["initial"]["similarity"]

    def test_the_field_on_top_is_composed(self, small: Brains, model: RegistrationModel) -> None:
        points = truth(small)
        half = points._replace(maps=(points.maps[0]._replace(ddf=0.5 * points.maps[0].ddf), points.maps[1]))
        found = register(followed(small, points), small.image(1), bundle=model, steps=0, initial_transform=half)
        left = np.linalg.norm(points.map_points(tissue(small)) - half.map_points(tissue(small)), axis=1).mean()
        assert apart(found, points, tissue(small)) < 0.5 * left
        assert found.metrics["after"]["njd_percent"] == 0

    def test_a_linear_one_is_an_affine(self, small: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        write_transform(tmp_path / "a.tfm", PointMap((turned((0, 0, 5), (3, 0, 0)),)))
        options = {"bundle": model, "steps": 0, "refine": 1}
        one = register(small.image(0), small.image(1), affine=tmp_path / "a.tfm", **options)
        other = register(small.image(0), small.image(1), initial_transform=tmp_path / "a.tfm", **options)
        assert torch.equal(one.ddf, other.ddf) and one.metrics == other.metrics
        assert np.array_equal(one.affine, other.affine) and one.record["affine"] == other.record["affine"]


class TestContrasts:
    def test_all_are_registered_and_warped(self, small: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        fixed, moving = (
            [small.image(n), nib.Nifti1Image(np.sqrt(small.arrays[n].clip(0)), small.affine)] for n in (0, 1)
        )
        coarse = Grid((16, 16, 16), small.affine @ np.diag([2.0, 2, 2, 1]))
        moving[1] = nib.Nifti1Image(resample(moving[1].get_fdata(), small.affine, PointMap(()), coarse), coarse.affine)
        result = register(fixed, moving, bundle=model, refine=2)
        told = "moving image Nifti1Image lies on another grid than the first contrast: resampled to it"
        assert any(notice.startswith(told) for notice in result.notices), result.notices
        expected = resample(moving[1].get_fdata(), coarse.affine, result.forward, Grid(SHAPE, small.affine))
        np.testing.assert_allclose(result.warped_others[0], expected, atol=1e-3)
        (tmp_path / "warped_3.nii.gz").touch()  # of three contrasts, before
        result.save(tmp_path, report=False)
        image: Any = nib.load(tmp_path / "warped_2.nii.gz")
        np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-3)
        assert not (tmp_path / "warped_3.nii.gz").exists()
        assert len(json.loads((tmp_path / "result.json").read_text())["moving"]["contrasts"]) == 2

    def test_twice_the_same_contrast_is_once(self, small: Brains, model: RegistrationModel) -> None:
        options = {**ALONE, "refine": 1, "bundle": model}
        once = register(small.image(0), small.image(1), **options)
        twice = register([small.image(0)] * 2, [small.image(1)] * 2, **options)
        torch.testing.assert_close(once.ddf, twice.ddf, atol=1e-3, rtol=0)
        assert once.metrics["after"]["similarity"] == pytest.approx(twice.metrics["after"]["similarity"], abs=1e-5)

    def test_the_verdict_hears_them_all(self, small: Brains, model: RegistrationModel) -> None:
        noise = np.random.default_rng(0).random(SHAPE).astype(np.float32)
        pair = [[small.image(n), nib.Nifti1Image(noise if n else noise[::-1].copy(), small.affine)] for n in (0, 1)]
        one = register(small.image(0), small.image(1), bundle=model, **ALONE, refine=1)
        both = register(*pair, bundle=model, **ALONE, refine=1)
        assert both.metrics["after"]["similarity"] < 0.7 * one.metrics["after"]["similarity"]


class TestLandmarks:
    def test_they_lead_where_the_images_say_nothing(
        self, small: Brains, model: RegistrationModel, tmp_path: Path
    ) -> None:
        points = truth(small)._replace(maps=truth(small).maps[:1])
        flat = small.arrays[1].copy()
        flat[7:25, 7:25, 7:25] = 600.0
        inner = np.random.default_rng(2).uniform(11, 20, (25, 3))
        of_fixed = apply_affine(small.affine, inner)
        of_moving = points.map_points(of_fixed)
        names = []
        for name, values in (("fixed", of_fixed), ("moving", of_moving)):
            np.savetxt(tmp_path / f"{name}.csv", values * [-1, -1, 1], header="x,y,z", delimiter=",", comments="")
            names.append(tmp_path / f"{name}.csv")
        pair = followed(small, points, flat), nib.Nifti1Image(flat, small.affine)
        given = {"fixed_points": names[0], "moving_points": names[1], "space": "LPS"}
        alone, led = (register(*pair, bundle=model, **ALONE, **options) for options in ({}, given))
        errors = [
            np.linalg.norm(found.map_points(of_fixed) - of_moving, axis=1).mean() for found in (alone, led)
        ]
        assert errors[1] < 0.3 * errors[0] and led.metrics["after"]["njd_percent"] == 0
        assert led.metrics["after"]["tre_mm"] == pytest.approx(errors[1], abs=1e-3)
        assert led.metrics["before"]["tre_mm"] > 2 and "tre_mm" not in alone.metrics["after"]
        led.save(tmp_path / "out")
        record = json.loads((tmp_path / "out/result.json").read_text())
        assert record["landmarks"] == {"files": [str(name) for name in names], "count": 25}
        assert "tre mm" in (tmp_path / "out/report.html").read_text()


class TestRefused:
    """One line each, before a network is loaded."""

    def refused(self, small: Brains, words: str, **options: Any) -> None:
        with pytest.raises(DataError, match=words):
            register(small.image(0), options.pop("moving", small.image(1)), **options)

    def image(self, small: Brains, array: Any, shift: float = 0.0) -> Any:
        return nib.Nifti1Image(array, turned((0, 0, 0), (shift, 0, 0)) @ small.affine)

    def test_masks(self, small: Brains, mask: Any) -> None:
        zeros = np.zeros(SHAPE, np.uint8)
        self.refused(small, r"^fixed mask .* is empty \(0 everywhere\)", fixed_mask=self.image(small, zeros))
        self.refused(small, "must hold whole numbers, .*, got fractions", moving_mask=self.image(small, zeros + 0.3))
        self.refused(small, "got negative ones", moving_mask=self.image(small, mask.get_fdata() - 1))
        far = self.image(small, mask.get_fdata(), 900)
        self.refused(small, "^moving mask .* does not touch the moving image", moving_mask=far)

    def test_a_mask_of_background(self, small: Brains, model: RegistrationModel) -> None:
        air = (small.arrays[0] == small.arrays[0].min()).astype(np.uint8)
        self.refused(
            small, "has no contrast as mr|shows nothing of the fixed image but background",
            fixed_mask=self.image(small, air), bundle=model,
        )  # fmt: skip

    def test_initial_transforms(self, small: Brains, tmp_path: Path) -> None:
        self.refused(small, "place of affine, got affine rigid too", initial_transform="a.h5", affine="rigid")
        self.refused(small, "initial_transform given must not mirror", initial_transform=np.diag([-1.0, 1, 1, 1]))
        self.refused(small, r"must be a \(4, 4\) matrix, RAS mm, got shape \(3, 3\)", initial_transform=np.eye(3))
        self.refused(small, "must be a file, .*, got int; correct it", initial_transform=3)
        field = truth(small).maps[0]
        far = PointMap((field._replace(grid=Grid(SHAPE, turned((0, 0, 0), (900, 0, 0)) @ small.affine)),))
        self.refused(small, "lies elsewhere: its field covers nothing of the fixed image", initial_transform=far)

    def test_contrasts(self, small: Brains) -> None:
        self.refused(small, "same contrasts in the same order, got 1 and 2; leave out", moving=[small.image(1)] * 2)
        self.refused(small, "1 to 9 contrasts of one subject, got 0", moving=[])
        far = [small.image(1), self.image(small, small.arrays[1], 900)]
        self.refused(small, "lies elsewhere than .*, the first contrast", moving=far)

    def test_landmarks(self, small: Brains) -> None:
        some = tissue(small)
        both = {"fixed_points": some, "moving_points": some}
        self.refused(small, "fixed_points goes with moving_points", fixed_points=some)
        self.refused(small, r"line by line, got \d+ and \d+ points; take", **{**both, "moving_points": some[1:]})
        self.refused(small, "lie outside of the moving image; are they in mm", **{**both, "moving_points": some + 900})
        self.refused(small, "got NaN or infinity; correct them", **{**both, "moving_points": some * np.nan})
        self.refused(small, r"got shape \(\d+, 2\)", **{**both, "moving_points": some[:, :2]})
        self.refused(small, "which refine off leaves out", refine="off", **both)


def test_what_is_partly_outside_is_told(small: Brains, model: RegistrationModel, mask: Any) -> None:
    some = np.vstack([tissue(small), [[900.0, 0, 0]]])
    field = truth(small).maps[0]
    half = field._replace(grid=Grid(SHAPE, turned((0, 0, 0), (96, 0, 0)) @ small.affine))
    shifted = nib.Nifti1Image(mask.get_fdata(), turned((0, 0, 0), (8, 0, 0)) @ small.affine)
    few = np.zeros(SHAPE, np.uint8)
    few[12:20, 12:20, 12:20] = 1
    result = register(
        small.image(0), small.image(1), bundle=model, steps=0, refine=1, initial_transform=PointMap((half,)),
        fixed_points=some, moving_points=tissue(small)[[*range(len(some) - 1), 0]], fixed_mask=shifted,
        moving_mask=nib.Nifti1Image(few, small.affine),
    )  # fmt: skip
    for words in (
        f"fixed_points given: 1 of {len(some)} lie outside of the fixed image",
        "initial_transform given: 50 % of the fixed image lie beyond its field, taken for 0",
        "fixed mask Nifti1Image lies on another grid than the fixed image: resampled to it by nearest neighbour",
        "moving mask Nifti1Image: only 1.6 % of the moving image count (1 counts, 0 does not)",
    ):
        assert words in result.notices, result.notices
