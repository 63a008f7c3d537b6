"""From the network's field to the fitted one: which start is taken, and when nothing is."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import read_scan
from morphseek_monai.fields import warp
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.inference.instance_optimisation import Optimised, optimise
from morphseek_monai.inference.similarity import contrasts_differ
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration import fit as fit_module
from morphseek_monai.registration.fit import Fitted, fit_field
from morphseek_monai.registration.memory import plan as memory
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.pair import NetworkPair, pair_scans
from morphseek_monai.registration.prepare.scan_set import ScanSet
from morphseek_monai.registration.register import register

from ..scenes import Brains


def pair_of(fixed: Any, moving: Any, model: RegistrationModel) -> NetworkPair:
    return pair_scans(ScanSet(read_scan(fixed)), ScanSet(read_scan(moving)), model, "off")


def fit(pair: NetworkPair, ddf: torch.Tensor | None) -> Fitted:
    return fit_field(pair, ddf, 2)


@pytest.fixture(scope="module")
def pair(brains: Brains, model: RegistrationModel) -> NetworkPair:
    return pair_of(brains.image(0), brains.image(1), model)


def test_a_rough_field_is_no_start(pair: NetworkPair) -> None:
    noise = 2 * torch.rand(1, 3, *pair.grid.size, generator=torch.Generator().manual_seed(0)) - 1
    found, alone = fit(pair, noise), fit(pair, None)
    values = found.record["optimiser"]["similarity"]
    assert found.record["optimiser"]["start"] == "affine" and values["network"] < values["coarse"]
    assert found.ddf is not None and alone.ddf is not None and torch.equal(found.ddf, alone.ddf)
    assert values["affine"] < values["after"] and found.notices == []


def test_the_more_similar_start_is_taken(
    brains: Brains, model: RegistrationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = 3  # voxels of 4 mm
    head = np.where(brains.arrays[0] > 300, brains.arrays[0], 0)
    fixed, moving = (nib.Nifti1Image(np.roll(head, by, axis=0), brains.affine) for by in (0, shift))
    pair = pair_of(fixed, moving, model)
    ddf = torch.zeros(1, 3, *pair.grid.size)
    ddf[:, 0] = shift * 4 / float(pair.grid.spacing[0])

    def blind(moving: torch.Tensor, *arguments: Any, levels: slice, **options: Any) -> Optimised:
        if levels.start == 0:  # the coarse levels find nothing
            return Optimised(torch.zeros(1, 3, *moving.shape[2:]), ())
        return optimise(moving, *arguments, levels=levels, **options)

    monkeypatch.setattr(fit_module, "optimise", blind)
    found = fit(pair, ddf)
    assert found.record["optimiser"]["start"] == "network"
    field, _, on_network = found.fields(pair, pair.grid)
    inner = (slice(None), slice(16, 32), slice(16, 32), slice(16, 32))
    assert float((field[0][inner] - torch.tensor([3.0, 0, 0]).view(3, 1, 1, 1)).abs().mean()) < 0.2
    assert on_network.shape == ddf.shape


def test_two_copies_stay_where_they_are(brains: Brains, model: RegistrationModel) -> None:
    found = fit(pair_of(brains.image(0), brains.image(0), model), None)
    assert found.ddf is None and found.similarity is None
    assert found.notices == ["the optimisation raises no similarity and is left out"]


def test_the_network_is_left_out_where_it_is_not_wanted(
    brains: Brains, model: RegistrationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr(MorphSeekNet, "forward", fail)
    monkeypatch.setattr(memory, "forward_bytes", lambda *_: 0)
    result = register(brains.image(0), brains.image(1), bundle=model, search=InferenceOptions(steps=0, refine=1))
    assert "network" not in result.metrics and "optimiser" in result.metrics
    assert result.metrics["after"]["similarity"] > result.metrics["affine"]["similarity"]
    with pytest.raises(DataError, match="samples are the network's, which steps 0 leaves out, got 4; set one of them"):
        InferenceOptions(steps=0, samples=4)


def test_another_contrast_is_compared_by_descriptors(brains: Brains, model: RegistrationModel) -> None:
    inverted = nib.Nifti1Image(brains.arrays[1].max() - brains.arrays[1], brains.affine)
    assert fit(pair_of(brains.image(0), inverted, model), None).record["optimiser"]["force"] == "MIND"


def test_the_unit_of_length_does_not_matter(brains: Brains, model: RegistrationModel) -> None:
    fields = []
    for unit in (0.1, 1.0, 10.0):
        affine = np.diag([unit, unit, unit, 1.0]) @ brains.affine
        found = fit(pair_of(brains.image(0, affine), brains.image(1, affine), model), None)
        fields.append(found.ddf)
    for other in (fields[0], fields[2]):
        assert float((other - fields[1]).abs().max()) < 0.05  # voxels


def test_the_network_does_not_hide_that_contrasts_differ(brains: Brains, model: RegistrationModel) -> None:
    texture = np.random.default_rng(0).normal(size=brains.arrays[0].shape)
    texture = ndimage.gaussian_filter(texture + texture[::-1], 1.5)  # the halves mirror each other
    other = np.where(np.arange(len(texture)).reshape(-1, 1, 1) < len(texture) // 2, texture, -texture)
    scans = (500 + 100 * (values / texture.std()).clip(-4, 4) for values in (texture, other))
    pair = pair_of(*(nib.Nifti1Image(values.astype(np.float32), brains.affine) for values in scans), model)
    size = pair.grid.size
    mirrored = torch.zeros(1, 3, *size)
    half = torch.arange(size[0]).flip(0) - torch.arange(size[0])
    mirrored[:, 0] = torch.where(half < 0, half, 0).view(-1, 1, 1)
    seen = warp(pair.view.image, mirrored)
    assert contrasts_differ(pair.image[:, 1:], pair.view.image) and not contrasts_differ(pair.image[:, 1:], seen)
    assert fit(pair, mirrored).record["optimiser"]["force"] == "MIND"
