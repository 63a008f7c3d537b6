from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import DataLoader, decollate_batch
from monai.transforms import Compose, Flipd, LoadImaged, Orientationd, Resized, SpatialCropd

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


def shifted_pair(tmp_path: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Fixed and moving image on one grid, the moving one displaced by whole native voxels."""
    image = np.random.default_rng(0).integers(-500, 500, (16, 16, 16)).astype(np.int16)
    shift = np.array([2, -2, 2])
    fixed = write(tmp_path / "fixed.nii.gz", np.roll(image, -shift, (0, 1, 2)), AFFINE)
    moving = write(tmp_path / "moving.nii.gz", image, AFFINE)
    return [{"fixed": {"image": fixed}, "moving": {"image": moving}}], shift


@pytest.mark.parametrize(
    ("extra", "shift"),
    [
        (Orientationd("image", axcodes="LPI", labels=None), [2, 2, -2]),
        (Flipd("image", 0), [-2, -2, 2]),
        (SpatialCropd("image", roi_start=(2, 2, 2), roi_end=(14, 16, 12)), [2, -2, 2]),
        (Compose([Flipd("image", 1), Resized("image", (8, 8, 8))]), [1, 1, 1]),
    ],
    ids=["orientation", "flip", "crop", "flip and resize"],
)
def test_any_preprocessed_grid_is_undone(tmp_path: Path, extra: Any, shift: list[int]) -> None:
    """A constant shift of the prepared grid is the constant shift of the native one; AFFINE is oriented LAS."""
    data, native = shifted_pair(tmp_path)
    item = PairDataset(data, [LoadImaged("image", ensure_channel_first=True), extra])[0]
    item["pred"] = torch.tensor(shift).float()[:, None, None, None].expand(3, *item["image"].shape[1:])
    result = SaveRegistrationd(str(tmp_path / "o"))(item)
    disp = load(result["disp_path"]).get_fdata()
    np.testing.assert_allclose(disp, np.broadcast_to(native, disp.shape), atol=1e-4)
    fixed, warped = load(data[0]["fixed"]["image"]).get_fdata(), load(result["warped_path"]).get_fdata()
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(warped[inner], fixed[inner], atol=0.1)


OTHER = np.array([[0, 1.7, 0, -300.0], [2.2, 0, 0, 45.0], [0, 0, 2.5, -700.0], [0, 0, 0, 1]])


@pytest.fixture
def patients(tmp_path: Path) -> dict[str, Any]:
    """Two patients whose grids differ in size, spacing, orientation and position, each cropped on its own."""
    rng = np.random.default_rng(1)
    item: dict[str, Any] = {}
    for role, shape, affine in (("fixed", (12, 20, 9), AFFINE), ("moving", (15, 11, 18), OTHER)):
        item[role] = {
            "image": write(tmp_path / f"{role}.nii.gz", rng.integers(-500, 500, shape).astype(np.int16), affine),
            "label": write(tmp_path / f"{role}_label.nii.gz", rng.integers(0, 7, shape).astype(np.uint8), affine),
        }
    keys = ["image", "label"]
    transform = [
        LoadImaged(keys, ensure_channel_first=True),
        Orientationd(keys, axcodes="RAS", labels=None),
        SpatialCropd(keys, roi_start=(1, 2, 0), roi_end=(10, 12, 9)),
        Resized(keys, (8, 9, 10), mode=["trilinear", "nearest-exact"]),
    ]
    pair = PairDataset([item], transform)[0]
    assert not torch.allclose(pair["affine"], pair["moving_affine"])
    field = rng.normal(0, 0.7, (1, 3, 3, 3, 3)).astype(np.float32)
    pair["pred"] = resize_ddf(torch.from_numpy(field), [8, 9, 10])[0]
    return pair


def test_simpleitk_warps_between_patients_as_we_do(patients: dict[str, Any], tmp_path: Path) -> None:
    """The written transform resamples the moving file, as it lies in the scanner, onto the fixed file's grid."""
    result = SaveRegistrationd(str(tmp_path / "o"), same_grid=False)(patients)
    transform = sitk.ReadTransform(result["transform_path"])
    fixed = sitk.ReadImage(patients["fixed_image"])
    for output, key, kind, tolerance in (
        ("warped", "moving_image", sitk.sitkLinear, 1.0),  # 1e-3 of the intensity range
        ("warped_label", "moving_label", sitk.sitkNearestNeighbor, 0.0),
    ):
        moving = sitk.ReadImage(patients[key], sitk.sitkFloat64)
        theirs = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, kind, -9999.0)).transpose(2, 1, 0)
        written = load(result[f"{output}_path"])
        assert written.shape == (12, 20, 9)
        np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
        seen = theirs != -9999.0
        assert seen.mean() > 0.4
        close = np.abs(theirs - written.get_fdata())[seen] <= tolerance
        assert close.mean() > 0.999, output  # exactly between two voxels either label is right


def test_prepared_voxels_that_the_field_pairs_are_paired_in_the_files(patients: dict[str, Any], tmp_path: Path) -> None:
    """From the definition: fixed voxel x of the network shows what moving voxel x + u(x) of the network shows."""
    result = SaveRegistrationd(str(tmp_path / "o"), same_grid=False)(patients)
    disp = load(result["disp_path"]).get_fdata()
    fixed, moving = (load(patients[f"{role}_image"]).affine for role in ("fixed", "moving"))
    apply = nib.affines.apply_affine
    native = np.argwhere(np.ones(disp.shape[:3]))
    x = apply(np.linalg.inv(patients["affine"].numpy()) @ fixed, native)
    inside = np.all((x >= 0) & (x <= np.array([7, 8, 9])), axis=1)
    assert inside.sum() > 200
    u = np.stack([trilinear(c, x.T[:, :, None, None])[:, 0, 0] for c in patients["pred"].numpy()], axis=1)
    expected = apply(np.linalg.inv(moving) @ patients["moving_affine"].numpy(), x + u)
    np.testing.assert_allclose((native + disp[tuple(native.T)])[inside], expected[inside], atol=1e-3)


def test_grids_differ_only_on_request_and_with_affines(patients: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"moving .* has shape \(15, 11, 18\) but fixed"):
        SaveRegistrationd(str(tmp_path / "o"))(patients)
    bare = {key: value for key, value in patients.items() if key not in ("affine", "moving_affine")}
    with pytest.raises(ValueError, match="'same_grid' must be True for items without affines, got False; load"):
        SaveRegistrationd(str(tmp_path / "o"), same_grid=False)(bare)
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
