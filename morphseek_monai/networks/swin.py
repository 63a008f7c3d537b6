"""Swin Transformer stages for 3-D feature maps (Liu et al., ICCV 2021, arXiv 2103.14030).

TransMorph and NICE-Trans build on them. Two things differ from the usual code, and neither changes a result where the
window divides the feature map: voxels that pad the map to a multiple of the window are masked out of the attention
instead of taking part as zeros, and nothing is remembered between calls, so that one network serves any size, in
Python, TorchScript and ONNX alike.
"""

from typing import List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn


def partition_windows(x: Tensor, window: List[int]) -> Tensor:
    """Cut a map into windows.

    Args:
        x: ``(B, D, H, W, C)``, every axis a multiple of the window.
        window: voxels along each axis.

    Returns:
        ``(B * windows, voxels of a window, C)``.
    """
    b, d, h, w, c = x.shape
    x = x.reshape(b, d // window[0], window[0], h // window[1], window[1], w // window[2], window[2], c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, window[0] * window[1] * window[2], c)


def merge_windows(windows: Tensor, window: List[int], size: List[int]) -> Tensor:
    """Put the windows of :func:`partition_windows` back into maps ``(B, *size, C)``."""
    n = [size[0] // window[0], size[1] // window[1], size[2] // window[2]]
    x = windows.reshape(-1, n[0], n[1], n[2], window[0], window[1], window[2], windows.shape[-1])
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, size[0], size[1], size[2], windows.shape[-1])


def padding_to_windows(size: List[int], window: List[int]) -> List[int]:
    """Voxels missing at the far end of each axis to a whole number of windows."""
    return [(window[i] - size[i] % window[i]) % window[i] for i in range(3)]


def attention_mask(size: List[int], window: List[int], shift: List[int], device: torch.device) -> Optional[Tensor]:
    """Which voxels of a window may see each other.

    The cyclic shift puts voxels from opposite ends of the map into one window, and padding fills the last windows:
    a voxel sees only those of its own kind.

    Args:
        size: voxels of the map along each axis, before padding.
        window: voxels of the window along each axis.
        shift: voxels by which the padded map is rolled along each axis, smaller than the window.
        device: where the mask is needed.

    Returns:
        ``(windows, voxels, voxels)``, True where attention is allowed, or None where all is allowed.
    """
    padding = padding_to_windows(size, window)
    if sum(padding) + sum(shift) == 0:
        return None
    kinds: List[Tensor] = []
    for i in range(3):
        padded = size[i] + padding[i]
        origin = (torch.arange(padded, device=device) + shift[i]) % padded
        kinds.append((origin < shift[i]).long() + 2 * (origin >= size[i]).long())
    kind = 9 * kinds[0][:, None, None] + 3 * kinds[1][:, None] + kinds[2]
    voxels = partition_windows(kind[None, ..., None], window)
    return voxels == voxels.transpose(1, 2)


def relative_positions(window: List[int], largest: List[int], device: torch.device) -> Tensor:
    """Rows of the bias table for every two voxels of a window.

    Args:
        window: voxels of the window along each axis, at most ``largest``.
        largest: the window that the table was made for; it has ``prod(2 * largest - 1)`` rows, last axis fastest.
        device: where the rows are needed.

    Returns:
        ``(voxels, voxels)``, int64.
    """
    rows = torch.zeros(1, 1, dtype=torch.long, device=device)
    for i in range(3):
        axis = torch.arange(window[i], device=device)
        offset = axis[:, None] - axis + largest[i] - 1
        rows = rows[:, None, :, None] * (2 * largest[i] - 1) + offset[:, None, :]
        rows = rows.flatten(0, 1).flatten(1, 2)
    return rows


class Windows(NamedTuple):
    """How a stage cuts the maps of one forward pass.

    Attributes:
        size: voxels of a window along each axis.
        shift: voxels by which the map is rolled before it is cut.
        positions: from :func:`relative_positions`.
        mask: from :func:`attention_mask`.
    """

    size: List[int]
    shift: List[int]
    positions: Tensor
    mask: Optional[Tensor]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of maps ``(B, C, D, H, W)``, voxel by voxel; ``normalized_shape`` is C."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, D, H, W)``."""
        x = nn.functional.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position.

    Args:
        channels: channels C, a multiple of ``heads``.
        heads: attention heads.
        window: largest window along each axis; the bias table has ``prod(2 * window - 1)`` rows.
        qkv_bias: bias of the projection to query, key and value.
    """

    def __init__(self, channels: int, heads: int, window: Sequence[int], qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.projection = nn.Linear(channels, channels)
        rows = (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)
        self.bias_table = nn.Parameter(torch.empty(rows, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """Attend inside each window of ``(B * windows, voxels, C)``; the result has the same shape."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias_table.to(q.dtype)[windows.positions.flatten()].reshape(1, n, n, self.heads).permute(0, 3, 1, 2)
        mask = windows.mask
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None], float("-inf"))
            bias = bias.expand(b // mask.shape[0], -1, -1, -1, -1).flatten(0, 1)
        x = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        # not transpose().reshape(): its strides depend on the attention kernel, which the ONNX exporter replaces
        out: Tensor = self.projection(torch.cat(x.unbind(1), dim=-1))
        return out


class SwinBlock(nn.Module):
    """Windowed attention and a GELU perceptron, each behind a LayerNorm and on a residual path.

    Args:
        channels: channels C.
        heads: attention heads.
        window: largest window along each axis.
        qkv_bias: bias of the projection to query, key and value.
        drop_path: probability with which a sample skips a residual path in training (stochastic depth,
            Huang et al., ECCV 2016, arXiv 1603.09382).
        mlp_ratio: width of the perceptron in units of C.
    """

    def __init__(
        self, channels: int, heads: int, window: Sequence[int], qkv_bias: bool, drop_path: float, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        hidden = int(channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window, qkv_bias)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """Map ``(B, D, H, W, C)`` to the same shape."""
        x = x + self._skip_at_random(self._attend(self.norm1(x), windows))
        return x + self._skip_at_random(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, windows: Windows) -> Tensor:
        size: List[int] = list(x.shape[1:4])
        padding = padding_to_windows(size, windows.size)
        shifted = sum(windows.shift) > 0
        if sum(padding) > 0:
            x = nn.functional.pad(x, [0, 0, 0, padding[2], 0, padding[1], 0, padding[0]])
        if shifted:
            x = torch.roll(x, [-n for n in windows.shift], [1, 2, 3])
        padded: List[int] = list(x.shape[1:4])
        x = merge_windows(self.attention(partition_windows(x, windows.size), windows), windows.size, padded)
        if shifted:
            x = torch.roll(x, windows.shift, [1, 2, 3])
        return x[:, : size[0], : size[1], : size[2]]

    def _skip_at_random(self, x: Tensor) -> Tensor:
        if self.drop_path == 0.0 or not self.training:
            return x
        return x * nn.functional.dropout(x.new_ones(x.shape[0], 1, 1, 1, 1), self.drop_path)


class SwinStage(nn.Module):
    """Blocks at one resolution; every second one shifts its windows by half.

    On an axis shorter than the window the window shrinks to the axis and is not shifted there: one window covers it.
    Where the axis is as long as the window it is shifted, as in TransMorph's last stage, and falls into two parts.

    Args:
        channels: channels C, a multiple of ``heads``.
        depth: number of blocks.
        heads: attention heads.
        window: voxels of the window along each axis.
        qkv_bias: bias of the projections to query, key and value.
        drop_path: probability of skipping a residual path, one per block.
        mlp_ratio: width of the perceptrons in units of C; 4 as in the paper.

    Raises:
        ValueError: When the heads do not divide the channels, the window is not three positive sizes, or
            ``drop_path`` has not one probability in [0, 1) per block.

    Example:
        >>> import torch
        >>> stage = SwinStage(12, depth=2, heads=3, window=(4, 4, 4), qkv_bias=True, drop_path=(0.0, 0.1))
        >>> stage(torch.rand(2, 12, 5, 8, 3)).shape
        torch.Size([2, 12, 5, 8, 3])
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        heads: int,
        window: Sequence[int],
        qkv_bias: bool,
        drop_path: Sequence[float],
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"SwinStage() 'heads' must divide 'channels' ({channels}), got {heads}")
        if len(window) != 3 or min(window) < 1:
            raise ValueError(f"SwinStage() 'window' must be three positive sizes, got {tuple(window)}")
        if len(drop_path) != depth or not all(0 <= p < 1 for p in drop_path):
            raise ValueError(
                f"SwinStage() 'drop_path' must be one probability in [0, 1) per block ({depth}), got {tuple(drop_path)}"
            )
        self.window: List[int] = list(window)
        self.blocks = nn.ModuleList(SwinBlock(channels, heads, window, qkv_bias, p, mlp_ratio) for p in drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, D, H, W)`` to the same shape, for any size."""
        size: List[int] = list(x.shape[2:])
        window = [min(self.window[i], size[i]) for i in range(3)]
        shift = [self.window[i] // 2 if size[i] >= self.window[i] else 0 for i in range(3)]
        positions = relative_positions(window, self.window, x.device)
        even = Windows(window, [0, 0, 0], positions, attention_mask(size, window, [0, 0, 0], x.device))
        odd = Windows(window, shift, positions, attention_mask(size, window, shift, x.device))
        x = x.movedim(1, -1)
        for i, block in enumerate(self.blocks):
            x = block(x, even if i % 2 == 0 else odd)
        return x.movedim(-1, 1)
