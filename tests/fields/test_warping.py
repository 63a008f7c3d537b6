from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.blocks import Warp
from torch.utils._python_dispatch import TorchDispatchMode

from morphseek_monai.fields import warp, warp_labels

SIZE = (5, 6, 7)
INTEGER_DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def voxels(size: tuple[int, ...]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*map(range, size))


def integer_ddf(seed: int = 0) -> torch.Tensor:
    """Random whole-voxel displacements whose targets all lie on the grid."""
    rng = np.random.default_rng(seed)
    ddf = np.zeros((1, 3, *SIZE), dtype=np.float32)
    for x in voxels(SIZE):
        ddf[(0, slice(None), *x)] = [rng.integers(0, n) - i for i, n in zip(x, SIZE, strict=True)]
    return torch.from_numpy(ddf)


def trilinear(image: np.ndarray, ddf: np.ndarray, padding: str) -> np.ndarray:
    """Trilinear interpolation in the words of the definition: a weighted sum over the eight corners."""
    warped = np.zeros(image.shape)
    top = np.array(image.shape) - 1
    for x in voxels(image.shape):
        target = np.array(x) + ddf[(slice(None), *x)]
        if padding == "border":
            target = np.clip(target, 0, top)
        base = np.floor(target).astype(int)
        for corner in itertools.product((0, 1), repeat=3):
            weight = np.prod(np.where(corner, target - base, 1 - (target - base)))
            at = base + corner
            if weight > 0 and np.all((at >= 0) & (at <= top)):
                warped[x] += weight * image[tuple(at)]
    return warped


