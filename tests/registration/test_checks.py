"""The numbers behind the verdict, on pairs whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.evaluation.verdict import FAILED
from morphseek_monai.inference.similarity import foreground, local_correlation
from morphseek_monai.registration.checks import coverage, make_checks, similarity_after, stage_similarities
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.native import NativeField
from morphseek_monai.registration.prepare.intensity import PreparedImage
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.registration.prepare.resample import View
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image
from morphseek_monai.spatial.invert import InverseError

from ..scenes import turned

SIZE = (16, 16, 16)
NOWHERE = torch.zeros(1, 3, *SIZE)


def texture(seed: int = 0) -> Tensor:
    values = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool3d(values, 3, stride=1, padding=1) + 0.2


def whole(image: Tensor) -> View:
    return View(image, torch.ones_like(image))


def make_pair(image: Tensor, by_headers: Tensor | None = None, affine: Any = None, grid: Any = None) -> NetworkPair:
    prepared = PreparedImage(np.zeros(SIZE, np.float32), "mr", "")
    place = np.diag([2.0, 2, 2, 1]) if grid is None else grid
    scanned = Image(np.zeros(image.shape[2:]), place)
    return NetworkPair(
        image=image,
        view=whole(image[:, :1]),
        aligned=whole(image[:, :1]),
        by_headers=whole(image[:, :1] if by_headers is None else by_headers),
        still=whole(image[:, 1:]),
        contrasts=((scanned,), (scanned,)),
        mirrored=None,
        grid=Grid((image.shape[2], image.shape[3], image.shape[4]), place),
        affine=np.eye(4) if affine is None else affine,
        initial=None,
        start="",
        fixed=prepared,
        moving=prepared,
        notices=(),
    )


def scan(size: Any = SIZE, affine: Any = None) -> Scan:
    return Scan("m", np.zeros(size, np.float32), np.diag([2.0, 2, 2, 1]) if affine is None else affine, "m")


def tissue() -> Tensor:
    """Noise with tissue in its middle, so that no window reaches the border."""
    values = 0.09 * torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    values[..., 8:24, 8:24, 8:24] = texture()
    return values


def test_similarity_of_each_stage_is_that_of_its_image() -> None:
    fixed = tissue()
    ddf = torch.zeros(1, 3, 32, 32, 32)
    ddf[:, 0] = 4.0
    moving = torch.roll(fixed, 4, dims=2)  # warped with +4 it is the fixed image
    unrelated = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    pair = make_pair(torch.cat([moving, fixed], 1), by_headers=unrelated)
    found = stage_similarities(pair)
    assert list(found) == ["before", "affine"]
    assert found["before"] < 0.1 < found["affine"] < 0.6 and similarity_after(pair, ddf) > 0.95


def test_the_edge_of_what_was_scanned_makes_nothing_similar() -> None:
    generator = torch.Generator().manual_seed(2)
    crop = 0.5 + 0.05 * torch.rand(2, 1, 16, 16, 16, generator=generator)
    image = F.pad(crop, [8] * 6).transpose(0, 1)  # two unrelated crops, dark beyond
    pair = make_pair(image)
    pair = pair._replace(contrasts=((Image(np.zeros(SIZE), pair.grid.affine @ turned((0, 0, 0), (8, 8, 8))),),) * 2)
    assert float(local_correlation(image[:, 1:], image[:, :1], foreground(image[:, 1:]))) > 0.5
    assert similarity_after(pair, torch.zeros(1, 3, 32, 32, 32)) < 0.05


def test_what_the_moving_scan_does_not_show_is_not_counted_but_charged_for() -> None:
    fixed = tissue()
    for part, least, most in ((slice(0, 16), 0.99, 1.0), (slice(0, 12), 0.45, 0.55)):
        valid = torch.zeros_like(fixed)
        valid[:, :, part] = 1  # half of the tissue, or a quarter
        pair = make_pair(torch.cat([fixed, fixed], 1))._replace(view=View(fixed, valid))
        assert least <= similarity_after(pair, torch.zeros(1, 3, 32, 32, 32)) <= most + 1e-4


def test_inverted_contrast_is_as_similar() -> None:
    fixed = tissue()
    pair = make_pair(torch.cat([1 - fixed, fixed], 1))
    assert similarity_after(pair, torch.zeros(1, 3, 32, 32, 32)) == pytest.approx(1, abs=1e-3)


class TestCoverage:
    pair = make_pair(torch.cat([texture(), torch.ones(1, 1, *SIZE)], 1))

    def test_the_same_field_of_view_is_covered_to_the_last_voxel(self) -> None:
        assert coverage(self.pair, scan(), None) == coverage(self.pair, scan(), NOWHERE) == 100

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_half_of_it_is_50_percent(self, axis: int) -> None:
        size = list(SIZE)
        size[axis] = 8
        assert coverage(self.pair, scan(size), None) == 50

    def test_a_rotated_header_changes_nothing(self) -> None:
        rigid = turned((30, 40, 50), (5, 60, 7))
        pair = self.pair._replace(grid=Grid(SIZE, rigid @ np.diag([2.0, 2, 2, 1])))
        assert coverage(pair, scan((8, 16, 16), rigid @ np.diag([2.0, 2, 2, 1])), None) == 50

    def test_the_alignment_counts_only_with_a_field(self) -> None:
        away = turned((0, 0, 0), (16, 0, 0))  # 8 voxels
        pair = self.pair._replace(affine=away)
        assert coverage(pair, scan(), None) == 100
        assert coverage(pair, scan(), NOWHERE) == 50

    def test_so_does_the_field(self) -> None:
        ddf = NOWHERE.clone()
        ddf[:, 1, :, :8] = -100  # of half the voxels the counterpart lies outside
        assert coverage(self.pair, scan(), ddf) == 50

    def test_only_tissue_is_asked(self) -> None:
        fixed = torch.zeros(1, 1, *SIZE)
        fixed[:, :, :4] = 1
        pair = self.pair._replace(still=whole(fixed))
        assert coverage(pair, scan((8, 16, 16)), None) == 100
        assert coverage(pair._replace(still=whole(torch.zeros(1, 1, *SIZE))), scan(), None) == 0  # no tissue at all


class TestChecks:
    def numbers(self, model: RegistrationModel, ddf: Tensor = NOWHERE, affine: Any = None) -> dict[str, Any]:
        pair = make_pair(torch.cat([texture(), texture()], 1), affine=affine)
        native = NativeField(ddf, -ddf, pair.grid, InverseError(1.0, 3.0, 9.0, 1))
        values = {"before": 0.25, "affine": 0.5, "after": 0.75}
        return {check.name: check for check in make_checks(pair, ddf, native, values, scan(), model)}

    def test_each_number_is_the_right_one(self, model: RegistrationModel) -> None:
        ddf = NOWHERE.clone()
        ddf[:, 2, 0], ddf[:, 2, -1] = 2.0, 2.0  # at 2 x 256 of 16^3 - 14^3 border voxels
        found = self.numbers(model, ddf, np.diag([2.0, 1, 1, 1]))
        values = {name: check.value for name, check in found.items()}
        assert values["similarity"] == 0.75 and values["gain"] == 0.5
        assert values["volume"] == pytest.approx(1)  # one octave
        assert values["rotation"] == 0
        assert values["border"] == pytest.approx(2)
        assert values["inverse error"] == 1.5  # 3 mm in voxels of 2 mm
        assert values["folding"] == 0
        assert values["header overlap"] == 100 and values["overlap"] < 60

    @pytest.mark.parametrize(("degrees", "outcome"), [(40, "succeeded"), (90, "doubtful"), (180, "doubtful")])
    def test_headers_that_disagree_about_the_axes_are_doubtful(
        self, model: RegistrationModel, degrees: float, outcome: str
    ) -> None:
        check = self.numbers(model, affine=turned((0, 0, degrees)) @ np.diag([1.1, 0.9, 1, 1]))["rotation"]
        assert check.outcome == outcome and check.value == pytest.approx(degrees, abs=1e-5)

    def test_shrinking_is_as_bad_as_growing(self, model: RegistrationModel) -> None:
        octaves = [self.numbers(model, affine=np.diag([f, f, f, 1.0]))["volume"].value for f in (0.5, 2.0)]
        assert octaves == pytest.approx([3, 3])

    def test_folds_are_counted(self, model: RegistrationModel) -> None:
        ddf = NOWHERE.clone()
        ddf[:, 0, 8] = -3.0
        assert self.numbers(model, ddf)["folding"].value > 5

    def test_a_field_that_is_no_number_has_failed(self, model: RegistrationModel) -> None:
        found = self.numbers(model, torch.full_like(NOWHERE, math.nan))
        assert {found[name].outcome for name in ("overlap", "border")} == {FAILED}

    def test_the_bundles_limits_are_used(self, model: RegistrationModel) -> None:
        strict = replace(model, thresholds={"similarity": (0.9, 0.8)})
        assert self.numbers(strict)["similarity"].outcome == FAILED
