"""Make images of random contrast from label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.networks.layers.convutils import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering
from monai.transforms.transform import RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

__all__ = ["RandLabelImaged"]


class RandLabelImaged(RandomizableTransform):
    """Replace the images of a pair by ones drawn from their label maps: a random mean and texture for every label.

    A network trained on such images sees no real contrast and therefore learns none by heart (Hoffmann et al.,
    "SynthMorph", IEEE TMI 2022, https://arxiv.org/abs/2004.10282; Billot et al., "SynthSeg", Medical Image Analysis
    2023, https://arxiv.org/abs/2107.09559). For a real image that keeps its texture see
    :class:`~morphseek_monai.transforms.RandLabelContrastd`.

    Args:
        image_key: images ``(N, D, H, W)``; only their type is used.
        label_key: their label maps ``(N, D, H, W)``, integer.
        prob: how often.
        shared: share of the draws in which all images have one contrast, as two scans of one sequence; else each has
            its own, as two modalities.
        empty: share of the images whose label 0 is black, as air is; else it is a tissue like the others.
        texture: range of the standard deviation of the noise within a label.
        sigma: range of the standard deviation of the blur, voxels; makes the edges soft and the noise a texture.

    Raises:
        ValueError: images and label maps differ in shape, or ``sigma`` or ``texture`` is out of order or negative.

    Example:
        >>> label = torch.zeros(2, 8, 8, 8, dtype=torch.uint8)
        >>> label[:, 2:6] = 1
        >>> draw = RandLabelImaged(shared=1.0, texture=(0, 0), sigma=(0, 0)).set_random_state(0)
        >>> image = draw({"image": torch.zeros(2, 8, 8, 8), "label": label})["image"]
        >>> [len(channel.unique()) for channel in image], bool((image[0] == image[1]).all())
        ([2, 2], True)
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 1.0,
        shared: float = 0.5,
        empty: float = 0.5,
        texture: Sequence[float] = (0.0, 0.1),
        sigma: Sequence[float] = (0.3, 1.0),
    ) -> None:
        super().__init__(prob)
        for name, pair in (("texture", texture), ("sigma", sigma)):
            if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
                raise ValueError(f"RandLabelImaged() '{name}' must be (low, high) from 0, got {tuple(pair)}")
        self.image_key = image_key
        self.label_key = label_key
        self.shared = shared
        self.empty = empty
        self.texture = (float(texture[0]), float(texture[1]))
        self.sigma = (float(sigma[0]), float(sigma[1]))

    def randomize(self, data: tuple[int, int]) -> None:
        """Draw the contrasts.

        Args:
            data: number of images and of labels.
        """
        super().randomize(None)
        images, labels = data
        if not self._do_transform:
            return
        if self.R.uniform() < self.shared:
            self._contrasts = [self._contrast(labels)] * images
        else:
            self._contrasts = [self._contrast(labels) for _ in range(images)]
        # where the texture of each image comes from: two scans share no noise
        self._noise = torch.Generator().manual_seed(int(self.R.randint(2**31)))

    def _contrast(self, labels: int) -> tuple[Tensor, Tensor, float]:
        means = self.R.uniform(size=labels)
        textures = self.R.uniform(*self.texture, size=labels)
        if self.R.uniform() < self.empty:
            means[0] = textures[0] = 0.0
        return torch.from_numpy(means).float(), torch.from_numpy(textures).float(), self.R.uniform(*self.sigma)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        labels = convert_to_tensor(result[self.label_key], track_meta=False)
        if labels.shape != result[self.image_key].shape:
            raise ValueError(
                f"RandLabelImaged() '{self.label_key}' must have the shape of '{self.image_key}',"
                f" {tuple(result[self.image_key].shape)}, got {tuple(labels.shape)}; resample it to the image"
            )
        self.randomize((len(labels), int(labels.max()) + 1))
        if self._do_transform:
            drawn = torch.stack([self._paint(label, *draw) for label, draw in zip(labels, self._contrasts)])
            result[self.image_key] = convert_to_dst_type(drawn, result[self.image_key])[0]
        return result

    def _paint(self, label: Tensor, means: Tensor, textures: Tensor, sigma: float) -> Tensor:
        ids = label.flatten().int()
        noise = torch.randn(ids.shape, generator=self._noise)
        image = means.index_select(0, ids).addcmul_(textures.index_select(0, ids), noise).view(1, 1, *label.shape)
        if sigma:
            kernel = gaussian_1d(torch.tensor(sigma), truncated=3.0, normalize=True)
            image = separable_filtering(image, [kernel] * 3, mode="replicate")
        return image[0, 0].clamp_(0.0, 1.0)
