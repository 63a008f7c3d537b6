"""A report is made from volumes of one grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from morphseek_monai.registration.report import ReportView

MakeView = Callable[..., ReportView]


def test_length_of_the_displacement_counts_spacing_and_shear(make_view: MakeView) -> None:
    affine = np.array([[2.0, 0.0, 1.0, 5.0], [0.0, 0.0, -3.0, 6.0], [0.0, 1.5, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
    view = make_view((33, 5, 4), affine=affine)  # a last slab of one slice
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], view.ddf)
    np.testing.assert_allclose(view.displacement_mm, np.linalg.norm(world, axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["before", "aligned", "warped", "jacobian", "uncertainty"])
def test_refuses_volumes_of_another_grid(make_view: MakeView, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"ReportView\(\) '{name}' must have shape \[14, 16, 20\], got \[14, 16, 21\]"
    ):
        make_view(**{name: np.zeros((14, 16, 21), np.float32)})


def test_refuses_other_fields_images_and_verdicts(make_view: MakeView) -> None:
    with pytest.raises(ValueError, match=r"'ddf' must have shape \[3, 14, 16, 20\], got \[14, 16, 20, 3\]"):
        make_view(ddf=np.zeros((14, 16, 20, 3), np.float32))
    with pytest.raises(ValueError, match=r"'fixed' must have shape \(X, Y, Z\), got \[14, 16\]"):
        make_view(fixed=np.zeros((14, 16), np.float32))
    with pytest.raises(ValueError, match="'verdict' must be one of succeeded, doubtful, failed, got 'fine'"):
        make_view(verdict="fine")
