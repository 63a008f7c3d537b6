"""Convolutions by oneDNN against PyTorch's own, and all that is left to PyTorch."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from morphseek_monai.networks import MorphSeekNet, VoxelMorph
from morphseek_monai.networks import convolution as module
from morphseek_monai.networks.convolution import Conv3d, convolve, use_fast_convolutions


def gradients(result: Tensor, *inputs: Tensor | None) -> tuple[Tensor, ...]:
    """Of a sum of the result with fixed weights, by the inputs that there are."""
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(3), dtype=result.dtype)
    return torch.autograd.grad(result, [x for x in inputs if x is not None], weights)


def layer(*args: Any, **kwargs: Any) -> Conv3d:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv3d(*args, **kwargs))
    use_fast_convolutions(conv)
    return conv[0]  # type: ignore[return-value]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What reached :func:`convolve`."""
    seen: list[Tensor] = []

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(x)
        return convolve(x, weight, bias)

    monkeypatch.setattr(module, "convolve", spy)
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize(
    ("batch", "channels", "size"),
    [(1, (8, 3), (5, 6, 7)), (2, (5, 4), (9, 20, 11)), (1, (2, 4), (6, 6, 6)), (3, (4, 8), (1, 2, 3))],
)
def test_values_and_gradients_are_those_of_pytorch(
    batch: int, channels: tuple[int, int], size: tuple[int, int, int], kernel: int, bias: bool
) -> None:
    torch.manual_seed(1)
    x = torch.randn(batch, channels[0], *size, requires_grad=True)
    weight = torch.randn(channels[1], channels[0], kernel, kernel, kernel, requires_grad=True)
    offset = torch.randn(channels[1], requires_grad=True) if bias else None
    result, expected = convolve(x, weight, offset), F.conv3d(x, weight, offset, padding=1)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
    for got, right in zip(gradients(result, x, weight, offset), gradients(expected, x, weight, offset), strict=True):
        torch.testing.assert_close(got, right, atol=2e-4, rtol=1e-4)


def test_frozen_weights_and_images_get_no_gradient() -> None:
    x, weight = torch.randn(1, 8, 4, 4, 4), torch.randn(4, 8, 3, 3, 3)
    for needy, other in ((x.clone().requires_grad_(), weight), (weight.clone().requires_grad_(), x)):
        image, kernel = (needy, other) if other is weight else (other, needy)
        (got,) = gradients(convolve(image, kernel), needy)
        (right,) = gradients(F.conv3d(image, kernel, padding=1), needy)
        torch.testing.assert_close(got, right, atol=1e-4, rtol=1e-4)
        assert other.grad is None


def test_gradient_has_a_derivative() -> None:
    torch.manual_seed(1)
    x, weight = (torch.randn(1, 4, 3, 4, 5, requires_grad=True), torch.randn(5, 4, 3, 3, 3, requires_grad=True))
    twice = []
    for result in (convolve(x, weight), F.conv3d(x, weight, padding=1)):
        (slope,) = torch.autograd.grad(result.square().sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(slope.square().sum(), (x, weight)))
    for got, right in zip(*twice, strict=True):
        torch.testing.assert_close(got, right, atol=1e-2, rtol=1e-4)


def test_same_input_same_bits() -> None:
    conv, x = layer(8, 8, 3, padding=1), torch.randn(1, 8, 12, 13, 14)
    runs = []
    for _ in range(2):
        conv.zero_grad()
        conv(x).square().sum().backward()
        runs.append([p.grad.clone() for p in conv.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_serves_one_small_image(served: list[Tensor]) -> None:
    conv, x = layer(4, 6, 3, padding=1), torch.randn(1, 4, 6, 6, 6)
    torch.testing.assert_close(conv(x), F.conv3d(x, conv.weight, conv.bias, padding=1), atol=1e-5, rtol=1e-5)
    assert len(served) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 0},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
        {"kernel_size": (3, 3, 1), "padding": (1, 1, 0)},
    ],
)
def test_leaves_other_layers_to_pytorch(arguments: dict[str, Any], served: list[Tensor]) -> None:
    conv, x = layer(4, 6, **arguments), torch.randn(2, 4, 7, 6, 5)
    torch.manual_seed(0)
    expected = nn.Conv3d(4, 6, **arguments)
    assert torch.equal(conv(x), expected(x)) and not served


def test_double_precision_passes_gradcheck(served: list[Tensor]) -> None:
    conv = layer(2, 3, 3, padding=1).double()
    x = torch.randn(1, 2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, x) and not served


def test_autocast_computes_in_bfloat16(served: list[Tensor]) -> None:
    conv, x = layer(4, 6, 3, padding=1), torch.randn(1, 4, 6, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert not served


def test_meta_device_and_dispatch_modes_see_an_ordinary_convolution(served: list[Tensor]) -> None:
    class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    conv = layer(4, 6, 3, padding=1)
    with Seen():  # type: ignore[no-untyped-call]
        conv(torch.randn(1, 4, 6, 6, 6))
    assert "aten.convolution.default" in names
    assert conv.to("meta")(torch.empty(1, 4, 6, 6, 6, device="meta")).shape == (1, 6, 6, 6, 6)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(torch.randn(1, 4, 6, 6, 6))
    assert isinstance(layer(4, 6, 3, padding=1)(fake), FakeTensor)
    assert not served


def test_leaves_it_to_pytorch_where_onednn_is_off(served: list[Tensor]) -> None:
    with torch.backends.mkldnn.flags(enabled=False):  # type: ignore[no-untyped-call]
        layer(4, 6, 3, padding=1)(torch.randn(1, 4, 6, 6, 6))
    assert not served


def test_traced_and_scripted_layers_hold_an_ordinary_convolution(served: list[Tensor]) -> None:
    conv, x = layer(4, 6, 3, padding=1), torch.randn(1, 4, 6, 6, 6)
    for compiled in (torch.jit.script(conv), torch.jit.trace(conv, x, check_trace=False)):
        stored = io.BytesIO()
        torch.jit.save(compiled, stored)
        stored.seek(0)
        torch.testing.assert_close(torch.jit.load(stored)(x), F.conv3d(x, conv.weight, conv.bias, padding=1))
    assert not served


def test_network_keeps_its_parameters_and_their_names() -> None:
    torch.manual_seed(0)
    backbone = VoxelMorph((4, 6), (6, 4), (4,))
    names = list(backbone.state_dict())
    net = MorphSeekNet(backbone)
    assert list(net.backbone.state_dict()) == names
    assert all(type(m) is Conv3d for m in net.modules() if isinstance(m, nn.Conv3d))
    twin = copy.deepcopy(net)
    twin.load_state_dict(net.state_dict())
    image = torch.rand(1, 2, 8, 8, 8)
    assert torch.equal(twin(image), net(image))


def test_subclasses_are_left_alone() -> None:
    class Own(nn.Conv3d):
        pass

    net = nn.Sequential(Own(2, 2, 3), nn.Conv3d(2, 2, 3))
    use_fast_convolutions(net)
    assert [type(m) for m in net] == [Own, Conv3d]


def test_network_takes_a_metatensor_as_it_takes_a_tensor(served: list[Tensor]) -> None:
    torch.manual_seed(0)
    net = MorphSeekNet(VoxelMorph((4, 6), (6, 4), (4, 4)), steps=1)
    image = torch.rand(1, 2, 16, 16, 16)
    result = net(MetaTensor(image))
    result.sum().backward()
    assert served
    torch.testing.assert_close(result.as_tensor(), net(image))
