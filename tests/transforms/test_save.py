from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import DataLoader, decollate_batch
from monai.transforms import Compose, Flipd, LoadImaged, Orientationd, Resized, Spacingd

from morphseek_monai.data import DataError, PairDataset
from morphseek_monai.fields import resize_ddf
from morphseek_monai.transforms import SaveRegistrationd

SHAPE = (12, 10, 8)
# oblique, anisotropic, one axis flipped
COS, SIN = np.cos(0.3), np.sin(0.3)
AFFINE = np.array(
    [[-2.0 * COS, -1.5 * SIN, 0, 11.0], [-2.0 * SIN, 1.5 * COS, 0, -7.0], [0, 0, 3.0, 90.0], [0, 0, 0, 1]]
)


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nib.save(nib.Nifti1Image(array, affine), path)
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ddf = rng.normal(0, 1.5, (1, 3, 4, 4, 4)).astype(np.float32)
    item: dict[str, Any] = {"pred": resize_ddf(torch.from_numpy(ddf), list(SHAPE))[0]}
    for role, scan in (("fixed", "T_0001_0000"), ("moving", "T_0002_0001")):
        image = rng.integers(-500, 500, SHAPE).astype(np.int16)
        item[f"{role}_image"] = write(tmp_path / f"{scan}.nii.gz", image)
        item[f"{role}_label"] = write(
            tmp_path / f"{scan}_label.nii.gz", rng.integers(0, 700, SHAPE).astype(np.uint16)
        )
    return item


def load(path: str) -> nib.Nifti1Image:
    return nib.load(path)


