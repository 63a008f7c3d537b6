"""Enhanced multi-frame DICOM; highdicom as the other opinion where it reads the file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_scan, read_series

pydicom = pytest.importorskip("pydicom")
VALUES = np.random.default_rng(0).integers(0, 2000, (11, 10, 9)).astype(np.uint16)  # columns, rows, slices
ROW, COLUMN = np.array([0.6, 0.8, 0.0]), np.array([-0.8, 0.6, 0.0])
ORIGIN = np.array([10.0, -20.0, 30.0])


def item(**values: Any) -> Any:
    made = pydicom.Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def write(
    path: Path,
    frames: Sequence[tuple[np.ndarray, float]],
    slopes: Sequence[tuple[float, float]] | None = None,
    lean: float = 0.0,
    times: Sequence[int] | None = None,
    drop: str = "",
) -> Path:
    """``frames`` are ``(columns x rows, height in mm)`` in the order of the file."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"  # enhanced CT
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.3.1", "1.2.3.9"
    data.Modality, data.PatientID, data.PatientName = "CT", "", ""
    data.Columns, data.Rows, data.NumberOfFrames = *frames[0][0].shape, len(frames)
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[*ROW, *COLUMN])],
            PixelMeasuresSequence=[item(PixelSpacing=[1.2, 0.8], SliceThickness=2.5)],
        )
    ]
    groups = []
    for number, (_, height) in enumerate(frames):
        position = ORIGIN + height * np.array([0, 0, 1]) + lean * height * COLUMN
        slope, intercept = slopes[number] if slopes else (1, 0)
        group = item(
            PlanePositionSequence=[item(ImagePositionPatient=[round(float(v), 9) for v in position])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
            ],
            FrameContentSequence=[item(TemporalPositionIndex=times[number] if times else 1)],
        )
        if drop:
            delattr(group, drop)
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    data.PixelData = np.stack([pixels.T for pixels, _ in frames]).astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def even(order: Sequence[int] = range(9)) -> list[tuple[np.ndarray, float]]:
    return [(VALUES[..., k], 2.5 * k) for k in order]


def place(affine: np.ndarray, index: Sequence[float]) -> np.ndarray:
    return (affine @ [*index, 1])[:3] * [-1, -1, 1]


@pytest.mark.parametrize("folder", [False, True])
def test_frames_out_of_order_lie_at_their_places(folder: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", even([4, 0, 8, 2, 6, 1, 3, 5, 7]))
    scan = read_scan(tmp_path if folder else path)
    np.testing.assert_array_equal(scan.array, VALUES)
    assert scan.notices == ()
    for index in [(0, 0, 0), (10, 2, 8), (3, 9, 4)]:
        expected = ORIGIN + 0.8 * index[0] * ROW + 1.2 * index[1] * COLUMN + [0, 0, 2.5 * index[2]]
        np.testing.assert_allclose(place(scan.affine, index), expected, atol=1e-9)


def test_it_is_what_highdicom_reads(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    slopes = [(0.5 + k, -100.0 * k) for k in range(9)]
    path = write(tmp_path / "a.dcm", even([4, 0, 8, 2, 6, 1, 3, 5, 7]), slopes)
    volume = highdicom.imread(path).get_volume(apply_real_world_transform=False, apply_modality_transform=True)
    scan = read_scan(path)
    assert scan.array.dtype == np.float32 and scan.array.size == volume.array.size
    for index in np.ndindex(*volume.array.shape):
        lps = (volume.affine @ [*index, 1])[:3]
        voxel = np.linalg.solve(scan.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-6)
        assert scan.array[tuple(np.rint(voxel).astype(int))] == pytest.approx(volume.array[index], rel=1e-6)


def test_each_frame_has_its_own_rescaling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", even(), [(0.5 * (k + 1), -1024 + k) for k in range(9)])
    k = np.arange(9)
    np.testing.assert_allclose(read_scan(path).array, VALUES * 0.5 * (k + 1) - 1024 + k, rtol=1e-6)


def test_uneven_frames_are_resampled_to_their_places(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", even([0, 1, 2, 3, 5, 6, 7, 8]))
    scan = read_scan(path, "fixed image")
    assert "2.5 to 5 mm apart, one may be missing; resampled to 9 slices, one every 2.5 mm" in scan.notices[0]
    np.testing.assert_array_equal(np.delete(scan.array, 4, 2), np.delete(VALUES, 4, 2))


def test_a_time_series_needs_a_frame(tmp_path: Path) -> None:
    frames = [(VALUES[..., k] + 100 * t, 2.5 * k) for t in (1, 0) for k in range(9)]
    path = write(tmp_path / "a.dcm", frames, times=[t for t in (2, 1) for _ in range(9)])
    with pytest.raises(DataError, match=r"has shape \(11, 10, 9, 2\); pick a volume with --frame \(0 to 1\)"):
        read_scan(path)
    np.testing.assert_array_equal(read_scan(path, frame=1).array, VALUES + 100)
    np.testing.assert_array_equal(read_series(path).array, np.stack([VALUES, VALUES + 100], -1))


def test_a_tilted_gantry_is_a_shear(tmp_path: Path) -> None:
    scan = read_scan(write(tmp_path / "a.dcm", even(), lean=0.2))
    assert "(sheared grid)" in scan.notices[0]
    np.testing.assert_allclose(place(scan.affine, (0, 0, 8)), ORIGIN + [0, 0, 20] + 4 * COLUMN, atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "drop", "message"),
    [
        (even(), "PlanePositionSequence", "does not say where its frames lie; convert it to NIfTI"),
        ([*even(), (VALUES[..., 0], 0.0)], "", "has 1 frames at some places and 2 at others; split it"),
    ],
)
def test_what_cannot_be_placed_is_refused(frames: Any, drop: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^image {tmp_path}/a.dcm {message}") as caught:
        read_scan(write(tmp_path / "a.dcm", frames, drop=drop))
    assert "\n" not in str(caught.value)


def test_without_pydicom_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dcm", even())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match="is a multi-frame DICOM file, which needs pydicom; pip install pydicom, or"):
        read_scan(path)
