from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.fields import ddf_to_world, world_to_ddf


def oblique(flip: bool = False, shear: float = 0.0) -> np.ndarray:
    """Rotated, anisotropic, off-centre affine; optionally with one axis flipped or sheared."""
    rotation = nib.eulerangles.euler2mat(0.3, -0.2, 0.5)
    linear = rotation @ np.diag([-1.0 if flip else 1.0, 1.0, 1.0]) @ np.diag([0.8, 1.5, 3.0])
    linear[0, 1] += shear
    return np.asarray(nib.affines.from_matvec(linear, [12.0, -30.0, 7.5]))


AFFINES = {
    "identity": np.eye(4),
    "oblique": oblique(),
    "flipped": oblique(flip=True),
    "sheared": oblique(shear=0.4),
}


@pytest.mark.parametrize("name", AFFINES)
def test_is_the_difference_of_two_world_points(name: str) -> None:
    affine, ddf = AFFINES[name], torch.randn(2, 3, 3, 4, 5, dtype=torch.float64)
    displacement = ddf_to_world(ddf, affine)
    voxel = np.moveaxis(np.indices((3, 4, 5)), 0, -1)
    for item in range(2):
        moved = voxel + np.moveaxis(ddf[item].numpy(), 0, -1)
        ras = nib.affines.apply_affine(affine, moved) - nib.affines.apply_affine(affine, voxel)
        lps = ras * [-1, -1, 1]
        np.testing.assert_allclose(np.moveaxis(displacement[item].numpy(), 0, -1), lps, atol=1e-12)


@pytest.mark.parametrize("name", AFFINES)
def test_round_trip(name: str) -> None:
    ddf = torch.randn(2, 3, 3, 4, 5)
    back = world_to_ddf(ddf_to_world(ddf, AFFINES[name]), AFFINES[name])
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, ddf, atol=1e-5, rtol=1e-5)


def test_takes_tensors_of_any_precision() -> None:
    ddf = torch.randn(1, 3, 2, 2, 2)
    expected = ddf_to_world(ddf, oblique())
    torch.testing.assert_close(ddf_to_world(ddf, torch.from_numpy(oblique())), expected)
    torch.testing.assert_close(ddf_to_world(ddf, torch.from_numpy(oblique()).float()), expected)


def test_origin_does_not_count() -> None:
    shifted = oblique()
    shifted[:3, 3] += 100
    ddf = torch.randn(1, 3, 2, 2, 2)
    assert torch.equal(ddf_to_world(ddf, shifted), ddf_to_world(ddf, oblique()))


def test_stays_float32_under_autocast() -> None:
    ddf = torch.randn(1, 3, 2, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        displacement = ddf_to_world(ddf, oblique())
    assert torch.equal(displacement, ddf_to_world(ddf, oblique()))


@pytest.mark.parametrize(("function", "argument"), [(ddf_to_world, "ddf"), (world_to_ddf, "displacement")])
class TestErrors:
    def test_field(self, function, argument: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            ValueError, match=rf"{function.__name__}\(\) '{argument}' must have shape \(B, 3, D, H, W\)"
        ):
            function(torch.zeros(3, 2, 2, 2), np.eye(4))

    @pytest.mark.parametrize("shape", [(3, 4), (1, 4, 4), (3, 3)])
    def test_affine_shape(self, function, argument: str, shape: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            ValueError, match=rf"{function.__name__}\(\) 'affine' must have shape \(4, 4\), got"
        ):
            function(torch.zeros(1, 3, 2, 2, 2), np.ones(shape))

    @pytest.mark.parametrize(
        ("entry", "value"), [((0, 0), np.nan), ((1, 3), np.inf), ((3, 3), 2.0), ((3, 0), 1.0)]
    )
    def test_affine_values(self, function, argument: str, entry: tuple[int, int], value: float) -> None:  # type: ignore[no-untyped-def]
        affine = np.eye(4)
        affine[entry] = value
        with pytest.raises(
            ValueError, match=r"'affine' must be finite with last row \(0, 0, 0, 1\), got .*; repair"
        ):
            function(torch.zeros(1, 3, 2, 2, 2), affine)

    def test_singular_affine(self, function, argument: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match=r"'affine' must be invertible, got .*; repair the header"):
            function(torch.zeros(1, 3, 2, 2, 2), np.diag([1.0, 0.0, 1.0, 1.0]))
