"""A small registration that the tests of the report share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from morphseek_monai.evaluation.verdict import Check
from morphseek_monai.fields import jacobian_determinant
from morphseek_monai.registration.report import ReportContent

MakeContent = Callable[..., ReportContent]
SIZE = (14, 16, 20)

CHECKS = (
    Check("similarity", 0.6, "", "succeeded", "at least 0.5", "mean squared local correlation"),
    Check("folding", 1.25, "%", "doubtful", "at most 0.5 %", "the map is not one-to-one there"),
)


@pytest.fixture
def make_content() -> MakeContent:
    """``make_content(size=SIZE, **changes)``: an ellipsoid, the same one shifted by a voxel, a field with one fold."""

    def make(size: tuple[int, int, int] = SIZE, **changes: Any) -> ReportContent:
        places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij"))
        fixed = np.exp(-4 * (places**2).sum(0)).astype(np.float32)
        ddf = (0.3 * np.sin(3 * places)).astype(np.float32)
        ddf[0, size[0] // 2] += 2.5
        values: dict[str, Any] = {
            "title": "moving.nii.gz registered to fixed.nii.gz",
            "verdict": "doubtful",
            "checks": CHECKS,
            "notices": ["the sform was used"],
            "facts": [("Files", [("fixed", "fixed.nii.gz"), ("moving", "moving.nii.gz")])],
            "metrics": {"before": {"similarity": 0.2}, "affine": {"similarity": 0.4}, "after": {"similarity": 0.6}},
            "affine": np.diag([1.0, 1.0, 1.0, 1.0]),
            "fixed": fixed,
            "before": np.roll(fixed, 2, axis=0),
            "aligned": np.roll(fixed, 1, axis=0),
            "warped": 0.9 * fixed,
            "ddf": ddf,
            "jacobian": jacobian_determinant(torch.from_numpy(ddf)[None])[0].numpy(),
            "uncertainty": np.abs(ddf[1]),
        }
        return ReportContent(**{**values, **changes})

    return make
