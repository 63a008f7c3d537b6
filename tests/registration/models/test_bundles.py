"""Which bundle registers what, and where it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.registration.models.bundles import bundle_folders, choose_bundle, find_bundle


def scan(low: float) -> Scan:
    return Scan("a.nii", np.linspace(low, 300, 512, dtype=np.float32).reshape(8, 8, 8), np.eye(4), "a.nii")


MR, CT = scan(0), scan(-1024)


@pytest.mark.parametrize(
    ("fixed", "moving", "modalities", "name"),
    [
        (MR, MR, ("auto", "auto"), "morphseek_brain_mri_oasis"),
        (CT, CT, ("auto", "auto"), "morphseek_liver_ct_lits"),
        (MR, CT, ("auto", "auto"), "morphseek_abdomen_mr_ct"),
        (MR, MR, ("ct", "ct"), "morphseek_liver_ct_lits"),  # what the user says counts
        (CT, MR, ("mr", "ct"), "morphseek_abdomen_mr_ct"),
        (CT, CT, ("mr", "auto"), "morphseek_abdomen_mr_ct"),
    ],
)
def test_the_modalities_choose(fixed: Scan, moving: Scan, modalities: tuple[str, str], name: str) -> None:
    assert choose_bundle(None, (fixed, moving), modalities).name == name


def test_no_bundle_moves_mr_to_ct() -> None:
    with pytest.raises(DataError, match="no bundle registers moving mr to fixed ct; swap the two, or give --bundle"):
        choose_bundle(None, (CT, MR), ("auto", "auto"))


def test_a_name_of_the_user_is_taken_whatever_the_images() -> None:
    assert choose_bundle("morphseek_phantom", (CT, CT), ("auto", "auto")).name == "morphseek_phantom"


def make_bundle(folder: Path, name: str, registers: bool = True) -> Path:
    (folder / name / "configs").mkdir(parents=True)
    if registers:
        (folder / name / "configs/register.json").write_text("{}")
    return folder / name


def test_folders_of_the_environment_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_bundle(tmp_path / "own", "morphseek_phantom")
    assert find_bundle("morphseek_phantom") != own
    monkeypatch.setenv("MORPHSEEK_BUNDLES", str(tmp_path / "own"))
    assert find_bundle("morphseek_phantom") == own
    assert bundle_folders()[0] == tmp_path / "own" and len(bundle_folders()) == 3
    assert find_bundle("morphseek_liver_ct_lits").is_dir()  # the others are still found
    monkeypatch.setenv("MORPHSEEK_BUNDLES", "")
    assert len(bundle_folders()) == 2


def test_a_folder_is_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path, "mine")
    assert find_bundle(bundle) == bundle and find_bundle(str(bundle)) == bundle
    monkeypatch.chdir(tmp_path)
    assert find_bundle("mine") == Path("mine")


@pytest.mark.parametrize("name", ["nowhere", "", "empty", "file"])
def test_what_is_no_bundle_is_told_with_those_that_register(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path, "mine")
    make_bundle(tmp_path, "segments", registers=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MORPHSEEK_BUNDLES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    message = rf"^bundle( {name})? is no folder of a bundle; give one, or a name of: mine, morph"
    with pytest.raises(DataError, match=message) as caught:
        find_bundle(name)
    assert "segments" not in str(caught.value)


def test_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from morphseek_monai.registration.models import bundles

    monkeypatch.setattr(bundles, "bundle_folders", lambda: [tmp_path])
    with pytest.raises(DataError, match="a name of: none found$"):
        find_bundle("nowhere")
