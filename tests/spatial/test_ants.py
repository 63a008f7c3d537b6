"""ANTs reads the files and agrees, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.data.scans.scan import read_scan
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.spatial.apply import warp_scan

ants = pytest.importorskip("ants")


@pytest.mark.parametrize(("to", "source"), [("fixed", "moving"), ("moving", "fixed")])
def test_ants_apply_transforms_gives_the_same_image(registered: Path, to: str, source: str) -> None:
    result = read_registration(registered)
    file = str(registered / ("transform.h5" if to == "fixed" else "inverse.h5"))
    reference, image = (ants.image_read(str(registered / f"{name}.nii.gz")) for name in (to, source))
    theirs = ants.apply_transforms(reference, image, [file], interpolator="linear").numpy()
    ours = warp_scan(read_scan(registered / f"{source}.nii.gz"), result.transform_from(to), result.grid(to)).array
    assert np.abs(theirs - ours).max() < 1e-3 * ours.max()


def test_ants_maps_points_alike(registered: Path) -> None:
    transform = ants.read_transform(str(registered / "transform.h5"))
    phi = read_registration(registered).transform_from("fixed")
    point = (read_registration(registered).fixed.centre * [-1, -1, 1]).tolist()
    assert np.allclose(transform.apply_to_point(point), phi.TransformPoint(point), atol=1e-3)
