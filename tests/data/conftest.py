"""Small NIfTI subjects, written where a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged

WriteSubject = Callable[..., dict[str, str]]


@pytest.fixture
def write_subject(tmp_path: Path) -> WriteSubject:
    """``write_subject(name, image=None, label=None, mask=None)`` -> ``{"image": path, "label": path}``.

    With an array as ``mask`` there is a third file under ``"mask"``.
    """

    def write(
        name: str, image: Any = None, label: Any = None, mask: Any = None, shape: tuple[int, ...] = (6, 5, 4)
    ) -> dict[str, str]:
        rng = np.random.default_rng(list(name.encode()))
        arrays = {
            "image": rng.uniform(0, 1, shape).astype(np.float32) if image is None else np.asarray(image),
            "label": rng.integers(0, 3, shape).astype(np.uint8) if label is None else np.asarray(label),
        }
        if mask is not None:
            arrays["mask"] = np.asarray(mask)
        paths = {}
        for key, array in arrays.items():
            paths[key] = str(tmp_path / f"{name}_{key}.nii.gz")
            nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 3.0, 1.0])), paths[key])
        return paths

    return write


@pytest.fixture
def load() -> Compose:
    """The usual beginning of a dataset's transform."""
    return Compose([LoadImaged(["image", "label", "mask"], ensure_channel_first=True, allow_missing_keys=True)])
