"""The exported transform is judged by the foreign program that will read it: SimpleITK."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.fields import warp, warp_labels

pytest.importorskip("itk")
from morphseek_monai.spatial.displacement_file import read_itk_transform, write_itk_transform  # noqa: E402

SmoothDDF = Callable[..., torch.Tensor]
SmoothImage = Callable[[tuple[int, int, int]], torch.Tensor]

SIZE = (14, 17, 12)


def oblique(*flips: int) -> np.ndarray:
    """Rotated, anisotropic, off-centre affine, with the given axes flipped."""
    linear = nib.eulerangles.euler2mat(0.3, -0.2, 0.5) @ np.diag([0.8, 1.5, 3.0])
    for axis in flips:
        linear[:, axis] *= -1
    return np.asarray(nib.affines.from_matvec(linear, [12.0, -30.0, 7.5]))


AFFINES = {
    "identity": np.eye(4),
    "LPS": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "oblique": oblique(),
    "flipped": oblique(0),
    "flipped twice": oblique(1, 2),
    "permuted": oblique()[:, [2, 0, 1, 3]],
}


def sitk_image(volume: np.ndarray, affine: np.ndarray):  # type: ignore[no-untyped-def]
    """A NiBabel-ordered volume with a RAS affine as a SimpleITK image, in the words of the two manuals."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(volume.transpose(2, 1, 0))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((np.diag([-1, -1, 1]) @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((affine[:3, 3] * [-1, -1, 1]).tolist())
    return image


def inside(ddf: torch.Tensor) -> np.ndarray:
    """Voxels whose target lies on the grid, where no padding rule matters."""
    target = np.indices(SIZE) + ddf[0].numpy()
    top = np.array(SIZE).reshape(3, 1, 1, 1) - 1
    return np.asarray(((target >= 0) & (target <= top)).all(0))


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".tfm"])
def test_simpleitk_warps_alike(
    name: str, suffix: str, tmp_path: Path, smooth_ddf: SmoothDDF, smooth_image: SmoothImage
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine, image = AFFINES[name], smooth_image(SIZE)
    ddf = smooth_ddf(SIZE, 3.0, seed=11) * torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1, 1)
    write_itk_transform(tmp_path / f"u{suffix}", ddf, affine)

    moving = sitk_image(image[0, 0].numpy(), affine)
    transform = sitk.ReadTransform(str(tmp_path / f"u{suffix}"))
    foreign = sitk.GetArrayFromImage(
        sitk.Resample(moving, moving, transform, sitk.sitkLinear, 0.0)
    ).transpose(2, 1, 0)
    ours = warp(image, ddf)[0, 0].numpy()

    keep = inside(ddf)
    assert 0.5 < keep.mean() < 1
    assert np.abs(ours - image[0, 0].numpy())[keep].max() > 0.1
    assert np.abs(foreign - ours)[keep].max() < 1e-3 * np.ptp(image.numpy())


