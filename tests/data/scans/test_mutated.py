"""Headers and series that nobody wrote: a scan that agrees with another reader, or one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_series

pydicom = pytest.importorskip("pydicom")
HEADERS, SERIES, SEED = 1000, 200, 20260101  # docs/errors.md says these
FACTORS = {"mm": 1.0, "unknown": 1.0, "meter": 1e3, "micron": 1e-3}

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=5)
numbers = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e-3, 1e3, np.nan, np.inf]), st.floats(-10, 10, width=32))
codes = st.integers(-1, 7)
fields = st.fixed_dictionaries(
    {},
    optional={
        "pixdim": st.lists(numbers, min_size=8, max_size=8),
        "qform_code": codes,
        "sform_code": codes,
        "quatern_b": numbers,
        "quatern_c": numbers,
        "quatern_d": numbers,
        "qoffset_x": numbers,
        "srow_x": st.lists(numbers, min_size=4, max_size=4),
        "srow_y": st.lists(numbers, min_size=4, max_size=4),
        "scl_slope": numbers,
        "scl_inter": numbers,
        "xyzt_units": st.integers(0, 63),
        "intent_code": st.sampled_from([0, 3, 5, 1001, 1002, 1003, 1007, 2001, 9999]),
        "cal_max": numbers,
    },
)
strict = settings(
    deadline=None,
    database=None,
    derandomize=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def one_line(path: Any) -> Any:
    """The scan, or None after one line."""
    try:
        return read_series(path)
    except DataError as error:
        assert "\n" not in str(error) and str(path) in str(error) and ";" in str(error)
        return None


@pytest.mark.slow
def test_a_thousand_headers(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("headers") / "a.nii"
    read: list[int] = []

    @seed(SEED)
    @settings(strict, max_examples=HEADERS)
    @given(sizes, st.sampled_from(["u1", "i2", "f4", "f8", "i4"]), fields, st.booleans(), st.binary(max_size=40))
    def check(size: list[int], dtype: str, changes: dict[str, Any], big: bool, text: bytes) -> None:
        values = np.arange(np.prod(size), dtype=dtype).reshape(size)
        image = nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1]), nib.Nifti1Header(endianness=">" if big else "<"))
        if text:
            image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text))
        nib.save(image, path)
        header = nib.Nifti1Header.from_fileobj(path.open("rb"), check=False)
        for name, value in changes.items():
            header[name] = value
        content = path.read_bytes()
        path.write_bytes(header.binaryblock + content[348:])
        scan = one_line(path)
        read.append(scan is not None)
        if scan is None:
            return
        other = nib.load(path)
        expected = other.get_fdata().reshape(scan.array.shape)
        finite = np.isfinite(expected)
        np.testing.assert_allclose(scan.array[finite], expected[finite], rtol=1e-5, atol=1e-5)
        assert (scan.missing is None) == bool(finite.all())
        try:
            unit = other.header.get_xyzt_units()[0]
        except KeyError:
            unit = "unknown"
        np.testing.assert_allclose(scan.affine[:3], FACTORS[unit] * other.affine[:3], rtol=1e-6)

    check()
    assert len(read) >= HEADERS and 0.05 < np.mean(read) < 0.95


def write_series(folder: Path, heights: list[float], slopes: list[float], size: tuple[int, int], thick: float) -> None:
    for number, (height, slope) in enumerate(zip(heights, slopes)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data = pydicom.Dataset()
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.3", "1.2.3.1", "CT"
        data.InstanceNumber, data.SliceThickness, data.PixelSpacing = number + 1, thick, [1.5, 0.5]
        data.ImagePositionPatient = [5.0, -6.0, round(height, 6)]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.RescaleSlope, data.RescaleIntercept = slope, -1024
        data.Columns, data.Rows, data.SamplesPerPixel, data.PhotometricInterpretation = *size, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        values = np.random.default_rng(number).integers(0, 4000, (size[1], size[0]))
        data.PixelData = values.astype(np.uint16).tobytes()
        data.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)


@pytest.mark.slow
def test_two_hundred_series(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each slice as SimpleITK reads its file alone; where slices lie evenly the volume holds it at its place."""
    root = tmp_path_factory.mktemp("series")
    read: list[int] = []

    @seed(SEED)
    @settings(strict, max_examples=SERIES)
    @given(
        st.lists(st.sampled_from([1.0, 1.0, 1.0, 2.0, 3.0, 0.0]), min_size=1, max_size=6),
        st.sampled_from([0.5, 1.0, 2.5]),
        st.lists(st.sampled_from([1.0, 1.0, 0.5]), min_size=7, max_size=7),
        st.tuples(st.integers(2, 6), st.integers(2, 6)),
        st.permutations(range(7)),
    )
    def check(gaps: list[float], step: float, slopes: list[float], size: tuple[int, int], order: Any) -> None:
        folder = root / str(len(read))
        folder.mkdir()
        heights = np.concatenate([[0.0], np.cumsum(gaps)]) * step
        shuffled = [float(heights[k]) for k in order if k < len(heights)]
        write_series(folder, shuffled, slopes, size, step)
        scan = one_line(folder)
        read.append(scan is not None)
        assert (scan is None) == (0.0 in gaps)
        if scan is None:
            return
        assert bool(scan.notices) == (len(set(gaps)) > 1)
        for path in folder.iterdir():
            image = sitk.ReadImage(str(path))
            x, y, z = image.TransformIndexToPhysicalPoint((0, 0, 0))
            where = np.linalg.solve(scan.affine, [-x, -y, z, 1])[:3]
            np.testing.assert_allclose(where[:2], 0, atol=1e-6)
            assert -1e-6 < where[2] < scan.array.shape[2] - 1 + 1e-6
            if abs(where[2] - round(where[2])) < 1e-6:
                found = scan.array[..., round(where[2])]
                np.testing.assert_allclose(found, sitk.GetArrayFromImage(image)[0].T, atol=1e-3)

    check()
    assert len(read) >= SERIES and 0.2 < np.mean(read) < 0.95
