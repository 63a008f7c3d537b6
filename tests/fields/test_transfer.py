"""The oracle is the definition, point by point, with NiBabel's affines."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.fields import ddf_to_world, resize_ddf, transfer_ddf
from morphseek_monai.fields import transfer as module

SIZE = (7, 9, 6)
NEW = (19, 8, 11)  # more than one slab, and not a multiple of one
apply = nib.affines.apply_affine


def affine(seed: int, scale: float = 1.0) -> np.ndarray:
    """Rotated, anisotropic, off-centre, flipped or not."""
    rng = np.random.default_rng(seed)
    linear = nib.eulerangles.euler2mat(*rng.uniform(-0.5, 0.5, 3)) @ np.diag(scale * rng.uniform(0.7, 1.4, 3))
    linear[:, seed % 3] *= -1
    return np.asarray(nib.affines.from_matvec(linear, rng.uniform(-50, 50, 3)))


def grids() -> dict[str, np.ndarray]:
    """Old fixed and moving grids, new ones inside the same region."""
    old, moving = affine(1, 2.0), affine(2, 3.0)
    inward = nib.affines.from_matvec(np.diag([0.3, 0.8, 0.4]), [0.4, 0.5, 0.6])
    return {"affine": old, "moving_affine": moving, "to_affine": old @ inward, "to_moving_affine": affine(3)}


def linear_ddf(size: tuple[int, int, int] = SIZE) -> tuple[torch.Tensor, np.ndarray]:
    """A field that trilinear interpolation reproduces exactly: `u(x) = matvec(x)`."""
    matvec = nib.affines.from_matvec(np.random.default_rng(0).normal(0, 0.1, (3, 3)), [1.0, -2.0, 0.5])
    return torch.from_numpy(np.moveaxis(apply(matvec, np.moveaxis(np.indices(size), 0, -1)), -1, 0))[None], matvec


def test_the_same_points_correspond() -> None:
    at, (ddf, matvec) = grids(), linear_ddf()
    new = transfer_ddf(ddf, size=NEW, **at)
    y = np.moveaxis(np.indices(NEW), 0, -1)
    x = apply(np.linalg.inv(at["affine"]) @ at["to_affine"], y)
    assert x.min() >= 0 and np.all(x.max((0, 1, 2)) <= np.array(SIZE) - 1)
    target = apply(at["moving_affine"], x + apply(matvec, x))
    found = apply(at["to_moving_affine"], y + np.moveaxis(new[0].numpy(), 0, -1))
    np.testing.assert_allclose(found, target, atol=1e-9)


def test_in_space_it_is_the_displacement_from_the_fixed_to_the_moving_point() -> None:
    at, (ddf, matvec) = grids(), linear_ddf()
    new = transfer_ddf(ddf, size=NEW, **{**at, "to_moving_affine": at["to_affine"]})
    y = np.moveaxis(np.indices(NEW), 0, -1)
    x = apply(np.linalg.inv(at["affine"]) @ at["to_affine"], y)
    ras = apply(at["moving_affine"], x + apply(matvec, x)) - apply(at["to_affine"], y)
    lps = np.moveaxis(ddf_to_world(new, at["to_affine"])[0].numpy(), 0, -1)
    np.testing.assert_allclose(lps, ras * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize("size", [(14, 18, 12), (21, 10, 40), SIZE])
def test_of_a_resized_grid_it_is_resize_ddf(size: tuple[int, int, int]) -> None:
    ddf = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    ratio = np.array(SIZE) / np.array(size)
    old = affine(4)
    resized = old @ nib.affines.from_matvec(np.diag(ratio), (ratio - 1) / 2)
    new = transfer_ddf(ddf, old, old, size, resized, resized)
    assert new.dtype == torch.float32
    torch.testing.assert_close(new, resize_ddf(ddf, list(size)), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("size", [(15, 11, 9), (4, 20, 6), SIZE])
def test_between_parallel_grids_it_is_what_it_is_between_turned_ones(
    order: tuple[int, int, int], size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Axis by axis, or at once: flipped, reordered, stretched, beyond the edges and within them."""
    ddf = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    old = affine(5)
    into = np.eye(4)
    into[:3, :3] = (np.diag([0.6, -0.4, 1.3])[:, list(order)]) * 1.1
    into[:3, 3] = [-1.0, 7.3, 0.2]
    new = old @ into
    found = transfer_ddf(ddf, old, old, size, new, new)
    monkeypatch.setattr(module, "_upright", lambda _: None)
    expected = transfer_ddf(ddf.double(), old, old, size, new, new)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
    assert found.is_contiguous()


def test_a_part_of_a_grid_is_cut_out_bit_for_bit() -> None:
    ddf = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    part = np.eye(4)
    part[:3, 3] = [2, 3, 1]
    assert torch.equal(transfer_ddf(ddf, np.eye(4), np.eye(4), (3, 4, 4), part, part), ddf[..., 2:5, 3:7, 1:5])


def test_there_and_back() -> None:
    at, (ddf, _) = grids(), linear_ddf()
    new = transfer_ddf(ddf, at["affine"], at["moving_affine"], SIZE, at["affine"], at["to_moving_affine"])
    assert not torch.allclose(new, ddf)
    back = transfer_ddf(new, at["affine"], at["to_moving_affine"], SIZE, at["affine"], at["moving_affine"])
    torch.testing.assert_close(back, ddf)


def test_beyond_the_grid_the_displacement_of_the_edge_continues() -> None:
    ddf = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    wider = nib.affines.from_matvec(np.eye(3), [-2, -2, -2])
    new = transfer_ddf(ddf, np.eye(4), np.eye(4), (8, 8, 8), wider, wider)
    torch.testing.assert_close(new[..., 2:6, 2:6, 2:6], ddf)
    torch.testing.assert_close(new[..., :2, 2:6, 2:6], ddf[..., :1, :, :].expand(1, 3, 2, 4, 4))
    torch.testing.assert_close(new[0, :, -1, -1, -1], ddf[0, :, -1, -1, -1])


def test_arguments_are_checked() -> None:
    ddf, eye = torch.zeros(1, 3, 4, 4, 4), np.eye(4)
    with pytest.raises(TypeError, match=r"transfer_ddf\(\) 'ddf' must be floating point"):
        transfer_ddf(ddf.int(), eye, eye, (4, 4, 4), eye, eye)
    with pytest.raises(ValueError, match=r"transfer_ddf\(\) 'size' must be \[D, H, W\], got \[4, 4\]"):
        transfer_ddf(ddf, eye, eye, (4, 4), eye, eye)
    with pytest.raises(ValueError, match=r"transfer_ddf\(\) 'affine' must be invertible"):
        transfer_ddf(ddf, eye, eye, (4, 4, 4), eye, np.diag([1.0, 0.0, 1.0, 1.0]))