def trilinear(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Sample ``image`` at ``where`` (3, ...), border values outside; by the definition, corner by corner."""
    size = np.array(image.shape)[:, None, None, None]
    where = np.clip(where, 0, size - 1)
    low = np.minimum(np.floor(where), size - 2).astype(int)
    total = np.zeros(where.shape[1:])
    for corner in np.ndindex(2, 2, 2):
        index = low + np.array(corner)[:, None, None, None]
        total += image[tuple(index)] * np.prod(1 - np.abs(where - index), axis=0)
    return total


def test_files_and_names(pair: dict[str, Any], tmp_path: Path) -> None:
    result = SaveRegistrationd(str(tmp_path / "out" / "deep"))(pair)
    names = {path.name for path in (tmp_path / "out" / "deep").iterdir()}
    stem = "0001_0000_0002_0001"
    expected = {
        f"disp_{stem}.nii.gz",
        f"warped_{stem}.nii.gz",
        f"warped_label_{stem}.nii.gz",
        f"transform_{stem}.h5",
    }
    assert names == expected
    assert {
        Path(result[f"{kind}_path"]).name for kind in ("disp", "warped", "warped_label", "transform")
    } == expected
    assert result["pred"] is pair["pred"] and "disp_path" not in pair


def test_short_names_and_fewer_outputs(pair: dict[str, Any], tmp_path: Path) -> None:
    result = SaveRegistrationd(str(tmp_path / "o"), outputs=["disp"], short_names=True)(pair)
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["disp_0001_0002.nii.gz"]
    assert "warped_path" not in result
    with pytest.raises(ValueError, match=r"'outputs' must be of .*got \['field'\]"):
        SaveRegistrationd("o", outputs=["field"])


def test_no_label_no_label_file(pair: dict[str, Any], tmp_path: Path) -> None:
    result = SaveRegistrationd(str(tmp_path / "o"), outputs=["warped_label"])({**pair, "moving_label": ""})
    assert "warped_label_path" not in result and not (tmp_path / "o").exists()


def test_field_is_what_learn2reg_evaluates(pair: dict[str, Any], tmp_path: Path) -> None:
    """Learn2Reg: nibabel array (X, Y, Z, 3); map_coordinates at identity + disp, labels 0 outside."""
    result = SaveRegistrationd(str(tmp_path / "o"))(pair)
    disp = load(result["disp_path"])
    assert disp.shape == (*SHAPE, 3) and disp.get_data_dtype() == np.float32
    np.testing.assert_array_equal(disp.affine, np.eye(4))
    assert int(disp.header["intent_code"]) == 0
    field = disp.get_fdata().transpose(3, 0, 1, 2)
    np.testing.assert_allclose(field, pair["pred"], atol=1e-5)

    where = np.indices(SHAPE) + field
    moving, label = (load(pair[f"moving_{kind}"]).get_fdata() for kind in ("image", "label"))
    warped = load(result["warped_path"])
    np.testing.assert_allclose(warped.get_fdata(), trilinear(moving, where), atol=0.05)
    nearest = np.floor(where + 0.5).astype(int)
    inside = np.all([(n >= 0) & (n < size) for n, size in zip(nearest, SHAPE)], axis=0)
    expected = np.where(inside, label[tuple(np.clip(n, 0, size - 1) for n, size in zip(nearest, SHAPE))], 0)
    written = load(result["warped_label_path"])
    assert written.get_data_dtype() == np.uint16
    # where x + u(x) lies exactly between two voxels, either is right
    assert np.mean(np.asarray(written.dataobj) == expected) > 0.999
    for image in (warped, written):
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


def test_simpleitk_warps_as_we_do(pair: dict[str, Any], tmp_path: Path) -> None:
    result = SaveRegistrationd(str(tmp_path / "o"))(pair)
    fixed, moving = (sitk.ReadImage(pair[f"{role}_image"], sitk.sitkFloat64) for role in ("fixed", "moving"))
    transform = sitk.ReadTransform(result["transform_path"])
    resampled = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, -9999.0))
    ours = load(result["warped_path"]).get_fdata().transpose(2, 1, 0)
    seen = resampled != -9999.0
    assert seen.mean() > 0.5  # elsewhere the field leaves the image, which SimpleITK marks
    np.testing.assert_allclose(resampled[seen], ours[seen], atol=1.0)  # 1e-3 of the intensity range


def test_constant_shift_in_resized_grid_moves_native_voxels(pair: dict[str, Any], tmp_path: Path) -> None:
    """One voxel of a grid of half the size is two native voxels."""
    ddf = torch.zeros(3, 6, 5, 4)
    ddf[0] = 1.0
    result = SaveRegistrationd(str(tmp_path / "o"))({**pair, "pred": ddf})
    np.testing.assert_allclose(load(result["disp_path"]).get_fdata()[..., 0], 2.0, atol=1e-6)
    moving, warped = load(pair["moving_label"]).get_fdata(), load(result["warped_label_path"]).get_fdata()
    np.testing.assert_array_equal(warped[:-2], moving[2:])
    assert np.all(warped[-2:] == 0)


def test_dataset_to_files_through_monai(pair: dict[str, Any], tmp_path: Path) -> None:
    """Load, resize, collate, decollate, save: the native corners are those of the network's grid."""
    transform = [LoadImaged("image", ensure_channel_first=True), Resized("image", (8, 8, 8))]
    data = [{"fixed": {"image": pair["fixed_image"]}, "moving": {"image": pair["moving_image"]}}]
    (item,) = decollate_batch(next(iter(DataLoader(PairDataset(data, transform)))))
    item["pred"] = torch.ones(3, 8, 8, 8)
    result = Compose([SaveRegistrationd(str(tmp_path / "o"))])(item)
    disp = load(result["disp_path"]).get_fdata()
    np.testing.assert_allclose(disp, np.broadcast_to(np.array(SHAPE) / 8, disp.shape), rtol=1e-5)


@pytest.mark.parametrize(
    "extra",
    [
        Orientationd("image", axcodes="RAS", labels=None),
        Spacingd("image", (2.5, 2.5, 2.5)),
        Flipd("image", 0),
    ],
    ids=["orientation", "spacing", "flip"],
)
def test_a_grid_that_is_no_resize_is_refused(pair: dict[str, Any], tmp_path: Path, extra: Any) -> None:
    transform = [LoadImaged("image", ensure_channel_first=True), extra, Resized("image", (8, 8, 8))]
    data = [{"fixed": {"image": pair["fixed_image"]}, "moving": {"image": pair["moving_image"]}}]
    item = {**PairDataset(data, transform)[0], "pred": torch.zeros(3, 8, 8, 8)}
    with pytest.raises(
        DataError, match=r"is not a resized grid of fixed image .*T_0001_0000.* use Resized alone"
    ):
        SaveRegistrationd(str(tmp_path / "o"))(item)
    assert not (tmp_path / "o").exists()


def test_images_on_two_grids_are_refused(pair: dict[str, Any], tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[0, 3] += 1
    write(Path(pair["moving_image"]), np.zeros(SHAPE, np.int16), other)
    with pytest.raises(DataError, match="lies on another grid than fixed .*resample the moving image"):
        SaveRegistrationd(str(tmp_path / "o"))(pair)
    write(Path(pair["moving_image"]), np.zeros((12, 10, 9), np.int16))
    with pytest.raises(DataError, match=r"moving .* has shape \(12, 10, 9\) but fixed"):
        SaveRegistrationd(str(tmp_path / "o"))(pair)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4, 4), (2, 4, 4, 4)])
def test_field_shape_is_checked(pair: dict[str, Any], tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"'pred' must be a field \(3, D, H, W\), got"):
        SaveRegistrationd(str(tmp_path / "o"))({**pair, "pred": torch.zeros(shape)})


def test_nothing_half_written_remains(
    pair: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("disk")

    monkeypatch.setattr("morphseek_monai.transforms.save.write_itk_transform", fail)
    with pytest.raises(RuntimeError, match="disk"):
        SaveRegistrationd(str(tmp_path / "o"), outputs=["transform"])(pair)
    assert list((tmp_path / "o").iterdir()) == []
