"""Give the structures of a pair random intensities, as if another sequence had been acquired."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.networks.layers.convutils import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering
from monai.transforms.transform import RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from .label_pairs import check_label_pairs

__all__ = ["RandLabelContrastd"]


class RandLabelContrastd(RandomizableTransform):
    """Move the mean intensity of every label to a random one, and keep the texture around it.

    A network that is to register any contrast must not see one only. SynthSeg and SynthMorph draw whole images from
    label maps; here the real image keeps its texture, noise and partial volume:
    ``new = gain * image + blur(mean_new[label] - gain * mean_old[label])``, clipped to 0..1. The blur is that of the
    image itself, so that its soft edges stay soft in the new contrast; hard label edges would be a cue that no scan
    has.

    Both images of a pair share the draw: they are one sequence, and LNCC or MIND still compare like with like. For
    the same reason a pair in which one image has no labels (all zeros) is left alone.

    The background (label 0) is no tissue of one mean. Its empty voxels (0) stay empty. What else it holds (skull,
    fluid, in an image that is not stripped of them) is multiplied by a random factor, 0 to what brings the brightest
    of it (mean + 2 standard deviations) to 1: texture stays, air stays dark and the rim of the head fades as before.

    Args:
        image_key: images ``(2, D, H, W)`` in 0..1, moving and fixed.
        label_key: their label maps ``(2, D, H, W)``, integer.
        label_pairs: ids ``[(left, right), ...]`` of one mean each, e.g. of
            :func:`~morphseek_monai.data.label_pairs`; None (default) draws every id by itself.
        prob: how often; the default leaves every other pair in its own contrast.
        strength: how far the means go, 0 as they are to 1 all random. Each pair draws its own, uniformly from 0 to
            this; the default covers all contrasts between the acquired one and a random one.
        gain: range of the factor on the texture at strength 1. The default never exceeds 1: what the label means do
            not explain includes rests of the acquired edges, and these would become outlines.
        jitter: standard deviation of each image's own change of the means; small, since a pair is one sequence.
        sigma: standard deviation of the blur, in voxels. The default lies between what explains brain MR best as
            blurred class means: 0.5 at 2 mm, 0.4 at 4 mm by area averages, 0.3 at 4 mm by nearest neighbour.

    Raises:
        ValueError: an argument is out of its range, or images and label maps differ in shape.

    Source: Billot et al., "SynthSeg", Medical Image Analysis 2023, https://arxiv.org/abs/2107.09559; Hoffmann et
    al., "SynthMorph", IEEE TMI 2022, https://arxiv.org/abs/2004.10282.

    Example:
        >>> contrast = RandLabelContrastd(prob=1.0, jitter=0.0).set_random_state(0)
        >>> label = torch.zeros(2, 8, 8, 8, dtype=torch.uint8)
        >>> label[:, 2:6] = 1
        >>> image = 0.8 * label
        >>> new = contrast({"image": image, "label": label})["image"]
        >>> bool(new[label == 1].mean() != 0.8), float(new[label == 0].abs().max())
        (True, 0.0)
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        label_pairs: Sequence[Sequence[int]] | None = None,
        prob: float = 0.5,
        strength: float = 1.0,
        gain: Sequence[float] = (0.3, 1.0),
        jitter: float = 0.02,
        sigma: float = 0.4,
    ) -> None:
        super().__init__(prob)
        if not 0 <= strength <= 1:
            raise ValueError(f"RandLabelContrastd() 'strength' must be in 0..1, got {strength}")
        if len(gain) != 2 or not 0 <= gain[0] <= gain[1]:
            raise ValueError(f"RandLabelContrastd() 'gain' must be (low, high) with 0 <= low <= high, got {gain}")
        for name, value in (("jitter", jitter), ("sigma", sigma)):
            if value < 0:
                raise ValueError(f"RandLabelContrastd() '{name}' must not be negative, got {value}")
        self.image_key = image_key
        self.label_key = label_key
        self.label_pairs = check_label_pairs(label_pairs, "RandLabelContrastd")
        self.strength = strength
        self.gain = (gain[0], gain[1])
        self.jitter = jitter
        self.kernel = gaussian_1d(torch.tensor(sigma), normalize=True) if sigma else None

    def randomize(self, data: tuple[int, int]) -> None:
        """Draw the contrast of a pair.

        Args:
            data: number of images and of labels.
        """
        super().randomize(None)
        images, labels = data
        self._strength = self.strength * self.R.uniform()
        self._gain = self.R.uniform(*self.gain)
        means = self.R.uniform(size=(1, labels)) + self.jitter * self.R.standard_normal((images, labels))
        for left, right in self.label_pairs:
            if max(left, right) < labels:
                means[:, right] = means[:, left]
        self._means = torch.from_numpy(np.clip(means, 0.0, 1.0))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        images = convert_to_tensor(result[self.image_key], track_meta=False)
        labels = convert_to_tensor(result[self.label_key], track_meta=False).long()
        if images.shape != labels.shape:
            raise ValueError(
                f"RandLabelContrastd() '{self.label_key}' must have the shape of '{self.image_key}',"
                f" {tuple(images.shape)}, got {tuple(labels.shape)}; resample it to the image (nearest neighbour)"
            )
        self.randomize((len(images), int(labels.max()) + 1))
        if self._do_transform and bool(labels.flatten(1).any(1).all()):
            new = torch.stack([self._change(*each) for each in zip(images, labels, self._means, strict=True)])
            result[self.image_key] = convert_to_dst_type(new, result[self.image_key])[0]
        return result

    def _change(self, image: Tensor, label: Tensor, means: Tensor) -> Tensor:
        """Change one image ``(D, H, W)`` with its label map of the same shape towards ``means`` ``(num_labels,)``."""
        values, ids = image.flatten().double(), label.flatten()
        voxels = torch.bincount(ids, minlength=len(means)).clamp(min=1)
        old = torch.bincount(ids, weights=values, minlength=len(means)) / voxels
        gain = 1 + self._strength * (self._gain - 1)
        factor = torch.full_like(means, gain)
        offset = old + self._strength * (means - old) - gain * old
        outside = label == 0
        tissue = image[outside & (image > 0)]
        brightest = float(tissue.mean() + 2 * tissue.std()) if tissue.numel() > 1 else 1.0
        factor[0] = 1 + self._strength * (float(means[0]) / brightest - 1)
        offset[0] = 0.0
        maps = torch.stack([factor, offset]).to(image.dtype).index_select(1, ids).view(2, *image.shape)
        if self.kernel is not None:
            maps = separable_filtering(maps[None], [self.kernel] * 3, mode="replicate")[0]
        new = (maps[0] * image + maps[1]).clamp(0.0, 1.0)
        return new.masked_fill(outside & (image == 0), 0.0)
