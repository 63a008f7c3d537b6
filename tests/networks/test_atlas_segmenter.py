"""AtlasSegmenter: labels follow the atlas's image, exactly where the field is known; one file, every export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.utils import convert_to_onnx
from torch import Tensor, nn

from morphseek_monai.fields import warp
from morphseek_monai.networks import AffineFirst, AtlasSegmenter, MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
SIZE = (12, 16, 20)


class Shift(nn.Module):
    """A field of whole voxels along W for every pair."""

    def __init__(self, voxels: float) -> None:
        super().__init__()
        self.voxels = voxels
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        field = torch.zeros_like(image[:, :1]).repeat(1, 3, 1, 1, 1)
        field[:, 2] = self.voxels
        return field


def dense_atlas(num_labels: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Image, labels and probabilities with two labels per voxel, distinct, and their dense form's parts."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 1, *SIZE, generator=generator)
    first = torch.randint(num_labels, (1, 1, *SIZE), generator=generator)
    second = (first + 1 + torch.randint(num_labels - 1, first.shape, generator=generator)) % num_labels
    share = torch.randint(128, 256, first.shape, generator=generator)
    return image, torch.cat([first, second], 1).byte(), torch.cat([share, 255 - share], 1).byte()


def make(registration: nn.Module, num_labels: int = 11) -> AtlasSegmenter:
    segmenter = AtlasSegmenter(registration, SIZE, num_labels, top_k=2).eval()
    segmenter.set_atlas(*dense_atlas(num_labels))
    return segmenter


@pytest.mark.parametrize("num_labels", [2, 8, 11, 256])
def test_dense_labels_are_the_sparse_ones(num_labels: int) -> None:
    _, labels, probabilities = dense_atlas(num_labels)
    dense = make(Shift(0), num_labels)(torch.rand(1, 1, *SIZE))
    expected = torch.zeros(1, num_labels, *SIZE).scatter_add_(1, labels.long(), probabilities / 255)
    torch.testing.assert_close(dense, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(dense.sum(1), torch.ones(1, *SIZE), rtol=0, atol=1e-5)


def test_labels_are_warped_like_the_atlas_image() -> None:
    segmenter = make(Shift(3.0))
    still = make(Shift(0.0))(torch.rand(1, 1, *SIZE))
    moved = segmenter(torch.rand(2, 1, *SIZE))
    assert moved.shape == (2, 11, *SIZE)
    torch.testing.assert_close(moved[0, ..., :-3], still[0, ..., 3:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[0], moved[1])


def test_interpolation_is_linear() -> None:
    still, moved = make(Shift(0.0)), make(Shift(0.5))
    image = torch.rand(1, 1, *SIZE)
    middle = (still(image)[..., 1:] + still(image)[..., :-1]) / 2
    torch.testing.assert_close(moved(image)[..., :-1], middle, rtol=0, atol=1e-5)


def test_the_atlas_is_the_moving_image(make_net: MakeNet) -> None:
    segmenter = make(make_net())
    image = torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(5))
    pair = torch.cat([segmenter.atlas_image.expand(2, -1, -1, -1, -1), image], 1)
    with torch.no_grad():
        expected = segmenter.registration(pair)
        assert expected.abs().max() > 0.3
        torch.testing.assert_close(segmenter.register(image), expected)
        dense = segmenter.dense_labels(0, 11)
        torch.testing.assert_close(segmenter(image), warp(dense, expected), rtol=0, atol=1e-5)


def test_weights_and_atlas_are_one_file(make_net: MakeNet, tmp_path: Path) -> None:
    segmenter = make(make_net(seed=1))
    torch.save(segmenter.state_dict(), tmp_path / "model.pt")
    other = AtlasSegmenter(make_net(seed=2), SIZE, 11, top_k=2).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=True)
    image = torch.rand(1, 1, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(other(image), segmenter(image))
    assert other.atlas_labels.dtype == other.atlas_probabilities.dtype == torch.uint8


@pytest.mark.parametrize("export", ["script", "trace"])
def test_torchscript(make_net: MakeNet, export: str) -> None:
    segmenter = make(AffineFirst(make_net(scales=(2, 1), steps=2), coarse=(2,)))
    image = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        compiled = torch.jit.script(segmenter) if export == "script" else torch.jit.trace(segmenter, image)
        torch.testing.assert_close(compiled(image), segmenter(image), rtol=1e-4, atol=1e-4)


def test_onnx(make_net: MakeNet, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    segmenter = make(AffineFirst(make_net(), coarse=(2,)))
    image = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    convert_to_onnx(segmenter, [image], filename=str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, segmenter(image).numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 257}, "'num_labels' must be 2 to 256, got 257"),
        ({"num_labels": 1}, "'num_labels' must be 2 to 256, got 1"),
        ({"top_k": 0}, r"'top_k' must be 1 to 'num_labels' \(5\), got 0"),
        ({"top_k": 6}, r"'top_k' must be 1 to 'num_labels' \(5\), got 6"),
        ({"size": (8, 8)}, r"'size' must be three numbers above 1, got \[8, 8\]"),
    ],
)
def test_refuses_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AtlasSegmenter(Shift(0), **({"size": SIZE, "num_labels": 5} | arguments))  # type: ignore[arg-type]


def test_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match=r"atlas's size \[12, 16, 20\], got \[1, 1, 12, 16, 24\]; crop or pad"):
        make(Shift(0))(torch.rand(1, 1, 12, 16, 24))
    with pytest.raises(ValueError, match=r"'labels' must be \[1, 2, 12, 16, 20\], got \[1, 3, 12, 16, 20\]"):
        image, labels, probabilities = dense_atlas(11)
        make(Shift(0)).set_atlas(image, torch.cat([labels, labels[:, :1]], 1), probabilities)
