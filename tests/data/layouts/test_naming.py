from __future__ import annotations

import pytest

from morphseek_monai.data.layouts.naming import pair_name, parse_name, stem


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/x.y/scan.nii.gz", "scan"),
        ("scan.NII.GZ", "scan"),
        ("scan.v2.nii", "scan.v2"),
        ("scan.mha", "scan"),
        ("scan", "scan"),
    ],
)
def test_stem(path: str, expected: str) -> None:
    assert stem(path) == expected


@pytest.mark.parametrize(
    "path", ["scan.nii.gz", "OASIS_0001.nii.gz", "OASIS_001_0000.nii.gz", "0001_0000.nii.gz"]
)
def test_other_names_are_not_learn2reg(path: str) -> None:
    assert parse_name(path) is None


def test_pair_name_is_fixed_first_with_both_modalities() -> None:
    fixed, moving = "i/AbdomenMRCT_0006_0000.nii.gz", "i/AbdomenMRCT_0007_0001.nii.gz"
    assert pair_name(fixed, moving) == "0006_0000_0007_0001"
    assert pair_name(fixed, moving, short=True) == "0006_0007"


def test_pair_name_falls_back_to_stems_when_one_name_is_foreign() -> None:
    assert pair_name("a/OASIS_0001_0000.nii.gz", "b/me.nii.gz") == "OASIS_0001_0000_me"
