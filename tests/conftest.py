"""Small networks, pairs and data that the tests of several folders share."""

from __future__ import annotations

import json
import locale
import os
import runpy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers, small tensors; read when torch is imported

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from morphseek_monai.data import write_phantom
from morphseek_monai.data.scans.scan import write_scan
from morphseek_monai.networks import MorphSeekNet, VoxelMorph
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.registration.models.model import RegistrationModel, load_model
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.invert import invert_transform
from morphseek_monai.spatial.transform import make_transform

from .scenes import Brains

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
SmoothDDF = Callable[..., Tensor]
FullDisk = Callable[[int], AbstractContextManager[None]]

FORCED_AMP = Path(__file__).with_name("forced_amp")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--amp",
        choices=("auto", "on", "off"),
        default="auto",
        help="what bundles take for the default of amp: as this processor is (auto), as if it had fast bfloat16 (on) or"
        " lacked it (off)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Force the check of the processor in this process, and through ``sitecustomize`` in all that tests start."""
    forced = config.getoption("--amp")
    if forced != "auto":
        os.environ["FORCED_AMP"] = forced
        os.environ["PYTHONPATH"] = os.pathsep.join([str(FORCED_AMP), *filter(None, [os.environ.get("PYTHONPATH")])])
        runpy.run_path(str(FORCED_AMP / "sitecustomize.py"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker begins one when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def keep_locale() -> Iterator[None]:
    """Readers of SimpleITK, an oracle, may leave the C locale, where Python takes text files for ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture
def make_net() -> MakeNet:
    """``make_net(steps=1, policy="gaussian", flow_std=0.5, seed=0)``: a few hundred weights, stride 4, moves by voxels.

    An untrained network is the identity, which would hide most faults; ``flow_std`` wakes its last layer.
    """

    def make(steps: int = 1, flow_std: float = 0.5, seed: int = 0, **kwargs: Any) -> MorphSeekNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = VoxelMorph((4, 8), (8, 8), (4,), integration_steps=2)
            torch.nn.init.normal_(backbone.flow.weight, std=flow_std)
            return MorphSeekNet(backbone, steps=steps, **kwargs)

    return make


@pytest.fixture
def make_batch() -> MakeBatch:
    """``make_batch(pairs=1, size=16, shift=2.0, labelled=True, first=0)``: blobs, the moving one off by ``shift``.

    Blob ``first + i`` has its own place, so that pairs differ. The field that registers a pair is ``+shift`` on
    every axis. Labels: 1 is the blob's core, 2 its rim.
    """

    def blob(size: int, centre: Tensor) -> Tensor:
        grid = torch.stack(torch.meshgrid(*[torch.arange(float(size))] * 3, indexing="ij"))
        squared = (grid - centre.view(3, 1, 1, 1)).square().sum(0)
        return torch.exp(-squared / (2 * (size / 5) ** 2))

    def make(
        pairs: int = 1, size: int = 16, shift: float = 2.0, labelled: bool | list[bool] = True, first: int = 0
    ) -> dict[str, Any]:
        images = []
        for i in range(first, first + pairs):
            middle = torch.full((3,), (size - 1 - shift) / 2)
            middle += torch.tensor([i % 2, i // 2 % 2, i // 4 % 2]) - 0.25 * (i > 0)
            images.append(torch.stack([blob(size, middle + shift), blob(size, middle)]))
        image = torch.stack(images)
        return {
            "image": image,
            "label": (image > 0.7).byte() + 2 * ((image > 0.35) & (image <= 0.7)).byte(),
            "labelled": torch.tensor([labelled] * pairs if isinstance(labelled, bool) else labelled),
            "moving_id": [f"moving{i}" for i in range(first, first + pairs)],
            "fixed_id": [f"fixed{i}" for i in range(first, first + pairs)],
        }

    return make


@pytest.fixture
def smooth_ddf() -> SmoothDDF:
    """Random sums of low-frequency cosines `(batch, 3, *size)`, or sines (0 on the border) where `pinned`.

    The largest component of the batch is `peak` voxels.
    """

    def make(
        size: tuple[int, int, int] = (16, 18, 20),
        peak: float = 2.0,
        seed: int = 0,
        batch: int = 1,
        pinned: bool = False,
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        amplitude = torch.randn(batch, 3, 2, 2, 2, generator=generator, dtype=torch.float64)
        wave = torch.sin if pinned else torch.cos
        waves = [
            wave(torch.pi * torch.outer(torch.arange(1, 3), torch.linspace(0, 1, n))).double() for n in size
        ]
        field = torch.einsum("bcijk,id,jh,kw->bcdhw", amplitude, *waves)
        return (field * (peak / field.abs().max())).float()

    return make


@pytest.fixture
def smooth_image() -> Callable[[tuple[int, int, int]], Tensor]:
    """A smooth image `(1, 1, *size)` in 0..1 that differs along each axis."""

    def make(size: tuple[int, int, int] = (16, 18, 20)) -> Tensor:
        d, h, w = torch.meshgrid(*[torch.linspace(0, 1, n) for n in size], indexing="ij")
        return (0.5 + 0.5 * torch.sin(6 * d + 1) * torch.cos(7 * h) * torch.sin(5 * w + 0.5))[None, None]

    return make


@pytest.fixture
def full_disk() -> FullDisk:
    """``with full_disk(size):`` no file of this process grows beyond so many bytes, whoever writes it."""
    resource = pytest.importorskip("resource")  # not on Windows

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four subjects of 32 x 32 x 32 voxels: two to train, two that make both validation pairs."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, subjects=4, shape=(32, 32, 32))
    return folder


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registration whose truth is known: oblique, anisotropic grids of different size and origin.

    Besides ``transform.h5``, ``inverse.h5`` and ``result.json`` it holds ``fixed``, ``moving`` and their label maps
    ``fixed_label`` and ``moving_label`` (``.nii.gz``): two balls, drawn from their equations at each image's voxels.
    """
    folder = tmp_path_factory.mktemp("registered")
    fixed = Grid((20, 22, 16), _oblique((20, -15, 10), (1.5, 1.2, 2.5), (-31, 47, 12)))
    affine = _oblique((3, 5, -4), (1.05, 0.97, 1.02), (3, -2, 4))
    centre = affine @ np.append(fixed.centre, 1)
    directions = _oblique((-10, 8, 175), (1.1, 2.0, 1.6), (0, 0, 0))
    moving_size = (30, 18, 26)
    directions[:3, 3] = centre[:3] - directions[:3, :3] @ ((np.array(moving_size) - 1) / 2)
    moving = Grid(moving_size, directions)

    axes = [np.linspace(0, np.pi, n) for n in fixed.size]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    bump = np.sin(x) * np.sin(y) * np.sin(z)
    ddf = torch.from_numpy(np.stack([2.0 * bump, -1.5 * bump, 0.8 * bump])[None]).float()
    transform = make_transform(affine, ddf, fixed)
    write_transform(folder / "transform.h5", transform)
    write_transform(folder / "inverse.h5", invert_transform(transform, fixed).transform)
    flip = [-1.0, -1.0, 1.0]
    truth = sitk.ReadTransform(str(folder / "transform.h5"))

    def draw(name: str, grid: Grid, points: Any) -> None:
        first, second = (np.linalg.norm(points - centre[:3] - shift, axis=-1) for shift in ([-5, 0, 0], [6, 3, 0]))
        image = 1000 * np.exp(-(first**2) / 30) + 600 * np.exp(-(second**2) / 20)
        label = np.where(second < 4.5, 7, np.where(first < 5.5, 2, 0)).astype(np.uint8)
        for suffix, array in (("", np.rint(image).astype(np.int16)), ("_label", label)):
            write_scan(folder / f"{name}{suffix}.nii.gz", array.reshape(grid.size), grid)

    draw("moving", moving, _voxel_centres(moving))
    mapped = [truth.TransformPoint((point * flip).tolist()) for point in _voxel_centres(fixed)]
    draw("fixed", fixed, np.array(mapped) * flip)
    grids = {
        name: {"path": f"{name}.nii.gz", "size": list(grid.size), "affine": grid.affine.tolist()}
        for name, grid in (("fixed", fixed), ("moving", moving))
    }
    (folder / "result.json").write_text(json.dumps(grids))
    return folder


@pytest.fixture(scope="session")
def model() -> RegistrationModel:
    """The phantom bundle's network: 48 voxels of 4 mm."""
    return load_model(find_bundle("morphseek_phantom"))


@pytest.fixture(scope="session")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Brains:
    """Subjects 9 and 10 of the phantom bundle's own kind."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, subjects=12)
    images: list[Any] = [nib.load(folder / f"imagesTr/PhantomBrain_00{n}_0000.nii.gz") for n in ("10", "11")]
    return Brains([np.asarray(image.dataobj, dtype=np.float32) for image in images], images[0].affine)


def _voxel_centres(grid: Grid) -> Any:
    return np.indices(grid.size).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _oblique(degrees: Any, spacing: Any, origin: Any) -> Any:
    """An affine of Euler angles, voxel sizes and an origin."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine
