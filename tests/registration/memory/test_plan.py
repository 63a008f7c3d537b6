"""What a registration will take, and what is given up where there is less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration import register as register_module
from morphseek_monai.registration.memory import plan as memory
from morphseek_monai.registration.memory.plan import MemoryPlan, parse_memory, plan_memory
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.space.grid import Grid

from ...scenes import Brains, centred, turned

MIB, GIB = 2**20, 2**30
MakeNet = Callable[..., MorphSeekNet]


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 * GIB), ("8gb", 8 * GIB), (" 1.5 GiB ", 3 * GIB // 2), ("900M", 900 * MIB), (".5T", GIB * 512)]
    + [(2**30, GIB), ("1073741824", GIB), (2e9, 2 * 10**9), ("2048K", 2 * MIB)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "8X", "-8G", "1.2.3G", ".", "8 G B", "inf", "nan", True, "0", "8", "0.1M"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(DataError, match=r"max_memory must be a size such as 8G or 900M, got .*; correct it"):
        parse_memory(text)


@pytest.fixture
def small(model: RegistrationModel, make_net: MakeNet, monkeypatch: pytest.MonkeyPatch) -> RegistrationModel:
    """A model with a network of few channels on 48 voxels of 4 mm, in a process that holds 1 GiB."""
    monkeypatch.setattr(memory, "resident_memory", lambda: GIB)
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * GIB)
    return replace(model, network=make_net(steps=2).eval())


def cube(n: int, spacing: float = 1.0) -> Grid:
    return centred((n, n, n), (spacing,) * 3, np.eye(4))


def plan(small: RegistrationModel, fixed: Grid | None = None, moving: Grid | None = None, **search: Any) -> MemoryPlan:
    limit = search.pop("limit", None)
    return plan_memory(fixed or cube(192), moving or cube(64), small, InferenceOptions(**search), limit)


def test_enough_memory_gives_nothing_up(small: RegistrationModel) -> None:
    found = plan(small)
    assert (found.limit, found.field, found.network, found.notices) == (100 * GIB, 1, 1.0, ())
    assert found.text == f"estimated memory: {found.bytes / GIB:.1f} GiB of 100.0 GiB"


def test_each_voxel_costs(small: RegistrationModel) -> None:
    least = plan(small, cube(96)).bytes
    assert least > GIB
    assert plan(small, cube(192)).bytes - least > 100 * (192**3 - 96**3)  # double fields and their copies
    moving = plan(small, moving=cube(256)).bytes - plan(small).bytes
    assert 4 * (256**3 - 64**3) <= moving < 30 * (256**3 - 64**3)


def test_each_contrast_costs(small: RegistrationModel) -> None:
    options = InferenceOptions()
    one, two, three = (plan_memory(cube(192), cube(64), small, options, None, more).bytes for more in (0, 1, 2))
    assert two - one == three - two > 4 * 192**3  # images at least


def test_what_more_is_searched_costs_where_the_network_is_the_peak(small: RegistrationModel) -> None:
    fixed = cube(48, 4.0)
    mean, samples = (plan(small, fixed, **s).bytes for s in ({}, {"samples": 8}))
    assert mean < samples
    assert plan(small, fixed, samples=2).bytes == samples


def test_the_unit_of_length_costs_nothing(small: RegistrationModel) -> None:
    one, other = (plan(small, cube(64, unit), cube(64, unit)).bytes for unit in (0.3, 3.0))
    assert one == pytest.approx(other, rel=1e-6)
    assert plan(small, cube(64, 0.3), cube(64, 3.0)).bytes < one  # never finer than the coarser scan


def test_the_optimiser_costs_what_it_sees(small: RegistrationModel) -> None:
    assert plan(small).bytes - plan(small, refine="off").bytes > 48 * 192**3
    larger, large = (plan(small, cube(n)).bytes for n in (400, 300))  # seen at no more than so many voxels
    assert larger - large < 100 * (400**3 - 300**3)


def test_turned_headers_cost_the_same(small: RegistrationModel) -> None:
    oblique = centred((192, 192, 192), (1, 1, 1), turned((20, 30, 40)))
    assert plan(small, oblique).bytes == pytest.approx(plan(small).bytes, rel=1e-6)


def test_field_is_given_up_first_and_no_more_than_needed(small: RegistrationModel) -> None:
    full = plan(small, refine="off")
    half = plan(small, refine="off", limit=full.bytes - 1)
    assert (half.field, half.network) == (2, 1.0) and half.bytes < full.bytes
    quarter = plan(small, refine="off", limit=half.bytes - 1)
    assert (quarter.field, quarter.network) == (4, 1.0) and quarter.bytes < half.bytes
    assert plan(small, refine="off", limit=full.bytes).field == 1
    (notice,) = half.notices
    assert "voxels are 2 times as large as the fixed image's, 96 x 96 x 96" in notice
    assert f"{full.bytes / GIB:.1f} GiB are needed, {(full.bytes - 1) / GIB:.1f} GiB may be used" in notice


def test_network_is_given_up_where_it_is_the_peak(small: RegistrationModel) -> None:
    least = plan(small, cube(48, 4.0), refine=5).bytes
    while (less := plan(small, cube(48, 4.0), refine=5, limit=least - 1)).network == 1:
        least = less.bytes  # with a coarser field
    assert (less.field, less.network) == (1, 1.5)  # which is back at full resolution now
    (notice,) = less.notices
    assert "the network's grid is 1.5 times as coarse, 36 x 36 x 36, and so is the optimiser's" in notice


def test_too_little_for_anything(small: RegistrationModel) -> None:
    with pytest.raises(DataError, match=r"^max_memory is 1\.0 GiB, .* estimated 1\.\d GiB even on the coarsest"):
        plan(small, limit="1G")


def test_without_a_limit_what_is_free_is_one(small: RegistrationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    full = plan(small, refine="off")
    monkeypatch.setattr(memory, "available_memory", lambda: full.bytes - 1)
    assert plan(small, refine="off").field == 2
    assert plan(small, refine="off", limit=full.bytes).field == 1
    monkeypatch.setattr(memory, "available_memory", lambda: GIB)
    with pytest.raises(DataError, match=r"max_memory is 1\.0 GiB \(what is free\), .*; allow more, or crop"):
        plan(small, refine="off")


def test_where_free_memory_is_unknown_nothing_is_given_up(
    small: RegistrationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 0)
    assert plan(small).field == 1 and plan(small).text.endswith("GiB") and " of " not in plan(small).text


def test_a_gpu_takes_the_network_off_the_machine_but_must_hold_it(
    small: RegistrationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, free = cube(48, 4.0), [10 * GIB]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 80 * GIB))
    gpu = replace(small, device=torch.device("cuda:0"))
    assert plan(gpu, fixed, refine=5).bytes < plan(small, fixed, refine=5).bytes
    free[0] = 2 * (plan(small, fixed, refine=5).bytes - plan(gpu, fixed, refine=5).bytes) // 3
    assert plan(gpu, fixed, refine=5).network == 1.5
    free[0] = MIB
    with pytest.raises(DataError, match=r"cuda:0 has 0\.00098 GiB free, the network needs .*; free it or"):
        plan(gpu, fixed)


def test_a_coarse_field_makes_a_usable_result(
    brains: Brains, model: RegistrationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (61, 50, 47)  # no multiples of 4
    fixed = brains.resampled(0, centred(size, (3.2, 3.8, 4.1), turned((12, -9, 20))))
    moving = brains.resampled(1, centred((50, 60, 42), (4.0, 3.4, 5.0), turned((-6, 14, -10))))
    nib.save(fixed, tmp_path / "fixed.nii.gz")
    nib.save(moving, tmp_path / "moving.nii.gz")
    fine = register(fixed, moving, bundle=model)
    monkeypatch.setattr(register_module, "plan_memory", lambda *_: MemoryPlan(GIB, GIB, 4, 1.5, ("given up",)))
    coarse = register(tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", bundle=model)
    assert coarse.field_grid.size == (16, 13, 12) and "given up" in coarse.notices
    assert coarse.verdict == "succeeded", coarse.checks
    coarse.save(tmp_path / "out")

    images = [sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("fixed", "moving")]
    transform = sitk.ReadTransform(str(tmp_path / "out/transform.h5"))
    expected = sitk.GetArrayFromImage(sitk.Resample(images[1], images[0], transform, sitk.sitkLinear, 0.0))
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out/warped.nii.gz")))
    span = np.ptp(sitk.GetArrayFromImage(images[1]))
    assert np.abs(warped - expected).max() < 1e-3 * span
    # it lies on the whole fixed grid and shows what the fine field shows
    assert nib.load(tmp_path / "out/warped.nii.gz").shape == size
    assert np.abs(coarse.warped_array - fine.warped_array).mean() < 0.03 * span


def test_coarse_grids_cover_the_fixed_image_to_its_border() -> None:
    # ITK takes a field for zero beyond half a voxel outside its outermost centres
    grid = centred((61, 50, 47), (3.2, 3.8, 4.1), turned((12, -9, 20)))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.size])).reshape(3, -1)
    for factor in (2, 4):
        coarse = grid.coarsened(factor)
        inside = (np.linalg.inv(coarse.affine) @ grid.affine @ np.vstack([corners, np.ones(8)]))[:3]
        assert (inside >= -0.5).all() and (inside <= np.array(coarse.size)[:, None] - 0.5).all()


def test_register_refuses_what_does_not_fit(brains: Brains, model: RegistrationModel) -> None:
    with pytest.raises(DataError, match="even on the coarsest grids"):
        register(brains.image(0), brains.image(1), bundle=model, max_memory="50M")
