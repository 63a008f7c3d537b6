"""The lattice finds a shift and a turn by quarters that no header tells."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.registration.alignment.lattice_search import _turns, candidates
from morphseek_monai.space.image import Image

SIZE = (40, 30, 36)


def blobs(size: tuple[int, int, int] = SIZE) -> NDArray[np.float32]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=size), 4)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def test_all_proper_turns_once() -> None:
    assert len(_turns()) == 24 and _turns()[0] == ((0, 1, 2), (1, 1, 1))
    for axes, signs in _turns():
        matrix = np.zeros((3, 3))
        matrix[range(3), axes] = signs
        assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("turn", _turns()[::3])
def test_turn_and_shift(turn: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    linear = np.zeros((3, 3))
    linear[range(3), turn[0]] = turn[1]
    truth = np.eye(4)
    truth[:3, :3] = linear
    truth[:3, 3] = [70, -45, 20]
    image = blobs()
    best = candidates(Image(image, np.eye(4)), Image(image, truth), 3)[0]
    np.testing.assert_array_equal(best.matrix[:3, :3], linear)
    np.testing.assert_allclose(best.matrix[:3, 3], truth[:3, 3], atol=2)
    assert best.turned is (turn != _turns()[0])
    assert best.correlation > 0.8


@pytest.mark.parametrize("contrast", [1, -1])
def test_slab_of_a_long_body(contrast: int) -> None:
    """Thirty slices of a hundred and sixty, whose header lies by eighty."""
    body = blobs((24, 20, 160))
    slab = contrast * body[:, :, 20:50]
    affine = np.eye(4)
    affine[2, 3] = 20 + 80
    for moving, fixed, shift in (
        (Image(slab, affine), Image(body, np.eye(4)), 80),
        (Image(body, np.eye(4)), Image(slab, affine), -80),
    ):
        best = candidates(fixed, moving, 1)[0]
        assert not best.turned
        np.testing.assert_allclose(best.matrix[:3, 3], [0, 0, shift], atol=3)


def test_matching_corners_do_not_win() -> None:
    """Two images that share one corner only, where it is flat and bright, beside a body that they share."""
    body = np.zeros((40, 40, 40), np.float32)
    body[8:32, 10:30, 12:30] = blobs((24, 20, 18)) + 0.5
    one, other = body.copy(), body.copy()
    one[:4, :4, :4] = 1
    other[-4:, -4:, -4:] = 1
    best = candidates(Image(one, np.eye(4)), Image(other, np.eye(4)), 1, turns=False)[0]
    np.testing.assert_allclose(best.matrix[:3, 3], 0, atol=2)


def test_masked_voxels_say_nothing() -> None:
    image = blobs()
    mask = np.ones(SIZE, np.float32)
    mask[:12] = 0
    spoilt = np.where(mask > 0, image, 5).astype(np.float32)
    moving = np.eye(4)
    moving[:3, 3] = [0, 20, 0]
    best = candidates(Image(image, np.eye(4)), Image(spoilt, moving, mask), 1)[0]
    np.testing.assert_allclose(best.matrix[:3, 3], [0, 20, 0], atol=2)
