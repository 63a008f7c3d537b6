"""AtlasSegmenter: label probabilities of an atlas, brought to an image by a registration network."""

from typing import List, Sequence

import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp


class AtlasSegmenter(nn.Module):
    """Segment an image by registration with an atlas: one channel in, one channel of probability per label out.

    The atlas is the moving image, and its probabilities are warped linearly by the field that the network finds. Atlas
    and weights are one state dictionary, so that MONAI, MONAI Label and TorchScript read one file. Per voxel the atlas
    keeps its ``top_k`` most probable labels: rarer ones would not become the most probable one of any image.

    Args:
        registration: network from a pair ``(N, 2, D, H, W)``, channel 0 moving, to a displacement field in voxels;
            :class:`AffineFirst` around a :class:`MorphSeekNet` for heads that no one has aligned.
        size: ``[D, H, W]`` of the atlas and of every image.
        num_labels: labels L with the background, at most 256.
        top_k: labels kept per voxel of the atlas.

    Raises:
        ValueError: When ``num_labels`` or ``top_k`` is out of range, or ``size`` is not three numbers above 1.

    Example:
        >>> import torch
        >>> from morphseek_monai.networks import MorphSeekNet, VoxelMorph
        >>> segmenter = AtlasSegmenter(MorphSeekNet(VoxelMorph(), steps=1), [16, 16, 16], num_labels=3, top_k=2)
        >>> segmenter(torch.rand(1, 1, 16, 16, 16)).shape
        torch.Size([1, 3, 16, 16, 16])
    """

    atlas_image: Tensor
    atlas_labels: Tensor
    atlas_probabilities: Tensor

    def __init__(self, registration: nn.Module, size: Sequence[int], num_labels: int, top_k: int = 4) -> None:
        super().__init__()
        if not 1 < num_labels <= 256:
            raise ValueError(f"AtlasSegmenter() 'num_labels' must be 2 to 256, got {num_labels}")
        if not 0 < top_k <= num_labels:
            raise ValueError(f"AtlasSegmenter() 'top_k' must be 1 to 'num_labels' ({num_labels}), got {top_k}")
        if len(size) != 3 or min(size) < 2:
            raise ValueError(f"AtlasSegmenter() 'size' must be three numbers above 1, got {list(size)}")
        self.registration = registration
        self.num_labels = num_labels
        d, h, w = size
        self.register_buffer("atlas_image", torch.zeros(1, 1, d, h, w))
        self.register_buffer("atlas_labels", torch.zeros(1, top_k, d, h, w, dtype=torch.uint8))
        self.register_buffer("atlas_probabilities", torch.zeros(1, top_k, d, h, w, dtype=torch.uint8))

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch of images.

        Args:
            image: ``(N, 1, D, H, W)``, prepared as the images of the atlas were.

        Returns:
            Probabilities ``(N, num_labels, D, H, W)`` in [0, 1]; over the labels they sum to 1, but for rounding.

        Raises:
            ValueError: When the image does not have the size of the atlas.
        """
        chunk = 8  # labels warped together; all at once would need several times the memory of the result
        ddf = self.register(image)
        channels: List[Tensor] = []
        for first in range(0, self.num_labels, chunk):
            dense = self.dense_labels(first, min(first + chunk, self.num_labels))
            channels.append(warp(dense, ddf))
        return torch.cat(channels, dim=1)

    @torch.jit.unused
    def set_atlas(self, image: Tensor, labels: Tensor, probabilities: Tensor) -> None:
        """Take an atlas, e.g. the parts of :class:`~morphseek_monai.registration.atlas.groupwise.Atlas`.

        Args:
            image: template ``(1, 1, D, H, W)``, prepared as images to segment are.
            labels: ``(1, top_k, D, H, W)`` uint8.
            probabilities: theirs, ``(1, top_k, D, H, W)`` uint8, 255 for certainty.

        Raises:
            ValueError: When a shape is another one than the network was made for.
        """
        for name, value in (("image", image), ("labels", labels), ("probabilities", probabilities)):
            own = getattr(self, f"atlas_{name}")
            if value.shape != own.shape:
                raise ValueError(
                    f"set_atlas() '{name}' must be {list(own.shape)}, got {list(value.shape)}; make the AtlasSegmenter "
                    "with the size and top_k of the atlas"
                )
            own.copy_(value)

    def register(self, image: Tensor) -> Tensor:
        """Register the atlas with images ``(N, 1, D, H, W)``: a displacement field ``(N, 3, D, H, W)`` in voxels."""
        if image.shape[1:] != self.atlas_image.shape[1:]:
            raise ValueError(
                f"AtlasSegmenter() 'image' must have the atlas's size {list(self.atlas_image.shape[2:])},"
                f" got {list(image.shape)}; crop or pad it to the atlas"
            )
        atlas = self.atlas_image.expand(image.shape[0], -1, -1, -1, -1)
        ddf: Tensor = self.registration(torch.cat([atlas, image], dim=1))
        return ddf

    def dense_labels(self, first: int, last: int) -> Tensor:
        """Probabilities of the atlas's labels ``first`` to ``last - 1``, ``(1, last - first, D, H, W)``."""
        ids = torch.arange(first, last, device=self.atlas_labels.device).view(1, -1, 1, 1, 1)
        dense = torch.zeros_like(self.atlas_image).expand(-1, last - first, -1, -1, -1)
        for k in range(self.atlas_labels.shape[1]):
            here = self.atlas_labels[:, k : k + 1] == ids
            dense = dense + here * (self.atlas_probabilities[:, k : k + 1] / 255.0)
        return dense
