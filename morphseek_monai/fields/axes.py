"""The voxel grid that displacements are added to, as three broadcastable axes (compiled by TorchScript)."""

import functools
from typing import List, Tuple

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def build_axes(size: List[int], device: torch.device, dtype: torch.dtype) -> List[torch.Tensor]:
    """Voxel indices along D, H and W, shaped `(D, 1, 1)`, `(1, H, 1)` and `(1, 1, W)`.

    They broadcast against a field; a dense `(3, D, H, W)` grid would cost as much memory as the field itself.
    """
    return [
        torch.arange(size[0], device=device, dtype=dtype).view(-1, 1, 1),
        torch.arange(size[1], device=device, dtype=dtype).view(1, -1, 1),
        torch.arange(size[2], device=device, dtype=dtype).view(1, 1, -1),
    ]


@functools.lru_cache(maxsize=32)
def _cached_axes(
    size: Tuple[int, int, int], device: torch.device, dtype: torch.dtype
) -> Tuple[torch.Tensor, ...]:
    # Without this a grid first built under inference_mode would break every later backward pass that uses it.
    with torch.inference_mode(False):
        return tuple(build_axes(list(size), device, dtype))


def is_plain_eager(tensor: torch.Tensor) -> bool:
    """Whether what is computed from `tensor` now is computed at once: no tracer, functorch level or CUDA graph."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    if is_in_torch_dispatch_mode() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def voxel_axes(ddf: torch.Tensor) -> List[torch.Tensor]:
    """Voxel axes of the grid of `ddf` `(B, 3, D, H, W)`, on its device and in its dtype.

    Built once per size, device and dtype in eager mode, and never remembered while something traces.
    """
    # TorchScript skips a branch it cannot compile only where is_scripting() is the whole condition.
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        plain = is_plain_eager(ddf)
        if plain:
            return list(_cached_axes((ddf.shape[2], ddf.shape[3], ddf.shape[4]), ddf.device, ddf.dtype))
    return build_axes([ddf.shape[2], ddf.shape[3], ddf.shape[4]], ddf.device, ddf.dtype)
