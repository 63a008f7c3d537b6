"""The remembered voxel axes must never outlive, or leak into, the mode they were built in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from morphseek_monai.fields import warp
from morphseek_monai.fields.axes import _cached_axes, voxel_axes

SIZE = (4, 5, 6)


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    _cached_axes.cache_clear()
    yield
    _cached_axes.cache_clear()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 1, *SIZE, generator=generator), torch.randn(1, 3, *SIZE, generator=generator)


def loss(image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
    return warp(image, ddf).square().sum()


class Loss(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return warp(image, ddf).square().sum()


def in_inference_mode(image: torch.Tensor, ddf: torch.Tensor) -> None:
    with torch.inference_mode():
        loss(image, ddf)


def in_fake_mode(image: torch.Tensor, ddf: torch.Tensor) -> None:
    with FakeTensorMode() as mode:
        loss(mode.from_tensor(image), mode.from_tensor(ddf))


def in_fake_mode_with_real_tensors(image: torch.Tensor, ddf: torch.Tensor) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        loss(image, ddf)


def in_grad_transform(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.func.grad(loss)(image, ddf)


def in_grad_transform_of_another(image: torch.Tensor, ddf: torch.Tensor) -> None:
    # the field itself is no functorch tensor here, but whatever is made meanwhile is
    torch.func.grad(lambda i: loss(i, ddf))(image)


def in_vmap(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.func.vmap(loss, in_dims=(None, 0))(image, torch.stack([ddf, ddf]))


def in_functionalize(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.func.functionalize(loss)(image, ddf)


def in_compile(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.compile(loss, backend="aot_eager", fullgraph=True)(image, ddf)


def in_export(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.export.export(Loss(), (image, ddf))


def in_script(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.jit.script(Loss())(image, ddf)


def in_trace(image: torch.Tensor, ddf: torch.Tensor) -> None:
    torch.jit.trace(Loss(), (image, ddf), check_trace=False)  # the check would run it eagerly


TRACERS = [
    in_fake_mode,
    in_fake_mode_with_real_tensors,
    in_grad_transform,
    in_grad_transform_of_another,
    in_vmap,
    in_functionalize,
    in_compile,
    in_export,
    in_script,
    in_trace,
]


def test_built_once_per_size_device_and_dtype() -> None:
    field = torch.zeros(1, 3, *SIZE)
    first, second = voxel_axes(field), voxel_axes(field.repeat(2, 1, 1, 1, 1))
    assert [axis.data_ptr() for axis in first] == [axis.data_ptr() for axis in second]
    assert voxel_axes(field.double())[0].dtype == torch.float64
    assert voxel_axes(field.to("meta"))[0].device.type == "meta"
    assert voxel_axes(field.transpose(2, 4))[0].shape == (6, 1, 1)
    assert _cached_axes.cache_info().misses == 4


def test_counts_voxels_along_each_axis() -> None:
    d, h, w = voxel_axes(torch.zeros(1, 3, *SIZE))
    expected = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in SIZE], indexing="ij"))
    assert torch.equal(torch.stack(torch.broadcast_tensors(d, h, w)), expected)


def test_axes_built_in_inference_mode_can_be_saved_for_backward() -> None:
    field = torch.ones(1, 3, *SIZE, requires_grad=True)
    with torch.inference_mode():
        voxel_axes(field.detach())
    (field * voxel_axes(field.detach())[0]).sum().backward()  # a product saves its factors
    assert _cached_axes.cache_info().currsize == 1


def test_cache_is_bounded() -> None:
    for depth in range(2, 102):
        voxel_axes(torch.zeros(1, 3, depth, 2, 2))
    assert _cached_axes.cache_info().currsize <= 32


def test_changing_the_returned_list_does_not_change_the_cache() -> None:
    field = torch.zeros(1, 3, *SIZE)
    voxel_axes(field).clear()
    assert len(voxel_axes(field)) == 3


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("error:.*lru_cache")
@pytest.mark.parametrize("mode", TRACERS)
def test_nothing_is_remembered_while_tracing(mode: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
    mode(*inputs())
    assert _cached_axes.cache_info().currsize == 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("mode", [in_inference_mode, *TRACERS])
def test_backward_after_any_mode(mode: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
    image, ddf = inputs()
    expected = loss(image, ddf)
    _cached_axes.cache_clear()
    mode(image, ddf)
    ddf.requires_grad_()
    value = loss(image, ddf)
    value.backward()
    torch.testing.assert_close(value.detach(), expected)
    assert ddf.grad is not None
    assert ddf.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("mode", TRACERS)
def test_any_mode_after_eager(mode: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
    image, ddf = inputs()
    loss(image, ddf)  # fills the cache
    mode(image, ddf)
