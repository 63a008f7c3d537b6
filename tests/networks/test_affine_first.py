"""AffineFirst: what the inner network is shown, and how its fields add up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp
from morphseek_monai.networks import AffineFirst, MorphSeekNet, moments_ddf
from morphseek_monai.networks.affine import affine_ddf

MakeNet = Callable[..., MorphSeekNet]
SIZE = (16, 24, 32)


class Fixed(nn.Module):
    """Gives the same affine map at every size, and keeps what it was shown."""

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return affine_ddf(self.parameters_.expand(len(image), -1, -1), list(image.shape[2:]))


def pair(batch: int = 1) -> Tensor:
    """Two blobs in the middle, the second off by (1, -2, 3) voxels."""
    axes = torch.meshgrid(*[torch.arange(float(n)) for n in SIZE], indexing="ij")

    def blob(shift: tuple[int, int, int]) -> Tensor:
        middle = [(n - 1) / 2 + s for n, s in zip(SIZE, shift, strict=True)]
        return torch.exp(-sum((axis - c) ** 2 for axis, c in zip(axes, middle, strict=True)) / 8)

    return torch.stack([blob((0, 0, 0)), blob((1, -2, 3))]).expand(batch, -1, -1, -1, -1)


def matrix(field: Tensor) -> Tensor:
    """The ``(4, 4)`` matrix, voxel to voxel, of an affine field, from its values at four voxels."""
    result = torch.eye(4, dtype=torch.float64)
    field = field.double()
    corner = field[:, 4, 4, 4]
    for i, place in enumerate(((5, 4, 4), (4, 5, 4), (4, 4, 5))):
        result[:3, i] += field[(slice(None), *place)] - corner
    result[:3, 3] = corner - (result[:3, :3] - torch.eye(3, dtype=torch.float64)) @ torch.full((3,), 4.0).double()
    return result


def test_moments_alone() -> None:
    image = pair()
    inner = Fixed(torch.zeros(1, 3, 4))
    ddf = AffineFirst(inner, coarse=())(image)
    torch.testing.assert_close(ddf, moments_ddf(image[:, :1], image[:, 1:]))
    (seen,) = inner.seen
    torch.testing.assert_close(seen[:, 1:], image[:, 1:])
    assert (seen[:, :1] - image[:, 1:]).abs().max() < 0.02  # the moving blob lies on the fixed one


def test_fields_compose_in_order() -> None:
    """phi = phi_moments o phi_1 o ... o phi_last, each the same map in coordinates from edge to edge."""
    step = torch.tensor([[[0.05, 0.1, 0.0, 0.02], [-0.1, 0.0, 0.05, 0.0], [0.0, 0.02, -0.04, -0.03]]])
    image = pair()
    ddf = AffineFirst(Fixed(step), coarse=(4, 2, 1))(image)
    expected = matrix(moments_ddf(image[:, :1], image[:, 1:])[0])
    for _ in range(4):
        expected = expected @ matrix(affine_ddf(step, list(SIZE))[0])
    middle = torch.tensor([8.0, 12.0, 16.0, 1.0], dtype=torch.float64)
    moved = middle[:3] + ddf[0, :, 8, 12, 16].double()
    torch.testing.assert_close(moved, (expected @ middle)[:3], rtol=0, atol=1e-3)


def test_the_network_sees_reduced_pairs_and_the_original_moving_image() -> None:
    image, shift = pair(2), torch.zeros(1, 3, 4)
    shift[0, 2, 3] = 2 / 32  # one voxel along W at full size
    inner = Fixed(shift)
    ddf = AffineFirst(inner, coarse=(4, 2))(image)
    assert [tuple(seen.shape) for seen in inner.seen] == [(2, 2, 4, 6, 8), (2, 2, 8, 12, 16), (2, 2, *SIZE)]
    before_last = ddf.clone()
    before_last[:, 2] -= 1
    torch.testing.assert_close(inner.seen[-1][:, :1], warp(image[:, :1], before_last, "zeros"), rtol=0, atol=1e-4)
    torch.testing.assert_close(inner.seen[1][:, 1:], nn.functional.avg_pool3d(image[:, 1:], 2))


def test_only_the_affine_part_of_a_coarse_field_counts(make_net: MakeNet) -> None:
    class Bump(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            field = image.new_zeros(len(image), 3, *image.shape[2:])
            if image.shape[2] < SIZE[0]:
                field[:, 0, image.shape[2] // 2, image.shape[3] // 2] = 0.5
            return field

    ddf = AffineFirst(Bump(), coarse=(2,))(pair())
    bent = ddf[0, 0, 2:-2].diff(n=2, dim=0)
    assert bent.abs().max() < 1e-4


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"'coarse' must be factors of at least 1, got \[4, 0\]"):
        AffineFirst(nn.Identity(), coarse=(4, 0))
    with pytest.raises(ValueError, match=r"axes in multiples of 4, got \[16, 18, 16\]; pad it, or change 'coarse'"):
        AffineFirst(Fixed(torch.zeros(1, 3, 4)), coarse=(4,))(torch.rand(1, 2, 16, 18, 16))


@pytest.mark.parametrize("export", ["script", "trace"])
def test_torchscript(make_net: MakeNet, export: str) -> None:
    net = AffineFirst(make_net(steps=2, scales=(2, 1)), coarse=(2, 1)).eval()
    image = pair()
    with torch.no_grad():
        compiled = torch.jit.script(net) if export == "script" else torch.jit.trace(net, image)
        torch.testing.assert_close(compiled(image), net(image), rtol=1e-4, atol=1e-4)
