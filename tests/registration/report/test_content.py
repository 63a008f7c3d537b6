"""A report is made from volumes of one grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from morphseek_monai.registration.report import ReportContent

MakeContent = Callable[..., ReportContent]


def test_length_of_the_displacement_counts_spacing_and_shear(make_content: MakeContent) -> None:
    affine = np.array([[2.0, 0.0, 1.0, 5.0], [0.0, 0.0, -3.0, 6.0], [0.0, 1.5, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
    content = make_content((33, 5, 4), affine=affine)  # a last slab of one slice
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], content.ddf)
    np.testing.assert_allclose(content.displacement_mm, np.linalg.norm(world, axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["before", "aligned", "warped", "jacobian", "uncertainty"])
def test_refuses_volumes_of_another_grid(make_content: MakeContent, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"ReportContent\(\) '{name}' must have shape \[14, 16, 20\], got \[14, 16, 21\]"
    ):
        make_content(**{name: np.zeros((14, 16, 21), np.float32)})


def test_refuses_other_fields_images_and_verdicts(make_content: MakeContent) -> None:
    with pytest.raises(ValueError, match=r"'ddf' must have shape \[3, 14, 16, 20\], got \[14, 16, 20, 3\]"):
        make_content(ddf=np.zeros((14, 16, 20, 3), np.float32))
    with pytest.raises(ValueError, match=r"'fixed' must have shape \(X, Y, Z\), got \[14, 16\]"):
        make_content(fixed=np.zeros((14, 16), np.float32))
    with pytest.raises(ValueError, match="'verdict' must be one of succeeded, doubtful, failed, got 'fine'"):
        make_content(verdict="fine")