class NewTensors(TorchDispatchMode):
    """Records the number of elements of every newly allocated tensor (views and `known` tensors excluded)."""

    def __init__(self, *known: torch.Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for argument in (*args, *(kwargs or {}).values()):
            if isinstance(argument, torch.Tensor):
                self.known.add(argument.untyped_storage().data_ptr())
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in self.known:
            self.sizes.append(result.numel())
        return result


class TestWarp:
    def test_contract(self) -> None:
        # warped(x) = moving(x + u(x)), literally, for displacements of whole voxels
        moving, ddf = torch.rand(1, 2, *SIZE), integer_ddf()
        warped = warp(moving, ddf)
        for x in voxels(SIZE):
            target = tuple(int(i + ddf[(0, c, *x)]) for c, i in enumerate(x))
            torch.testing.assert_close(warped[(0, slice(None), *x)], moving[(0, slice(None), *target)])

    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("shift", [-2, 1])
    def test_translation_is_a_roll(self, axis: int, shift: int) -> None:
        image, ddf = torch.rand(1, 1, *SIZE), torch.zeros(1, 3, *SIZE)
        ddf[:, axis] = shift
        rolled = image.roll(-shift, dims=2 + axis)
        inside = [slice(None)] * 5
        inside[2 + axis] = slice(max(-shift, 0), SIZE[axis] - max(shift, 0))
        torch.testing.assert_close(warp(image, ddf)[tuple(inside)], rolled[tuple(inside)], atol=1e-5, rtol=0)

    def test_zero_displacement_is_the_identity(self) -> None:
        image = torch.rand(2, 3, 20, 21, 22)
        torch.testing.assert_close(warp(image, torch.zeros(2, 3, 20, 21, 22)), image, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("padding", ["border", "zeros"])
    def test_is_trilinear(self, padding: str) -> None:
        # displacements up to 4 voxels leave the grid of 5 x 6 x 7 on all sides
        image = torch.rand(1, 1, *SIZE, dtype=torch.float64)
        ddf = 8 * torch.rand(1, 3, *SIZE, dtype=torch.float64) - 4
        expected = trilinear(image[0, 0].numpy(), ddf[0].numpy(), padding)
        np.testing.assert_allclose(warp(image, ddf, padding)[0, 0].numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
    def test_equals_scipy(self, padding: str, mode: str) -> None:
        ndimage = pytest.importorskip("scipy.ndimage")
        image, ddf = torch.rand(1, 1, 12, 13, 14), 6 * torch.rand(1, 3, 12, 13, 14) - 3
        target = np.indices((12, 13, 14)) + ddf[0].numpy()
        expected = ndimage.map_coordinates(image[0, 0].numpy(), target, order=1, mode=mode)
        np.testing.assert_allclose(warp(image, ddf, padding)[0, 0].numpy(), expected, atol=1e-5)

    @pytest.mark.parametrize("padding", ["border", "zeros"])
    def test_equals_monai(self, padding: str) -> None:
        image, ddf = torch.rand(2, 3, 8, 9, 10), 6 * torch.rand(2, 3, 8, 9, 10) - 3
        torch.testing.assert_close(warp(image, ddf, padding), Warp("bilinear", padding)(image, ddf))

    @pytest.mark.parametrize("padding", ["border", "zeros"])
    def test_gradient(self, padding: str) -> None:
        torch.manual_seed(0)
        image = torch.rand(1, 1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
        # away from whole voxels, where the interpolant has a kink, and partly outside
        ddf = (
            torch.randint(-1, 2, (2, 3, 3, 4, 3)) + 0.2 + 0.6 * torch.rand(2, 3, 3, 4, 3, dtype=torch.float64)
        )
        assert torch.autograd.gradcheck(lambda i, u: warp(i, u, padding), (image, ddf.requires_grad_()))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_upcast(self, dtype: torch.dtype) -> None:
        # bfloat16 counts 200, 201, 202 (a step of 1): half a voxel would be lost if the grid were built in it
        image = torch.arange(256.0).view(1, 1, 256, 1, 1).expand(1, 1, 256, 2, 2)
        ddf = torch.zeros(1, 3, 256, 2, 2, dtype=dtype)
        ddf[:, 0] = 0.5
        warped = warp(image.to(dtype), ddf)
        assert warped.dtype == torch.float32
        assert warped[0, 0, 200, 0, 0].item() == pytest.approx(200.5, abs=1e-3)

    def test_stays_float32_under_autocast(self) -> None:
        image, ddf = torch.rand(1, 1, *SIZE), torch.rand(1, 3, *SIZE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            warped = warp(image, ddf)
        assert torch.equal(warped, warp(image, ddf))

    def test_mixed_precision_is_promoted(self) -> None:
        assert (
            warp(torch.rand(1, 1, *SIZE), torch.zeros(1, 3, *SIZE, dtype=torch.float64)).dtype
            == torch.float64
        )
        assert warp(torch.rand(1, 1, *SIZE).double(), torch.zeros(1, 3, *SIZE)).dtype == torch.float64

    @pytest.mark.parametrize(("images", "fields"), [(1, 3), (3, 1), (3, 3)])
    def test_batch_of_one_is_shared(self, images: int, fields: int) -> None:
        image, ddf = torch.rand(images, 2, *SIZE), torch.randn(fields, 3, *SIZE)
        warped = warp(image, ddf)
        assert warped.shape == (3, 2, *SIZE)
        for item in range(3):
            i, u = min(item, images - 1), min(item, fields - 1)
            torch.testing.assert_close(warped[item : item + 1], warp(image[i : i + 1], ddf[u : u + 1]))

    def test_arguments_are_left_alone(self) -> None:
        image, ddf = torch.rand(1, 1, *SIZE), torch.randn(1, 3, *SIZE)
        before = image.clone(), ddf.clone()
        warp(image, ddf)
        assert torch.equal(image, before[0])
        assert torch.equal(ddf, before[1])


class TestWarpLabels:
    def test_contract(self) -> None:
        labels, ddf = torch.randint(0, 255, (1, 2, *SIZE), dtype=torch.uint8), integer_ddf()
        warped = warp_labels(labels, ddf)
        for x in voxels(SIZE):
            target = tuple(int(i + ddf[(0, c, *x)]) for c, i in enumerate(x))
            assert torch.equal(warped[(0, slice(None), *x)], labels[(0, slice(None), *target)])

    @pytest.mark.parametrize("dtype", INTEGER_DTYPES)
    def test_every_integer_dtype_is_kept_exactly(self, dtype: torch.dtype) -> None:
        # neighbours of the largest value, which float32 (or, for int64, any float) cannot tell apart
        top = torch.iinfo(dtype).max
        values = torch.tensor([0, 1, top - 1, top], dtype=dtype)
        labels = values[torch.randint(0, 4, (1, 1, *SIZE))]
        warped = warp_labels(labels, 0.4 * torch.rand(1, 3, *SIZE))  # less than half a voxel: nothing moves
        assert warped.dtype == dtype
        assert torch.equal(warped, labels)

    def test_bool(self) -> None:
        mask = torch.rand(1, 1, *SIZE) > 0.5
        ddf = torch.zeros(1, 3, *SIZE)
        ddf[:, 1] = 1
        warped = warp_labels(mask, ddf)
        assert warped.dtype == torch.bool
        assert torch.equal(warped[:, :, :, :-1], mask[:, :, :, 1:])
        assert not warped[:, :, :, -1].any()

    @pytest.mark.parametrize("padding", ["zeros", "border"])
    def test_no_new_labels(self, padding: str) -> None:
        labels = torch.tensor([3, 40, 250], dtype=torch.uint8)[torch.randint(0, 3, (1, 1, *SIZE))]
        warped = warp_labels(labels, 8 * torch.rand(4, 3, *SIZE) - 4, padding)
        allowed = {3, 40, 250} | ({0} if padding == "zeros" else set())
        assert set(warped.unique().tolist()) == allowed

    @pytest.mark.parametrize(
        ("shift", "zeros", "border"),
        [
            (0.49, [1, 2, 3], [1, 2, 3]),
            (0.5, [2, 3, 0], [2, 3, 3]),  # halves round up, and the half-open box of voxel 2 ends at 2.5
            (-0.5, [1, 2, 3], [1, 2, 3]),  # so -0.5 still belongs to voxel 0
            (-0.51, [0, 1, 2], [1, 1, 2]),
            (1e30, [0, 0, 0], [3, 3, 3]),  # beyond the int64 range
            (float("-inf"), [0, 0, 0], [1, 1, 1]),
            (float("nan"), [0, 0, 0], [1, 1, 1]),
        ],
    )
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_rounding_and_padding(self, axis: int, shift: float, zeros: list[int], border: list[int]) -> None:
        labels = torch.tensor([1, 2, 3]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 3, 3).movedim(2, 2 + axis)
        ddf = torch.zeros(1, 3, 3, 3, 3)
        ddf[:, axis] = shift
        for padding, expected in (("zeros", zeros), ("border", border)):
            line = warp_labels(labels, ddf, padding).movedim(2 + axis, 2)[0, 0, :, 1, 1]
            assert line.tolist() == expected, padding

    @pytest.mark.parametrize(("maps", "fields"), [(1, 3), (3, 1), (3, 3)])
    def test_batch_of_one_is_shared(self, maps: int, fields: int) -> None:
        labels, ddf = torch.randint(0, 9, (maps, 2, *SIZE)), 2 * torch.randn(fields, 3, *SIZE)
        warped = warp_labels(labels, ddf)
        assert warped.shape == (3, 2, *SIZE)
        for item in range(3):
            i, u = min(item, maps - 1), min(item, fields - 1)
            assert torch.equal(warped[item : item + 1], warp_labels(labels[i : i + 1], ddf[u : u + 1]))

    def test_memory_depends_neither_on_labels_nor_on_fields(self) -> None:
        labels, ddf = torch.randint(0, 200, (1, 1, *SIZE), dtype=torch.uint8), torch.randn(16, 3, *SIZE)
        with NewTensors(labels, ddf) as new:
            warped = warp_labels(labels, ddf)
        assert warped.shape[0] == 16
        assert sorted(new.sizes)[-2:] == [labels.numel(), warped.numel()]  # the result, and volumes

    def test_takes_fields_that_require_grad(self) -> None:
        labels, ddf = torch.randint(0, 9, (1, 1, *SIZE)), torch.randn(1, 3, *SIZE, requires_grad=True)
        assert not warp_labels(labels, ddf).requires_grad

    def test_half_precision_is_upcast(self) -> None:
        labels = torch.arange(256).view(1, 1, 256, 1, 1).expand(1, 1, 256, 2, 2)
        ddf = torch.zeros(1, 3, 256, 2, 2, dtype=torch.bfloat16)
        ddf[:, 0] = 0.375  # 201.375 would round to 202 in bfloat16 if 0.5 were added in it
        assert warp_labels(labels, ddf)[0, 0, 201, 0, 0] == 201

    def test_takes_metatensors(self) -> None:
        labels, ddf = torch.randint(0, 9, (1, 1, *SIZE)), 2 * torch.randn(2, 3, *SIZE)
        assert torch.equal(torch.as_tensor(warp_labels(MetaTensor(labels), ddf)), warp_labels(labels, ddf))
        image = torch.rand(1, 1, *SIZE)
        torch.testing.assert_close(
            torch.as_tensor(warp(MetaTensor(image), MetaTensor(ddf))), warp(image, ddf)
        )


@pytest.mark.parametrize("function", [warp, warp_labels])
class TestErrors:
    def image(self, function: object, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float32 if function is warp else torch.uint8)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_single_slice(self, function, axis: int) -> None:  # type: ignore[no-untyped-def]
        size = [4, 4, 4]
        size[axis] = 1
        with pytest.raises(
            ValueError, match=rf"{function.__name__}\(\) 'ddf' must have at least 2 voxels per axis"
        ):
            function(self.image(function, 1, 1, *size), torch.zeros(1, 3, *size))

    @pytest.mark.parametrize("shape", [(3, 4, 4, 4), (1, 2, 4, 4, 4), (1, 4, 4, 4, 3)])
    def test_field_shape(self, function, shape: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            ValueError, match=rf"{function.__name__}\(\) 'ddf' must have shape \(B, 3, D, H, W\), got"
        ):
            function(self.image(function, 1, 1, 4, 4, 4), torch.zeros(shape))

    def test_integer_field(self, function) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            TypeError, match=r"'ddf' must be floating point, got torch.int64; call .float\(\) on it"
        ):
            function(self.image(function, 1, 1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4, dtype=torch.int64))

    def test_image_dimensions(self, function) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match=r"must have shape \(B, C, D, H, W\), got \[4, 4, 4\]"):
            function(self.image(function, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4))

    def test_other_grid(self, function) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            ValueError, match=r"must lie on the grid of 'ddf', got \[1, 1, 4, 4, 5\] and \[1, 3, 4, 4, 4\]"
        ):
            function(self.image(function, 1, 1, 4, 4, 5), torch.zeros(1, 3, 4, 4, 4))

    def test_batch_sizes(self, function) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="must have the batch size of 'ddf' or 1, got 2 and 3"):
            function(self.image(function, 2, 1, 4, 4, 4), torch.zeros(3, 3, 4, 4, 4))

    def test_padding(self, function) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(
            ValueError, match=rf"{function.__name__}\(\) 'padding' must be 'border' or 'zeros', got 'wrap'"
        ):
            function(self.image(function, 1, 1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4), "wrap")


def test_default_padding() -> None:
    ddf = torch.full((1, 3, *SIZE), 3.5)
    image, labels = torch.rand(1, 1, *SIZE), torch.randint(1, 9, (1, 1, *SIZE))
    assert torch.equal(warp(image, ddf), warp(image, ddf, "border"))
    assert torch.equal(warp_labels(labels, ddf), warp_labels(labels, ddf, "zeros"))


def test_labels_and_images_are_not_confused() -> None:
    ddf = torch.zeros(1, 3, 4, 4, 4)
    with pytest.raises(
        TypeError, match=r"warp\(\) 'image' must be floating point, got torch.uint8; warp_labels\(\)"
    ):
        warp(torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8), ddf)
    with pytest.raises(
        TypeError, match=r"warp_labels\(\) 'labels' must be integer or bool, got torch.float32; warp\(\)"
    ):
        warp_labels(torch.zeros(1, 1, 4, 4, 4), ddf)
