"""ANTs reads the pair of files that is written for it, and what it writes is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.transform import map_points

from .scene import FIXED, alike, deformable, linear, places, same_points, save_pair, warped

ants = pytest.importorskip("ants")


def images(folder: Path):  # type: ignore[no-untyped-def]
    save_pair(folder)
    return [ants.image_read(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving")]


def test_ants_warps_alike(tmp_path: Path) -> None:
    fixed, moving = images(tmp_path)
    written = write_transform(tmp_path / "a", deformable(), "ants", FIXED)
    assert [path.name for path in written] == ["a1Warp.nii.gz", "a0GenericAffine.mat"]
    alike(ants.apply_transforms(fixed, moving, [str(path) for path in written]).numpy(), warped(deformable()))
    written = write_transform(tmp_path / "b", linear(), "ants")
    assert [path.name for path in written] == ["b0GenericAffine.mat"]
    alike(ants.apply_transforms(fixed, moving, [str(path) for path in written]).numpy(), warped(linear()))


def test_the_pair_is_read_back(tmp_path: Path) -> None:
    warp, affine = write_transform(tmp_path / "a", deformable(), "ants", FIXED)
    points = places()
    whole = compose_transforms([read_transform(warp), read_transform(affine)])
    np.testing.assert_allclose(map_points(whole, points), deformable().map_points(points), atol=1e-3)
    same_points(affine, linear())


@pytest.mark.slow
def test_what_ants_registers_is_read(tmp_path: Path) -> None:
    fixed, moving = images(tmp_path)
    prefix = str(tmp_path / "o")
    found = ants.registration(fixed, moving, "SyN", outprefix=prefix, reg_iterations=(10, 5), random_seed=1)
    warp, affine = found["fwdtransforms"]
    assert warp.endswith("1Warp.nii.gz") and affine.endswith("0GenericAffine.mat")
    whole = compose_transforms([read_transform(warp), read_transform(affine)])
    alike(ants.apply_transforms(fixed, moving, [warp, affine]).numpy(), warped(whole))
