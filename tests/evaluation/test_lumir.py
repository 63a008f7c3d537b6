"""LUMIR's evaluation against its formulas, written here a second time with NumPy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from morphseek_monai.base.errors import DataError
from morphseek_monai.evaluation.lumir import LUMIR_LABELS, NDV, evaluate_lumir
from morphseek_monai.metrics.hausdorff import hd95_learn2reg

SIZE = (14, 16, 12)
CASES = [f"000{n}_0000<--000{n - 1}_0000" for n in (2, 3, 4, 6, 7)]
LANDMARKS = CASES[3:]  # the other pairs have label maps
IDS = (0, 4, 23, 31, 207)
Edit = Callable[[np.ndarray], np.ndarray]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([1.5, 1, 2, 1])), path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, label maps of the first four, landmarks of the other three, and fields from smooth to folded."""
    folder = tmp_path_factory.mktemp("lumir")
    random = np.random.default_rng(0)
    pairs = []
    for n in range(1, 8):
        name = f"LUMIRMRI_000{n}_0000.nii.gz"
        image = np.where(random.random(SIZE) < 0.3, 0, random.integers(1, 255, SIZE)).astype(np.uint8)
        save(folder / "imagesVal" / name, image)
        noise = gaussian_filter(random.standard_normal((len(IDS), *SIZE)), (0, 2, 2, 2))
        if n <= 4:
            ids = IDS[: len(IDS) - (n == 2)]  # one subject without the last label
            save(folder / "labelsVal" / name, np.array(ids, np.int16)[noise[: len(ids)].argmax(0)])
        else:
            landmarks = np.zeros(SIZE, np.uint8)
            for index, corner in enumerate([(2, 3, 2), (8, 4, 7), (5, 10, 4)], start=1):
                at = tuple(slice(c + s, c + s + 2) for c, s in zip(corner, random.integers(0, 2, 3), strict=True))
                landmarks[at] = index
            save(folder / "landmarksVal" / name, landmarks)
        if n not in (1, 5):
            pairs.append({"fixed": f"./imagesVal/{name}", "moving": f"./imagesVal/LUMIRMRI_000{n - 1}_0000.nii.gz"})
            rough = gaussian_filter(random.standard_normal((*SIZE, 3)), (2.4 - 0.33 * n,) * 3 + (0,))
            save(folder / f"fields/disp_000{n}_000{n - 1}.nii.gz", (rough * (1.2 / rough.std())).astype(np.float32))
    (folder / "LUMIR_dataset.json").write_text(json.dumps({"name": "LUMIR", "registration_val": pairs}))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "lumir"))


def read(path: Path) -> np.ndarray:
    return nib.load(path).get_fdata()


def oracle_ndv(field: np.ndarray, mask: np.ndarray) -> float:
    """Percent of the mask, border taken off: ten tetrahedra, each a sixth of the determinant of three differences."""
    places = np.indices(SIZE) + field.transpose(3, 0, 1, 2)

    def ahead(*by: int) -> np.ndarray:
        return np.roll(places, [-step for step in by], axis=(1, 2, 3))

    triples = []
    for signs in product((1, -1), repeat=3):
        steps = np.diag(signs)
        # a backward difference is the voxel minus the one behind it
        triples.append([sign * (ahead(*step) - places) for sign, step in zip(signs, steps, strict=True)])
    triples.append([ahead(*by) - places for by in ((-1, -1, 0), (-1, 0, -1), (0, -1, -1))])
    triples.append([ahead(*by) - places for by in ((1, 1, 0), (0, 1, 1), (1, 0, 1))])
    inner = (slice(1, -1),) * 3
    volume = 0.0
    for rows in triples:
        jacobian = np.linalg.det(np.moveaxis(np.array(rows), (0, 1), (-2, -1)))
        volume += (np.maximum(-jacobian, 0) * mask)[inner].sum() / 12
    return 100 * volume / mask[inner].sum()


def oracle(folder: Path, case: str) -> dict[str, float]:
    numbers = case[:4], case[12:16]
    names = [f"LUMIRMRI_{number}_0000.nii.gz" for number in numbers]
    field = read(folder / f"fields/disp_{numbers[0]}_{numbers[1]}.nii.gz")
    found = {NDV: oracle_ndv(field, read(folder / "imagesVal" / names[1]) > 0)}
    role = "landmarksVal" if case in LANDMARKS else "labelsVal"
    fixed, moving = (read(folder / role / name) for name in names)
    warped = map_coordinates(moving, np.indices(SIZE) + field.transpose(3, 0, 1, 2), order=0)
    if case in LANDMARKS:
        centres = [[np.argwhere(array == index).mean(0) for index in (1, 2, 3)] for array in (fixed, warped)]
        found["TRE_lm"] = np.linalg.norm(np.subtract(*centres), axis=1).mean()
        return found
    masks = [[array == index for array in (fixed, warped)] for index in IDS if (fixed == index).any()]
    masks = [two for two, index in zip(masks, IDS, strict=False) if (moving == index).any()]
    found["DSC"] = np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in masks])
    found["HD95"] = np.mean([hd95_learn2reg(a, b) for a, b in masks])
    return found


