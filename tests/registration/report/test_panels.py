"""What the panels of a report show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from morphseek_monai.registration.report import ReportContent
from morphseek_monai.registration.report.panels import make_panels
from morphseek_monai.registration.report.pictures import LARGEST_SIDE
from morphseek_monai.registration.report.planes import PLANES

MakeContent = Callable[..., ReportContent]


def test_each_image_is_shown_in_its_own_panel(make_content: MakeContent) -> None:
    content = make_content()
    panels = make_panels(content)
    for key in ("fixed", "before", "aligned", "warped"):
        for plane, indices in zip(PLANES, panels[key].indices):
            source = panels.cuts.picture(getattr(content, key), plane)
            assert np.corrcoef(source.ravel(), indices.ravel())[0, 1] > 0.99  # the window cuts a little


def test_scale_of_the_moving_image_does_not_matter(make_content: MakeContent) -> None:
    content = make_content()
    scaled = make_content(**{key: 1000 * getattr(content, key) - 200 for key in ("before", "aligned", "warped")})
    for key in ("warped", "checkerboard", "difference-warped"):
        for one, other in zip(make_panels(content)[key].indices, make_panels(scaled)[key].indices):
            np.testing.assert_allclose(one.astype(int), other, atol=1)


def test_the_states_of_the_moving_image_share_a_scale(make_content: MakeContent) -> None:
    content = make_content()
    half = make_panels(make_content(before=content.fixed, aligned=content.fixed / 2, warped=content.fixed))
    bright, dark = (float(half[key].indices[0].max()) for key in ("warped", "aligned"))
    assert dark < 0.7 * bright


def test_differences_are_black_where_images_agree_and_signed_elsewhere(make_content: MakeContent) -> None:
    content = make_content()
    brighter = np.zeros_like(content.fixed)
    brighter[:7] = 1.0  # the moving image of the patient's left half: on the right of an axial plane
    panels = make_panels(make_content(fixed=1 - brighter, before=brighter, aligned=brighter, warped=1 - brighter))
    assert (panels["difference-warped"].indices[0] == panels["difference-warped"].indices[1][0, 0]).all()
    assert abs(int(panels["difference-warped"].indices[0][0, 0]) - 127.5) < 1
    before = panels["difference-before"].indices[0]
    assert (before[:, -7:] == 0).all() and (before[:, :-7] == 255).all()


def test_what_is_not_a_number_is_shown_as_background(make_content: MakeContent) -> None:
    holes, filled = make_content().fixed.copy(), make_content().fixed.copy()
    holes[8:10], filled[8:10] = np.nan, 0.0
    broken, whole = (make_panels(make_content(fixed=image, uncertainty=None)) for image in (holes, filled))
    for key in ("fixed", "checkerboard", "difference-warped"):
        for plane, one in zip(PLANES[:2], broken[key].indices):
            other = whole[key].indices[PLANES.index(plane)]
            np.testing.assert_allclose(one.astype(int), other, atol=4)


def test_checkerboard_takes_both_images_in_tiles(make_content: MakeContent) -> None:
    fixed = np.indices((18, 18, 18)).sum(0).astype(np.float32)
    panels = make_panels(make_content((18, 18, 18), fixed=fixed, before=-fixed, aligned=-fixed, warped=-fixed))
    board, one, other = (panels[key].indices[0].astype(int) for key in ("checkerboard", "fixed", "warped"))
    from_fixed, from_warped = board == one, board == other
    assert (from_fixed | from_warped).all()
    assert from_fixed[:2, :2].all() and from_warped[:2, 2:4].all() and from_fixed[2:4, 2:4].all()


def test_folds_are_black_and_nothing_else_is(make_content: MakeContent) -> None:
    content = make_content()
    panel = make_panels(content)["jacobian"]
    cuts = make_panels(content).cuts
    pictures = [cuts.picture(content.jacobian, plane) for plane in PLANES]
    assert any((picture <= 0).any() for picture in pictures)
    for picture, indices in zip(pictures, panel.indices):
        np.testing.assert_array_equal(indices == 0, picture <= 0)
    assert f"{100 * np.mean(content.jacobian <= 0):.2g} % fold" in panel.caption


def test_jacobian_of_the_identity_is_the_middle_of_the_bar(make_content: MakeContent) -> None:
    content = make_content()
    panel = make_panels(make_content(ddf=0 * content.ddf, jacobian=np.ones_like(content.jacobian)))["jacobian"]
    assert panel.bar is not None and panel.bar.middle == "1"
    assert all((indices == 128).all() for indices in panel.indices)


def test_fold_of_one_voxel_survives_a_large_plane(make_content: MakeContent) -> None:
    jacobian = np.ones((2 * LARGEST_SIDE, 2, 5), np.float32)
    jacobian[123, :, 2] = -0.1
    flat = np.zeros_like(jacobian)
    volumes = dict.fromkeys(("fixed", "before", "aligned", "warped"), flat)
    ddf = np.zeros((3, *jacobian.shape))
    content = make_content(jacobian.shape, ddf=ddf, jacobian=jacobian, uncertainty=None, **volumes)
    coronal = make_panels(content)["jacobian"].indices[1]
    assert coronal.shape == (5, LARGEST_SIDE) and (coronal == 0).sum() == 1


def test_displacement_is_in_millimetres_of_the_grid(make_content: MakeContent) -> None:
    content = make_content()
    ddf = np.zeros_like(content.ddf)
    ddf[2] = 2.0
    panel = make_panels(make_content(ddf=ddf, affine=np.diag([1.0, 1.0, 3.0, 1.0])))["displacement"]
    assert "mean 6 mm, largest 6 mm" in panel.caption
    assert panel.bar is not None and panel.bar.high == "6 mm"


def test_uncertainty_only_where_there_is_one(make_content: MakeContent) -> None:
    assert "uncertainty" in [panel.key for panel in make_panels(make_content()).deformation]
    assert "uncertainty" not in [panel.key for panel in make_panels(make_content(uncertainty=None)).deformation]


def test_outlines_are_those_of_the_fixed_image(make_content: MakeContent) -> None:
    content = make_content((40, 40, 40))
    centres = [np.concatenate(list(lines)).mean(0) for lines in make_panels(content).outlines]
    np.testing.assert_allclose(centres, 20.0, atol=0.5)
    nothing = dict.fromkeys(("before", "aligned", "warped"), 0 * content.fixed)
    moved = make_panels(make_content((40, 40, 40), **nothing))
    np.testing.assert_allclose([np.concatenate(list(lines)).mean(0) for lines in moved.outlines], centres)
