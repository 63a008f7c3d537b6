"""Intensities to [0, 1] by modality, and what cannot be brought there."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from monai.transforms import ScaleIntensityRange

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.kind import guess_modality
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.intensity import background, prepare_intensity

HU = (ScaleIntensityRange(-200.0, 250.0, 0.0, 1.0, clip=True), "from -200 to 250")


@pytest.fixture(scope="module")
def both(model: RegistrationModel) -> RegistrationModel:
    """The phantom's model, as if it knew CT too."""
    return replace(model, intensity={**model.intensity, "ct": HU})


@pytest.fixture
def mr() -> Any:
    return np.random.default_rng(0).gamma(2.0, 100.0, (20, 20, 20))


@pytest.mark.parametrize(("share", "kind"), [(0.009, "mr"), (0.011, "ct")])
@pytest.mark.parametrize(("value", "air"), [(-501, True), (-499, False)])
def test_one_percent_of_air_makes_a_ct(share: float, kind: str, value: int, air: bool) -> None:
    array = np.full(10000, 40)
    array[: int(share * 10000)] = value
    assert guess_modality(array) == (kind if air else "mr")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float64])
def test_mr_is_scaled_by_its_percentiles(mr: Any, dtype: Any, both: RegistrationModel) -> None:
    array = mr.clip(0, 255).astype(dtype)
    found = prepare_intensity(array, "auto", both, "fixed image")
    top = np.percentile(array.astype(float), 99.5)
    np.testing.assert_allclose(found.array, (array.astype(float) / top - array.min() / top).clip(0, 1), atol=0.01)
    assert found.array.dtype == np.float32 and found.modality == "mr" and found.notices == ()
    assert found.description.startswith("mr (guessed): Scale")


@pytest.mark.parametrize(("slope", "offset"), [(17.0, 0.0), (0.001, 5.0), (3.0, -40.0)])
def test_units_of_mr_do_not_matter(mr: Any, slope: float, offset: float, both: RegistrationModel) -> None:
    plain, other = (prepare_intensity(a, "mr", both, "image").array for a in (mr, slope * mr + offset))
    np.testing.assert_allclose(plain, other, atol=1e-4)


@pytest.mark.parametrize("around", [0.0, 9.0])
def test_background_of_a_z_scored_or_padded_image_is_dark(mr: Any, around: float, both: RegistrationModel) -> None:
    raw = np.pad(mr, 6)
    scored = np.pad((mr - mr.mean()) / mr.std(), 6, constant_values=around)
    plain, found = (prepare_intensity(array, "auto", both, "fixed image") for array in (raw, scored))
    assert found.array[0, 0, 0] == 0 and plain.notices == ()
    (notice,) = found.notices
    assert notice.startswith(f"fixed image has {around:g} all around it and darker values inside")
    np.testing.assert_allclose(found.array[6:-6, 6:-6, 6:-6], plain.array[6:-6, 6:-6, 6:-6], atol=0.03)


def test_anatomy_that_reaches_the_border_is_none(mr: Any) -> None:
    assert background(mr) is None and background(-np.pad(mr, 6)) == 0
    assert background(np.round(mr / 100)) is None


def test_ct_is_cut_at_hounsfield_units(both: RegistrationModel) -> None:
    array = np.array([-1000, -200, 25, 250, 3000], dtype=np.int16).repeat(20).reshape(5, 5, 4)
    found = prepare_intensity(array, "auto", both, "moving image")
    np.testing.assert_allclose(found.array.ravel()[::20], [0, 0, 0.5, 1, 1], atol=1e-6)
    assert found.description == "ct (guessed): from -200 to 250" and found.notices == ()


def test_ct_with_an_offset_is_told(both: RegistrationModel) -> None:
    shifted = np.random.default_rng(0).integers(0, 2000, (8, 8, 8)).astype(np.uint16)
    found = prepare_intensity(shifted, "ct", both, "moving image")
    assert found.description == "ct: from -200 to 250"
    assert found.notices == (
        "moving image is taken as ct but has no negative value, air has -1000 Hounsfield units: is it shifted?",
    )


def test_the_image_is_not_changed(mr: Any, both: RegistrationModel) -> None:
    for array in (mr.astype(np.float32), mr.astype(np.float32) - 700):
        before = array.copy()
        prepare_intensity(array, "auto", both, "image")
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("modality", ["pet", "MR", "", 3, ("mr", "ct")])
def test_unknown_modalities(modality: Any, mr: Any, model: RegistrationModel) -> None:
    with pytest.raises(DataError, match="fixed image modality must be one of auto, mr, ct, got "):
        prepare_intensity(mr, modality, model, "fixed image")


@pytest.mark.parametrize(("modality", "taken"), [("auto", "taken for ct"), ("ct", "ct")])
def test_a_modality_the_bundle_was_not_made_for(modality: str, taken: str, mr: Any, model: RegistrationModel) -> None:
    with pytest.raises(
        DataError,
        match=rf"^moving image is {taken}, bundle morphseek_phantom was made for mr; choose another --bundle, or set"
        " --moving_modality$",
    ):
        prepare_intensity(mr - 900, modality, model, "moving image")


@pytest.mark.parametrize(
    ("array", "modality"),
    [
        (np.full((8, 8, 8), 900.0), "ct"),  # all above the window
        (np.where(np.arange(1000) < 2, 70.0, 0.0).reshape(10, 10, 10), "mr"),  # nearly everything is one value
        (np.arange(512.0).reshape(8, 8, 8) * 1e300, "mr"),  # more than single precision holds
    ],
)
def test_nothing_to_see(array: Any, modality: str, both: RegistrationModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"fixed image has no contrast as {modality} \(.*\); set its modality"):
            prepare_intensity(array, modality, both, "fixed image")


class TestMasked:
    def test_what_does_not_count_is_black_and_has_no_part(self, mr: Any, both: RegistrationModel) -> None:
        mask = np.ones(mr.shape, bool)
        mask[4:9, 5:12, 6:14] = False
        other = np.where(mask, mr, 1e5 * np.random.default_rng(1).random(mr.shape) - 50)
        found = [prepare_intensity(array, "mr", both, "fixed image", mask).array for array in (mr, other)]
        np.testing.assert_array_equal(*found)
        assert not found[0][~mask].any() and found[0].max() == 1

    def test_a_small_region_has_its_own_contrast(self, mr: Any, both: RegistrationModel) -> None:
        mask = np.zeros(mr.shape, bool)
        mask[9:12, 9:12, 9:12] = True  # less than the brightest half percent, which a scaling leaves out
        found = prepare_intensity(mr, "mr", both, "fixed image", mask).array
        np.testing.assert_allclose(
            np.corrcoef(found[mask], mr[mask])[0, 1], 1, atol=0.02
        )
        assert found[mask].max() > 0.99 and not found[~mask].any()

    def test_a_ct_is_known_by_all_of_it(self, both: RegistrationModel) -> None:
        array = np.full((20, 20, 20), -1000.0)
        array[5:15, 5:15, 5:15] = np.random.default_rng(0).normal(30, 20, (10, 10, 10))
        found = prepare_intensity(array, "auto", both, "moving image", array > -500)
        assert found.modality == "ct" and found.notices == ()
        np.testing.assert_allclose(found.array[10, 10, 10], (array[10, 10, 10] + 200) / 450, atol=1e-5)
