"""What a registration may be given beside two scans: masks, an initial transform, contrasts, landmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from scipy.ndimage import gaussian_filter

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import map_points, resample

from ..scenes import Brains, turned

SHAPE = (48, 48, 48)
ALONE: dict[str, Any] = {"affine": "off", "steps": 0}  # the optimiser and nothing else
BLOCK = (slice(16, 26), slice(18, 30), slice(18, 28))


def truth(brains: Brains) -> PointMap:
    """A smooth field of up to 10 mm, and a rigid map after it."""
    noise = np.random.default_rng(3).normal(size=(3, *SHAPE))
    ddf = np.stack([gaussian_filter(values, 6) for values in noise])
    field = torch.from_numpy(2.5 * ddf / np.abs(ddf).max()).float()[None]
    return PointMap((Field(field, Grid(SHAPE, brains.affine)), turned((0, 0, 4), (3, -2, 1))))


def followed(brains: Brains, points: PointMap, array: Any = None) -> Any:
    """The fixed image of which a map is the truth, for the second brain as the moving one."""
    values = brains.arrays[1] if array is None else array
    return nib.Nifti1Image(resample(values, brains.affine, points, Grid(SHAPE, brains.affine)), brains.affine)


def tissue(brains: Brains) -> Any:
    return apply_affine(brains.affine, np.argwhere(brains.arrays[1] > 300)[::150])


def apart(result: RegistrationResult, points: PointMap, where: Any) -> float:
    """mm, mean."""
    return float(np.linalg.norm(result.map_points(where) - points.map_points(where), axis=1).mean())


def painted(array: Any) -> Any:
    """With a bright lesion of its own texture."""
    array = array.copy()
    array[BLOCK] = 2 * array.max() * np.random.default_rng(1).random(array[BLOCK].shape)
    return array


@pytest.fixture(scope="module")
def mask(brains: Brains) -> Any:
    """1 but for the lesion."""
    counts = np.ones(SHAPE, np.uint8)
    counts[BLOCK] = 0
    return nib.Nifti1Image(counts, brains.affine)


class TestMasks:
    def pair(self, brains: Brains, role: str, paint: bool) -> list[Any]:
        arrays = list(brains.arrays)
        number = ("fixed", "moving").index(role)
        arrays[number] = painted(arrays[number]) if paint else arrays[number]
        return [nib.Nifti1Image(array, brains.affine) for array in arrays]

    @pytest.mark.parametrize("role", ["fixed", "moving"])
    def test_what_does_not_count_has_no_part_in_it(
        self, role: str, brains: Brains, model: RegistrationModel, mask: Any
    ) -> None:
        """Same bits, whatever was painted there: intensities, alignment, network, optimiser, verdict."""
        options = {f"{role}_mask": mask, "refine": 3}
        clean, other = (register(*self.pair(brains, role, p), bundle=model, **options) for p in (False, True))
        assert np.array_equal(clean.affine, other.affine) and torch.equal(clean.ddf, other.ddf)
        assert clean.metrics == other.metrics and clean.checks == other.checks
        assert not np.array_equal(clean.affine, np.eye(4)) and clean.ddf.abs().max() > 1

    @pytest.mark.parametrize("role", ["fixed", "moving"])
    def test_a_lesion_changes_the_field_less(
        self, role: str, brains: Brains, model: RegistrationModel, mask: Any
    ) -> None:
        clean = register(*self.pair(brains, role, False), bundle=model, **ALONE)
        plain, masked = (
            register(*self.pair(brains, role, True), bundle=model, **ALONE, **options)
            for options in ({}, {f"{role}_mask": mask})
        )
        distance = [float((found.ddf - clean.ddf).square().mean().sqrt()) for found in (plain, masked)]
        assert distance[1] < 0.6 * distance[0]
        assert masked.metrics["after"]["njd_percent"] == 0

    def test_a_mask_of_ones_is_none(self, brains: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        ones = nib.Nifti1Image(np.ones(SHAPE, np.uint8), brains.affine)
        nib.save(ones, tmp_path / "ones.nii.gz")
        options = {**ALONE, "refine": 1}
        plain = register(brains.image(0), brains.image(1), bundle=model, **options)
        given = {"fixed_mask": tmp_path / "ones.nii.gz", "moving_mask": ones}
        masked = register(brains.image(0), brains.image(1), bundle=model, **options, **given)
        assert torch.equal(plain.ddf, masked.ddf) and plain.metrics == masked.metrics
        record = json.loads(json.dumps(masked.record))
        assert record["fixed"]["mask"] == str(tmp_path / "ones.nii.gz") and record["moving"]["mask_percent"] == 100
        assert record["arguments"]["fixed_mask"] == str(tmp_path / "ones.nii.gz")
        assert record["arguments"]["moving_mask"] == "Nifti1Image"

    def test_outside_a_region_the_other_half_may_be_anything(self, brains: Brains, model: RegistrationModel) -> None:
        region = np.zeros(SHAPE, np.uint8)
        region[:24] = 1
        fixed = brains.arrays[0].copy()
        fixed[24:] = fixed[24:, ::-1]
        options = {**ALONE, "refine": 3, "fixed_mask": nib.Nifti1Image(region, brains.affine)}
        found = register(nib.Nifti1Image(fixed, brains.affine), brains.image(1), bundle=model, **options)
        whole = register(nib.Nifti1Image(fixed, brains.affine), brains.image(1), bundle=model, **ALONE, refine=3)
        assert found.metrics["after"]["similarity"] > whole.metrics["after"]["similarity"] + 0.05
        assert found.metrics["after"]["njd_percent"] == 0


class TestInitialTransform:
    def test_from_the_truth_it_stays_there(self, brains: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        points = truth(brains)
        write_transform(tmp_path / "truth.h5", points)
        fixed, where = followed(brains, points), tissue(brains)
        start = tmp_path / "truth.h5"
        result = register(fixed, brains.image(1), bundle=model, initial_transform=start)
        still = np.linalg.norm(points.map_points(where) - where, axis=1).mean()
        assert still > 4 and apart(result, points, where) < 0.5
        assert list(result.metrics)[:2] == ["before", "initial"]
        assert result.metrics["initial"]["similarity"] > 0.95 and result.verdict == "succeeded"
        result.save(tmp_path / "out")
        written = map_points(read_transform(tmp_path / "out/transform.h5"), where)
        assert np.linalg.norm(written - points.map_points(where), axis=1).mean() < 0.5
        record = json.loads((tmp_path / "out/result.json").read_text())
        assert record["affine"]["start"] == record["arguments"]["initial_transform"] == str(start)
        assert "by the initial transform" in (tmp_path / "out/report.html").read_text()

    def test_alone_it_is_the_result(self, brains: Brains, model: RegistrationModel) -> None:
        points = truth(brains)
        first, last = points.steps
        for steps in (points, PointMap((last, first)), PointMap((first, last, first))):  # fields anywhere in it
            options = {"steps": 0, "refine": "off", "initial_transform": steps}
            found = register(brains.image(0), brains.image(1), bundle=model, **options)
            assert apart(found, steps, tissue(brains)) < 0.1
            np.testing.assert_allclose(found.affine, last, atol=1e-9)
            back = found.map_points(found.map_points(tissue(brains)), "moving")
            assert np.linalg.norm(back - tissue(brains), axis=1).mean() < 0.1
            assert found.metrics["after"]["similarity"] == found.metrics["initial"]["similarity"]

    def test_the_field_on_top_is_composed(self, brains: Brains, model: RegistrationModel) -> None:
        points = truth(brains)
        half = points._replace(steps=(points.steps[0]._replace(ddf=0.5 * points.steps[0].ddf), points.steps[1]))
        found = register(followed(brains, points), brains.image(1), bundle=model, steps=0, initial_transform=half)
        left = np.linalg.norm(points.map_points(tissue(brains)) - half.map_points(tissue(brains)), axis=1).mean()
        assert apart(found, points, tissue(brains)) < 0.5 * left
        assert found.metrics["after"]["njd_percent"] == 0

    def test_a_linear_one_is_an_affine(self, brains: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        write_transform(tmp_path / "a.tfm", PointMap((turned((0, 0, 5), (3, 0, 0)),)))
        options = {"bundle": model, "steps": 0, "refine": 1}
        one = register(brains.image(0), brains.image(1), affine=tmp_path / "a.tfm", **options)
        other = register(brains.image(0), brains.image(1), initial_transform=tmp_path / "a.tfm", **options)
        assert torch.equal(one.ddf, other.ddf) and one.metrics == other.metrics
        assert np.array_equal(one.affine, other.affine) and one.record["affine"] == other.record["affine"]


class TestContrasts:
    def test_all_are_registered_and_warped(self, brains: Brains, model: RegistrationModel, tmp_path: Path) -> None:
        fixed, moving = (
            [brains.image(n), nib.Nifti1Image(np.sqrt(brains.arrays[n].clip(0)), brains.affine)] for n in (0, 1)
        )
        coarse = Grid((24, 24, 24), brains.affine @ np.diag([2.0, 2, 2, 1]))
        moving[1] = nib.Nifti1Image(resample(moving[1].get_fdata(), brains.affine, PointMap(()), coarse), coarse.affine)
        result = register(fixed, moving, bundle=model, refine=2)
        told = "moving image Nifti1Image in memory lies on another grid than the first contrast: resampled to it"
        assert any(notice.startswith(told) for notice in result.notices), result.notices
        expected = resample(moving[1].get_fdata(), coarse.affine, result.forward, Grid(SHAPE, brains.affine))
        np.testing.assert_allclose(result.warped_others[0], expected, atol=1e-3)
        (tmp_path / "warped_3.nii.gz").touch()  # of three contrasts, before
        result.save(tmp_path, report=False)
        image: Any = nib.load(tmp_path / "warped_2.nii.gz")
        np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-3)
        assert not (tmp_path / "warped_3.nii.gz").exists()
        assert len(json.loads((tmp_path / "result.json").read_text())["moving"]["contrasts"]) == 2

    def test_twice_the_same_contrast_is_once(self, brains: Brains, model: RegistrationModel) -> None:
        options = {**ALONE, "refine": 1, "bundle": model}
        once = register(brains.image(0), brains.image(1), **options)
        twice = register([brains.image(0)] * 2, [brains.image(1)] * 2, **options)
        torch.testing.assert_close(once.ddf, twice.ddf, atol=1e-3, rtol=0)
        assert once.metrics["after"]["similarity"] == pytest.approx(twice.metrics["after"]["similarity"], abs=1e-5)

    def test_the_verdict_hears_them_all(self, brains: Brains, model: RegistrationModel) -> None:
        noise = np.random.default_rng(0).random(SHAPE).astype(np.float32)
        pair = [[brains.image(n), nib.Nifti1Image(noise if n else noise[::-1].copy(), brains.affine)] for n in (0, 1)]
        one = register(brains.image(0), brains.image(1), bundle=model, **ALONE, refine=1)
        both = register(*pair, bundle=model, **ALONE, refine=1)
        assert both.metrics["after"]["similarity"] < 0.7 * one.metrics["after"]["similarity"]


class TestLandmarks:
    def test_they_lead_where_the_images_say_nothing(
        self, brains: Brains, model: RegistrationModel, tmp_path: Path
    ) -> None:
        points = truth(brains)._replace(steps=truth(brains).steps[:1])
        flat = brains.arrays[1].copy()
        flat[10:38, 10:38, 10:38] = 600.0
        inner = np.random.default_rng(2).uniform(16, 31, (25, 3))
        of_fixed = apply_affine(brains.affine, inner)
        of_moving = points.map_points(of_fixed)
        names = []
        for name, values in (("fixed", of_fixed), ("moving", of_moving)):
            np.savetxt(tmp_path / f"{name}.csv", values * [-1, -1, 1], header="x,y,z", delimiter=",", comments="")
            names.append(tmp_path / f"{name}.csv")
        pair = followed(brains, points, flat), nib.Nifti1Image(flat, brains.affine)
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

    def refused(self, brains: Brains, words: str, **options: Any) -> None:
        with pytest.raises(DataError, match=words):
            register(brains.image(0), options.pop("moving", brains.image(1)), **options)

    def image(self, brains: Brains, array: Any, shift: float = 0.0) -> Any:
        return nib.Nifti1Image(array, turned((0, 0, 0), (shift, 0, 0)) @ brains.affine)

    def test_masks(self, brains: Brains, mask: Any) -> None:
        zeros = np.zeros(SHAPE, np.uint8)
        self.refused(brains, r"^fixed mask .* is empty \(0 everywhere\)", fixed_mask=self.image(brains, zeros))
        self.refused(brains, "must hold whole numbers, .*, got fractions", moving_mask=self.image(brains, zeros + 0.3))
        self.refused(brains, "got negative ones", moving_mask=self.image(brains, mask.get_fdata() - 1))
        far = self.image(brains, mask.get_fdata(), 900)
        self.refused(brains, "^moving mask .* does not touch the moving image", moving_mask=far)

    def test_a_mask_of_background(self, brains: Brains, model: RegistrationModel) -> None:
        air = (brains.arrays[0] == brains.arrays[0].min()).astype(np.uint8)
        self.refused(
            brains, "has no contrast as mr|shows nothing of the fixed image but background",
            fixed_mask=self.image(brains, air), bundle=model,
        )  # fmt: skip

    def test_initial_transforms(self, brains: Brains, tmp_path: Path) -> None:
        self.refused(brains, "place of affine, got affine rigid too", initial_transform="a.h5", affine="rigid")
        self.refused(brains, "initial_transform given must not mirror", initial_transform=np.diag([-1.0, 1, 1, 1]))
        self.refused(brains, r"must be a \(4, 4\) matrix, RAS mm, got shape \(3, 3\)", initial_transform=np.eye(3))
        self.refused(brains, "must be a file, .*, got int; correct it", initial_transform=3)
        field = truth(brains).steps[0]
        far = PointMap((field._replace(grid=Grid(SHAPE, turned((0, 0, 0), (900, 0, 0)) @ brains.affine)),))
        self.refused(brains, "lies elsewhere: its field covers nothing of the fixed image", initial_transform=far)

    def test_contrasts(self, brains: Brains) -> None:
        self.refused(brains, "same contrasts in the same order, got 1 and 2; leave out", moving=[brains.image(1)] * 2)
        self.refused(brains, "1 to 9 contrasts of one subject, got 0", moving=[])
        far = [brains.image(1), self.image(brains, brains.arrays[1], 900)]
        self.refused(brains, "lies elsewhere than .*, the first contrast", moving=far)

    def test_landmarks(self, brains: Brains) -> None:
        some = tissue(brains)
        both = {"fixed_points": some, "moving_points": some}
        self.refused(brains, "fixed_points goes with moving_points", fixed_points=some)
        self.refused(brains, r"line by line, got \d+ and \d+ points; take", **{**both, "moving_points": some[1:]})
        self.refused(brains, "lie outside of the moving image; are they in mm", **{**both, "moving_points": some + 900})
        self.refused(brains, "got NaN or infinity; correct them", **{**both, "moving_points": some * np.nan})
        self.refused(brains, r"got shape \(\d+, 2\)", **{**both, "moving_points": some[:, :2]})
        self.refused(brains, "which refine off leaves out", refine="off", **both)


def test_what_is_partly_outside_is_told(brains: Brains, model: RegistrationModel, mask: Any) -> None:
    some = np.vstack([tissue(brains), [[900.0, 0, 0]]])
    field = truth(brains).steps[0]
    half = field._replace(grid=Grid(SHAPE, turned((0, 0, 0), (96, 0, 0)) @ brains.affine))
    shifted = nib.Nifti1Image(mask.get_fdata(), turned((0, 0, 0), (8, 0, 0)) @ brains.affine)
    few = np.zeros(SHAPE, np.uint8)
    few[20:28, 20:28, 20:28] = 1
    result = register(
        brains.image(0), brains.image(1), bundle=model, steps=0, refine=1, initial_transform=PointMap((half,)),
        fixed_points=some, moving_points=tissue(brains)[[*range(len(some) - 1), 0]], fixed_mask=shifted,
        moving_mask=nib.Nifti1Image(few, brains.affine),
    )  # fmt: skip
    for words in (
        f"fixed_points given: 1 of {len(some)} lie outside of the fixed image",
        "initial_transform given: 50 % of the fixed image lie beyond its field, taken for 0",
        "fixed mask Nifti1Image in memory lies on another grid than the fixed image: resampled to it by nearest"
        " neighbour",
        "moving mask Nifti1Image in memory: only 0.46 % of the moving image count (1 counts, 0 does not)",
    ):
        assert words in result.notices, result.notices
