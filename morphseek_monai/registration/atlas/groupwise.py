"""An atlas by groupwise registration to the mean shape: a template image and the label probabilities of its voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from morphseek_monai.data.pairs.loading import LoadedSubject
from morphseek_monai.fields import compose, displacement_magnitude, invert, warp
from morphseek_monai.networks.moments import moments_ddf
from morphseek_monai.networks.weights import read_tensors, save_atomically

__all__ = ["Atlas", "groupwise_atlas", "sparse_probabilities"]

_CHUNK = 8  # one-hot labels warped together


class Atlas(NamedTuple):
    """A population's mean, as :class:`~morphseek_monai.networks.AtlasSegmenter` takes it.

    Attributes:
        image: template ``(1, 1, D, H, W)`` float32, intensities in [0, 1].
        labels: the most probable labels of each voxel, most probable first, ``(1, K, D, H, W)`` uint8.
        probabilities: theirs, ``(1, K, D, H, W)`` uint8, 255 for certainty.
        displacements: length of the mean displacement of all subjects in mm, mean over the foreground: of each
            iteration, before the template moved by it, and of the atlas. What the iterations converge to is the
            network's own bias; the atlas is free of it.
    """

    image: Tensor
    labels: Tensor
    probabilities: Tensor
    displacements: tuple[float, ...]


@torch.no_grad()
def groupwise_atlas(
    load: Callable[[int], LoadedSubject],
    count: int,
    network: nn.Module,
    num_labels: int,
    spacing: Sequence[float],
    iterations: int = 4,
    top_k: int = 4,
    state: Path | None = None,
    fingerprint: str = "",
) -> Atlas:
    """Average labelled subjects in their mean shape (Guimond et al., CVIU 2000; Joshi et al., NeuroImage 2004).

    The template starts as the mean of all images, laid on each other by :func:`moments_ddf`. In each iteration every
    subject is registered to it, the warped images are averaged, and the average is moved by the inverse of the mean
    displacement, so that no subject's shape is favoured. A last pass composes the fields of the last iteration with
    that inverse and averages images and labels, each warped linearly, once, from its original: the mean displacement of
    what it averages is nothing, whatever bias the network has. Nothing is drawn at random.

    Subjects are loaded anew in each pass: memory grows with the number of labels, not with that of subjects.

    Args:
        load: gives the prepared subject of a number, with its label; all on one grid.
        count: number of subjects.
        network: registration network on that grid, from a pair ``(1, 2, D, H, W)``, channel 0 moving, to a field in
            voxels, in evaluation mode; :class:`~morphseek_monai.networks.AffineFirst` unless all are aligned.
        num_labels: number of labels with the background.
        spacing: voxel sizes along D, H, W in mm.
        iterations: times the template moves to the mean shape.
        top_k: labels kept per voxel.
        state: file that keeps the last iteration; an interrupted run goes on from it.
        fingerprint: of everything that decides the result; a state of another one is not used.

    Returns:
        the atlas.

    Raises:
        ValueError: ``count`` or ``iterations`` is below 1.
    """
    if count < 1 or iterations < 1:
        raise ValueError(f"groupwise_atlas() 'count' and 'iterations' must be at least 1, got {count} and {iterations}")
    kept = _resume(state, fingerprint) or _Progress(0, _start(load, count), torch.empty(0), torch.empty(0), [])
    for iteration in range(kept.done, iterations):
        template = kept.following
        image, mean = _average(load, count, template, network, f"iteration {iteration + 1} of {iterations}")
        back = invert(mean).ddf
        lengths = [*kept.lengths, _length(mean, image, spacing)]
        kept = _Progress(iteration + 1, warp(image, back), template, back, lengths)
        if state is not None:
            save_atomically({"fingerprint": fingerprint, **kept._asdict()}, state)
    dense = torch.zeros(num_labels, *kept.template.shape[2:])
    image, mean = _average(load, count, kept.template, network, "labels", kept.back, dense)
    labels, probabilities = sparse_probabilities(dense / count, top_k)
    return Atlas(image.clamp(0, 1), labels, probabilities, (*kept.lengths, _length(mean, image, spacing)))


def sparse_probabilities(dense: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Keep the most probable labels of each voxel, and let their probabilities sum to 1 again.

    Args:
        dense: ``(L, D, H, W)``, at most 256 labels.
        top_k: labels to keep.

    Returns:
        labels and probabilities ``(1, top_k, D, H, W)`` uint8, most probable first, 255 for certainty.

    Example:
        >>> dense = torch.tensor([0.1, 0.6, 0.3]).view(3, 1, 1, 1)
        >>> labels, probabilities = sparse_probabilities(dense, 2)
        >>> labels.flatten().tolist(), probabilities.flatten().tolist()
        ([1, 2], [170, 85])
    """
    probabilities, labels = dense.topk(top_k, dim=0)
    probabilities = probabilities / probabilities.sum(0, keepdim=True).clamp_min(1e-6)
    return labels.byte()[None], (255 * probabilities).round().byte()[None]


class _Progress(NamedTuple):
    """Iterations done, the template for the next one, that of the last one, the way back to the mean shape."""

    done: int
    following: Tensor
    template: Tensor
    back: Tensor
    lengths: list[float]


def _resume(state: Path | None, fingerprint: str) -> _Progress | None:
    """Where an interrupted run of the same atlas stopped."""
    if state is not None and state.is_file():
        kept = read_tensors(state)
        if kept.pop("fingerprint") == fingerprint:
            return _Progress(**kept)
    return None


def _start(load: Callable[[int], LoadedSubject], count: int) -> Tensor:
    """Mean of the images, each moved to the middle of them all."""
    mean = torch.zeros_like(load(0).image[None])
    for i in range(count):
        mean += load(i).image[None] / count
    total = torch.zeros_like(mean)
    for i in range(count):
        image = load(i).image[None]
        total += warp(image, moments_ddf(image, mean), "zeros")
    return total / count


def _average(
    load: Callable[[int], LoadedSubject],
    count: int,
    template: Tensor,
    network: nn.Module,
    title: str,
    back: Tensor | None = None,
    dense: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean warped image and mean field of all subjects, moved by ``back``; one-hot labels are added up in ``dense``."""
    image, field = torch.zeros_like(template), template.new_zeros(1, 3, *template.shape[2:])
    for i in tqdm(range(count), desc=title, unit="subject", leave=False, disable=None):
        subject = load(i)
        ddf = network(torch.cat([subject.image[None], template], dim=1))
        ddf = ddf if back is None else compose(ddf, back)
        image += warp(subject.image[None], ddf, "zeros")
        field += ddf
        if dense is not None and subject.label is not None:
            _add_labels(dense, subject.label, ddf)
    return image / count, field / count


def _add_labels(dense: Tensor, label: Tensor, ddf: Tensor) -> None:
    """Add the linearly warped one-hot labels ``(1, D, H, W)`` of a subject, a few at a time."""
    for first in range(0, len(dense), _CHUNK):
        ids = torch.arange(first, min(first + _CHUNK, len(dense))).view(-1, 1, 1, 1)
        dense[first : first + _CHUNK] += warp((label == ids).float()[None], ddf)[0]


def _length(mean: Tensor, template: Tensor, spacing: Sequence[float]) -> float:
    """Mean length in mm of a field over the template's foreground."""
    return float(displacement_magnitude(mean, spacing)[0][template[0, 0] > template.mean()].mean())