@pytest.mark.parametrize("name", AFFINES)
def test_simpleitk_warps_labels_alike(name: str, tmp_path: Path, smooth_ddf: SmoothDDF) -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine, ddf = AFFINES[name], smooth_ddf(SIZE, 3.0, seed=12)
    labels = torch.randint(
        1, 250, (1, 1, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    write_itk_transform(tmp_path / "u.h5", ddf, affine)

    moving = sitk_image(labels[0, 0].numpy(), affine)
    transform = sitk.ReadTransform(str(tmp_path / "u.h5"))
    resampled = sitk.Resample(moving, moving, transform, sitk.sitkNearestNeighbor, 0)
    foreign = sitk.GetArrayFromImage(resampled).transpose(2, 1, 0)
    ours = warp_labels(labels, ddf)[0, 0].numpy()
    assert (ours == 0).any()  # some targets lie outside: ITK's extent, not only its rounding, is compared
    # half-way targets are decided by the last bit of a float32
    target = np.indices(SIZE) + ddf[0].numpy()
    clear = (np.abs(target % 1 - 0.5) > 1e-5).all(0)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(ours[clear], foreign[clear])


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_round_trip(name: str, suffix: str, tmp_path: Path, smooth_ddf: SmoothDDF) -> None:
    ddf = smooth_ddf(SIZE, 5.0)
    write_itk_transform(tmp_path / f"u{suffix}", ddf, AFFINES[name])
    back, affine = read_itk_transform(tmp_path / f"u{suffix}")
    assert back.dtype == torch.float32
    assert affine.dtype == torch.float64
    torch.testing.assert_close(back, ddf, atol=2e-6, rtol=0)  # 5 voxels in single precision
    np.testing.assert_allclose(affine.numpy(), AFFINES[name], atol=1e-12)


def test_reads_what_simpleitk_writes(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    vectors = np.random.default_rng(0).normal(size=(*SIZE[::-1], 3))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing([1.0, 2.0, 4.0])
    sitk.WriteTransform(
        sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64)), str(tmp_path / "u.h5")
    )
    ddf, affine = read_itk_transform(tmp_path / "u.h5")
    np.testing.assert_allclose(affine.numpy(), np.diag([-1.0, -2.0, 4.0, 1.0]))
    expected = vectors.transpose(3, 2, 1, 0) / np.array([1.0, 2.0, 4.0]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(ddf[0].numpy(), expected, atol=1e-6)


def test_one_field_without_batch_axis(tmp_path: Path) -> None:
    ddf = torch.randn(3, *SIZE)
    write_itk_transform(str(tmp_path / "u.h5"), ddf, torch.eye(4))
    torch.testing.assert_close(read_itk_transform(str(tmp_path / "u.h5"))[0][0], ddf)


def test_field_under_training_is_written(tmp_path: Path) -> None:
    write_itk_transform(tmp_path / "u.h5", torch.randn(1, 3, *SIZE, requires_grad=True), np.eye(4))
    assert [path.name for path in tmp_path.iterdir()] == ["u.h5"]  # and no partial file is left


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, _: object) -> None:
        Path(str(source)).write_text("half a file")
        raise RuntimeError("disk full")

    (tmp_path / "u.h5").write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        write_itk_transform(tmp_path / "u.h5", torch.zeros(1, 3, *SIZE), np.eye(4))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("u.h5", "old")]


def test_fields_do_not_import_itk() -> None:
    code = "import sys, morphseek_monai.fields; print('itk' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


class TestErrors:
    def test_sheared_affine(self, tmp_path: Path) -> None:
        affine = np.eye(4)
        affine[0, 1] = 0.1
        with pytest.raises(
            ValueError, match=r"'affine' must have orthogonal axes, got a shear of 0.1; resample the fixed"
        ):
            write_itk_transform(tmp_path / "u.h5", torch.zeros(1, 3, *SIZE), affine)

    def test_shear_of_single_precision_headers_is_none(self, tmp_path: Path) -> None:
        write_itk_transform(tmp_path / "u.h5", torch.zeros(1, 3, *SIZE), oblique().astype(np.float32))

    @pytest.mark.parametrize("shape", [(2, 3, *SIZE), (1, 1, 3, *SIZE), SIZE])
    def test_more_than_one_field(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match=r"write_itk_transform\(\) 'ddf' must be one field \(1, 3, D, H, W\), got"
        ):
            write_itk_transform(tmp_path / "u.h5", torch.zeros(shape), np.eye(4))

    @pytest.mark.parametrize("name", ["u.nii.gz", "u", "u.mat"])
    def test_suffix(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'path' must end in one of .h5, .hdf5, .tfm, got"):
            write_itk_transform(tmp_path / name, torch.zeros(1, 3, *SIZE), np.eye(4))

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match="'path' must lie in an existing folder, got .*; create it first"
        ):
            write_itk_transform(tmp_path / "no" / "u.h5", torch.zeros(1, 3, *SIZE), np.eye(4))

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"read_itk_transform\(\) 'path' must be an existing file, got"):
            read_itk_transform(tmp_path / "u.h5")

    @pytest.mark.parametrize("name", ["u.h5", "u.tfm"])
    def test_damaged_file(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"not a transform")
        with pytest.raises(
            ValueError, match=r"read_itk_transform\(\) 'path' must be an ITK transform file, got [^\n]*$"
        ):
            read_itk_transform(tmp_path / name)

    def test_other_transform(self, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        sitk.WriteTransform(sitk.Euler3DTransform(), str(tmp_path / "rigid.tfm"))
        with pytest.raises(
            ValueError, match=r"must hold one DisplacementFieldTransform, got \['Euler3DTransform'\] in"
        ):
            read_itk_transform(tmp_path / "rigid.tfm")


def test_a_file_holds_single_precision(tmp_path: Path) -> None:
    write_itk_transform(tmp_path / "u.h5", torch.randn(1, 3, *SIZE), np.eye(4))
    with h5py.File(tmp_path / "u.h5") as file:
        assert file["TransformGroup/0/TransformParameters"].dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["u.h5"]