def test_every_number_is_that_of_the_formulas(made: Path) -> None:
    result = evaluate_lumir(made / "fields", made)
    assert list(result) == ["name", "aggregates", "cases", "eval_version"] and list(result["cases"]) == CASES
    expected = {case: oracle(made, case) for case in CASES}
    for case, values in expected.items():
        found = {name: entry["mean"] for name, entry in result["cases"][case].items() if name != "njd_percent"}
        assert found == pytest.approx(values, abs=1e-6), case
    ndv = [expected[case][NDV] for case in CASES]
    assert min(ndv) < 1 < 10 < max(ndv)  # from hardly folded to folded all over
    for name in (NDV, "DSC", "HD95", "TRE_lm"):
        means = [values[name] for values in expected.values() if name in values]
        assert len(means) == {NDV: 5, "TRE_lm": 2}.get(name, 3)
        ends = {"mean": np.mean(means), "std": np.std(means), "30": np.quantile(means, 0.3)}
        assert result["aggregates"][name] == pytest.approx(ends, abs=1e-6)
    assert json.loads(json.dumps(result))["aggregates"].keys() == {NDV, "DSC", "HD95", "TRE_lm", "njd_percent"}


def test_the_background_is_one_of_133_labels(made: Path) -> None:
    assert len(LUMIR_LABELS) == len(set(LUMIR_LABELS)) == 133 and LUMIR_LABELS[0] == 0
    case = evaluate_lumir(made / "fields", made)["cases"][CASES[0]]
    known = {label: dice for label, dice in zip(LUMIR_LABELS, case["DSC"]["detailed"], strict=True) if dice == dice}
    assert set(known) == {0, 4, 23, 31}
    without = evaluate_lumir(made / "fields", made, labels=LUMIR_LABELS[1:])["cases"][CASES[0]]
    assert without["DSC"]["mean"] == pytest.approx(np.mean([known[label] for label in (4, 23, 31)]))
    assert without["DSC"]["mean"] != case["DSC"]["mean"]


def test_components_may_come_first_and_npz_is_preferred(folder: Path) -> None:
    expected = evaluate_lumir(folder / "fields", folder)["aggregates"]
    for path in (folder / "fields").iterdir():
        field = nib.load(path).get_fdata()
        np.savez(str(path).replace(".nii.gz", ".npz"), arr_0=field.transpose(3, 0, 1, 2))
        save(path, np.zeros((*SIZE, 3), np.float32))
    found = evaluate_lumir(folder / "fields", folder)["aggregates"]
    assert all(found[name] == pytest.approx(values, rel=1e-9) for name, values in expected.items())


def test_a_lost_landmark_is_nan_and_a_lost_label_infinite(folder: Path) -> None:
    for case in (CASES[0], LANDMARKS[0]):
        save(folder / f"fields/disp_{case[:4]}_{case[12:16]}.nii.gz", np.full((*SIZE, 3), 40, np.float32))
    result = evaluate_lumir(folder / "fields", folder)
    assert np.isnan(result["cases"][LANDMARKS[0]]["TRE_lm"]["mean"])
    assert np.isnan(result["aggregates"]["TRE_lm"]["mean"])
    assert result["aggregates"]["HD95"]["mean"] == np.inf


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("mv fields/disp_0002_0001.nii.gz fields/disp_0002_0000_0001_0000.nii.gz", r"has no disp_0002_0001\.nii\.gz"),
        ("rm labelsVal/LUMIRMRI_0001_0000.nii.gz", r"LUMIRMRI_0001_0000.nii.gz does not exist, but that of the other"),
        ("cut labelsVal/LUMIRMRI_0003_0000.nii.gz", r"must have the image's shape \(14, 16, 12\), got \(7, 16, 12\)"),
        ("cut fields/disp_0003_0002.nii.gz", r"must have shape \(14, 16, 12, 3\), got \(7, 16, 12, 3\)"),
        ("zero imagesVal/LUMIRMRI_0003_0000.nii.gz", r"has no voxel above 0, where LUMIR measures the field"),
        ("zero landmarksVal/LUMIRMRI_0006_0000.nii.gz", r"LUMIRMRI_0006_0000 hold no id above the background"),
    ],
)
def test_what_cannot_be_scored_is_named(folder: Path, spoil: str, message: str) -> None:
    how, name, *to = spoil.split()
    path = folder / name
    if how == "mv":
        path.rename(folder / to[0])
    elif how == "rm":
        path.unlink()
    else:
        array = np.asarray(nib.load(path).dataobj)
        save(path, array[:7] if how == "cut" else array * 0)
    with pytest.raises(DataError, match=message):
        evaluate_lumir(folder / "fields", folder)
