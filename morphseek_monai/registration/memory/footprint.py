"""How much memory a network's feature maps take, found without computing them."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from morphseek_monai.networks import MorphSeekNet

# of the networks of this package the hungriest, for one of a user's own that reads values of its tensors
UNKNOWN = 1500  # bytes per voxel


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of the tensors that are alive while operations run within this context.

    Works on the ``meta`` device too, whose tensors have a size and no memory.

    Attributes:
        peak: most bytes alive at one time, of tensors made within the context.

    Example:
        >>> with LiveTensors() as live:
        ...     tensor = torch.zeros(1000, device="meta") + 1
        >>> live.peak
        8000
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the first operation would load PyTorch's compiler, for a second

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and look at what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._forget(key, size))
            self._bytes += size
            self.peak = max(self.peak, self._bytes)

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self._bytes -= size


def forward_bytes(network: MorphSeekNet, size: Sequence[int]) -> int:
    """Most bytes of tensors that registering one pair of ``size`` ``(D, H, W)`` has alive at one time."""
    return _peak(network, size, lambda twin, image: twin(image))


def _peak(network: MorphSeekNet, size: Sequence[int], run: Callable[[MorphSeekNet, Tensor], object]) -> int:
    twin = copy.deepcopy(network).to("meta")
    image = torch.empty(1, 2, *size, device="meta")
    try:
        with torch.no_grad(), LiveTensors() as live:
            run(twin, image)
    except (RuntimeError, NotImplementedError):
        return UNKNOWN * image[0, 0].numel()
    return int(live.peak) + image.nbytes
