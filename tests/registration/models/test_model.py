"""Loading a bundle: what it says, what is wrong with it, and that its weights run no code."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.registration.models.model import RegistrationModel, load_model

Edit = Callable[[Path], object]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the phantom bundle, without its data."""
    source = find_bundle("morphseek_phantom")
    folder = tmp_path / "my_bundle"
    shutil.copytree(source / "configs", folder / "configs")
    (folder / "models").mkdir()
    shutil.copy(source / "models/model.pt", folder / "models")
    return folder


def change(name: str, edit: Callable[[Any], object]) -> Edit:
    """Edit a config."""

    def plant(folder: Path) -> None:
        path = folder / "configs" / name
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return plant


def settings(**values: Any) -> Edit:
    return change("register.json", lambda content: content["register"].update(values))


def weights(write: Callable[[Path], object]) -> Edit:
    return lambda folder: write(folder / "models/model.pt")


def test_what_the_bundle_says(model: RegistrationModel) -> None:
    root = find_bundle("morphseek_phantom")
    assert (model.name, model.size, model.voxels, model.orientation) == (
        "morphseek_phantom",
        (48, 48, 48),
        40,
        "RAS",
    )
    assert model.sha256 == hashlib.sha256((root / "models/model.pt").read_bytes()).hexdigest()
    assert model.version == json.loads((root / "configs/metadata.json").read_text())["version"]
    assert list(model.intensity) == ["mr"]
    assert model.intensity["mr"][1].startswith("ScaleIntensityRangePercentiles(lower=0.0, upper=99.5, ")
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


BUNDLES = sorted(find_bundle("morphseek_phantom").parent.glob("morphseek_*"))


@pytest.mark.parametrize("root", BUNDLES, ids=lambda path: path.name)
def test_every_bundle_says_what_its_weights_were_trained_on(root: Path) -> None:
    told = json.loads((root / "configs/metadata.json").read_text())["trained_on"]
    assert told["data"] and told["real_scans"] is (root.name == "morphseek_any")
    assert told["weights_sha256"] == hashlib.sha256((root / "models/model.pt").read_bytes()).hexdigest()


def test_what_the_weights_were_trained_on_is_known_of_the_shipped_ones_alone(
    model: RegistrationModel, tmp_path: Path
) -> None:
    assert model.made_data == "generated phantoms of a brain"
    folder = Path(shutil.copytree(find_bundle("morphseek_phantom"), tmp_path / "own"))
    state = torch.load(folder / "models/model.pt", weights_only=True)
    torch.save(state, folder / "models/model.pt", pickle_protocol=3)  # as training writes others
    assert load_model(folder).sha256 != model.sha256 and load_model(folder).made_data == ""


@pytest.mark.parametrize(
    "name", ["morphseek_brain_mri_oasis", "morphseek_liver_ct_lits", "morphseek_abdomen_mr_ct", "morphseek_any"]
)
def test_every_bundle_says_how_it_registers(name: str) -> None:
    content = json.loads((find_bundle(name) / "configs/register.json").read_text())["register"]
    keys = {"size", "voxels", "orientation", "intensity", "thresholds", "mirror_axis"}
    assert set(content) == keys and set(content["intensity"]) <= {"mr", "ct"}


def test_a_bundle_of_any_name_in_any_place(bundle: Path, model: RegistrationModel) -> None:
    settings(voxels=77, orientation="LPS", thresholds={"folding": [1.0, 2.0]}, mirror_axis=1)(bundle)
    loaded = load_model(str(bundle))
    assert (loaded.name, loaded.voxels, loaded.orientation, loaded.mirror_axis) == ("my_bundle", 77, "LPS", 1)
    assert loaded.thresholds == {"folding": (1.0, 2.0)} and loaded.sha256 == model.sha256


class Code:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_weights_with_code_are_refused_and_the_code_does_not_run(how: str, bundle: Path, tmp_path: Path) -> None:
    planted, path = Code(tmp_path / "ran"), bundle / "models/model.pt"
    if how == "torch":
        torch.save({"model": planted}, path)
    else:
        path.write_bytes(pickle.dumps(planted, protocol=2))
    with pytest.raises(DataError, match=r"^bundle .*my_bundle cannot be used: .* is not a readable check") as error:
        load_model(bundle)
    assert "weights_only" not in str(error.value)  # torch's advice: the file may run what it likes
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(planted))
    assert (tmp_path / "ran").exists()  # it would have


def other_network(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    name = next(iter(state))
    torch.save({**state, name: state[name][:1]}, path)


def not_a_number(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    name = next(iter(state))
    state[name].view(-1)[0] = float("nan")
    torch.save(state, path)


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (weights(Path.unlink), r"model\.pt does not exist"),
        (weights(lambda path: path.write_bytes(b"")), "is not a readable checkpoint of tensors"),
        (weights(lambda path: path.write_bytes(path.read_bytes()[:5000])), "is not a readable checkpoint of tensors"),
        (weights(lambda path: torch.save([1, 2], path)), "must hold a state dictionary of MorphSeekNet, it holds list"),
        (weights(other_network), "is a checkpoint of another architecture than MorphSeekNet: 1 tensors differ"),
        (weights(not_a_number), "has NaN or infinite weights"),
        (lambda f: (f / "configs/register.json").write_text("{"), "Expecting property name"),
        (change("register.json", lambda c: c.pop("register")), "KeyError"),
        (change("register.json", lambda c: c["register"].pop("voxels")), r"register\.json must say voxels, .*; add it"),
        (
            change("register.json", lambda c: c["register"].update(spacing=c["register"].pop("voxels"))),
            "must say voxels, .*, got spacing, which is mm and for one anatomy only; add it",
        ),
        (settings(voxels=0), r"voxels in register\.json must be a positive number, got 0"),
        (settings(size=[48, 48, -48]), r"size in register\.json must be three positive numbers"),
        (settings(orientation="XYZ"), "Not all axis codes"),
        (settings(thresholds={"foldings": [1, 2]}), r"register\.json has foldings; it may have similarity"),
        (settings(intensity={"mr": {"_target_": "NoSuchTransform"}}), "Cannot locate class or function path"),
        (change("inference.json", lambda c: c.pop("network_def")), "id='network_def' is not found"),
        (change("inference.json", lambda c: c.update(network_def={"_target_": "a.b"})), "Cannot locate class or"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_bundle(plant: Edit, message: str, bundle: Path) -> None:
    plant(bundle)
    with pytest.raises(DataError, match=f"^bundle .*my_bundle cannot be used: .*{message}") as caught:
        load_model(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["inference.json", "register.json", "metadata.json"])
def test_a_config_is_missing(name: str, bundle: Path) -> None:
    (bundle / "configs" / name).unlink()
    with pytest.raises(DataError, match=f"has no configs/{name}; give the folder of a MorphSeek registration bundle"):
        load_model(bundle)
