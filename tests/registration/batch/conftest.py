"""Registrations of a batch that only pretend."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.registration.batch import run as batch
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.registration.options import RegisterOptions, updated

from .desk import Desk, Pretended


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path)
    shutil.copytree(find_bundle("morphseek_phantom"), tmp_path / "bundle", ignore=shutil.ignore_patterns("eval"))

    def register(fixed: str, moving: str, options: RegisterOptions, **changes: Any) -> Pretended:
        done = updated(options, changes)
        modalities = dict(zip(("fixed_modality", "moving_modality"), done.modalities))
        arguments = {**vars(done), "search": done.inference, **modalities}
        name = Path(fixed).stem.replace("f", "p")
        desk.calls.append((name, arguments))
        if name in desk.faults:
            raise desk.faults[name]
        return Pretended(desk.verdicts.get(name, "succeeded"), done.seed)

    monkeypatch.setattr(batch, "register", register)
    return desk
