"""The uncertainty map of a registration: on request, on every way through it, in mm of the fixed grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult

from ..scenes import Brains

QUICK: dict[str, Any] = {"affine": "off", "steps": 0, "uncertainty": True}


@pytest.fixture(scope="module")
def refined(brains: Brains, model: RegistrationModel) -> RegistrationResult:
    """Two subjects after a few iterations."""
    return register(brains.image(0), brains.image(1), bundle=model, refine=5, **QUICK)


def map_of(result: RegistrationResult) -> Any:
    assert result.uncertainty is not None and result.uncertainty.shape == result.warped_array.shape
    return result.uncertainty


def test_it_is_on_request(brains: Brains, model: RegistrationModel) -> None:
    result = register(brains.image(0), brains.image(1), bundle=model, affine="off", refine="off", samples=2)
    assert result.uncertainty is None


def test_it_falls_as_the_registration_gets_better(
    brains: Brains, model: RegistrationModel, refined: RegistrationResult
) -> None:
    inside = brains.arrays[0] > 0.2
    unmoved = map_of(register(brains.image(0), brains.image(1), bundle=model, refine="off", **QUICK))
    itself = map_of(register(brains.image(0), brains.image(0), bundle=model, refine="off", **QUICK))
    assert itself[inside].mean() < map_of(refined)[inside].mean() < unmoved[inside].mean()


def test_it_is_the_largest_where_a_mask_leaves_out(brains: Brains, model: RegistrationModel) -> None:
    counts = np.ones(brains.arrays[0].shape, np.uint8)
    counts[:, :, counts.shape[2] // 2 :] = 0
    mask = nib.Nifti1Image(counts, brains.image(0).affine)
    found = map_of(register(brains.image(0), brains.image(0), bundle=model, refine="off", fixed_mask=mask, **QUICK))
    assert found[counts == 0].min() > 0.99 * found.max()
    assert found[(counts == 1) & (brains.arrays[0] > 0.2)].mean() < 0.8 * found.max()


def test_twice_the_voxels_are_twice_the_error(
    brains: Brains, model: RegistrationModel, refined: RegistrationResult
) -> None:
    fixed, moving = (
        nib.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([2, 2, 2, 1]) @ image.affine)
        for image in map(brains.image, (0, 1))
    )
    np.testing.assert_allclose(
        map_of(register(fixed, moving, bundle=model, refine=5, **QUICK)), 2 * map_of(refined), rtol=0.02
    )


def test_it_is_written_and_shown(refined: RegistrationResult, tmp_path: Path) -> None:
    refined.save(tmp_path)
    image: Any = nib.load(tmp_path / "uncertainty.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), map_of(refined))
    assert "expected distance of a boundary" in (tmp_path / "report.html").read_text()
