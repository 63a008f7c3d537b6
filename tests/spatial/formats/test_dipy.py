"""DIPY's mappings are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.files.transform_file import read_transform
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.transform import make_transform

from .scene import AFFINE, FIXED, MOVING, alike, displacements, field, image, linear, same_points, warped

imwarp = pytest.importorskip("dipy.align.imwarp")


def test_dipy_warps_alike(tmp_path: Path) -> None:
    """A mapping as a registration returns it, inverse: its codomain is the static image's space."""
    from dipy.align import write_mapping

    mapping = imwarp.DiffeomorphicMap(
        3, disp_shape=FIXED.size, disp_grid2world=FIXED.affine, domain_shape=MOVING.size,
        domain_grid2world=MOVING.affine, codomain_shape=FIXED.size, codomain_grid2world=FIXED.affine,
        prealign=np.linalg.inv(AFFINE),
    )  # fmt: skip
    mapping.backward = displacements(field()).astype(np.float32)
    mapping.forward = np.zeros_like(mapping.backward)
    mapping.is_inverse = True
    write_mapping(mapping, str(tmp_path / "m.nii.gz"))
    same_points(tmp_path / "m.nii.gz", PointMap((field(),)))
    whole = compose_transforms([read_transform(tmp_path / "m.nii.gz"), make_transform(AFFINE, None, FIXED)])
    alike(np.asarray(mapping.transform(np.asarray(image(MOVING, 2).dataobj))), warped(whole))


@pytest.mark.slow
def test_what_dipy_registers_is_read(tmp_path: Path) -> None:
    from dipy.align import write_mapping
    from dipy.align.metrics import CCMetric

    fixed, moving = (np.asarray(image(grid, seed).dataobj) for grid, seed in ((FIXED, 1), (MOVING, 2)))
    registration = imwarp.SymmetricDiffeomorphicRegistration(CCMetric(3), level_iters=[5, 3])
    grids = {"static_grid2world": FIXED.affine, "moving_grid2world": MOVING.affine}
    found = registration.optimize(fixed, moving, **grids, prealign=AFFINE)
    write_mapping(found, str(tmp_path / "m.nii.gz"))
    whole = compose_transforms([read_transform(tmp_path / "m.nii.gz"), make_transform(AFFINE, None, FIXED)])
    assert np.abs(warped(whole) - warped(linear())).max() > 5
    alike(np.asarray(found.transform(moving)), warped(whole))
