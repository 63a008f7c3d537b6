"""``morphseek build-atlas``: average labelled subjects into a template and label probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphseek_monai.base.records import write_json

from ..base.errors import DataError, require_whole
from ..base.option_text import PathText, PathWord
from ..data import LAYOUTS, detect_layout, label_names
from ..data.layouts.subjects import image_id

if TYPE_CHECKING:
    from ..data.pairs.loading import LoadedSubject
    from ..registration.atlas.groupwise import Atlas

__all__ = ["build_atlas"]

RECORD = "atlas.json"

SPACING = 2.0  # mm


def build_atlas(
    dataset_dir: PathText,
    bundle: PathWord,
    out: PathText,
    subjects: str | Sequence[str] = "training",
    iterations: int = 4,
    num_labels: int | None = None,
    top_k: int = 4,
    layout: str = "auto",
    modality: str = "mr",
    spacing: float | Sequence[float] | None = None,
    overwrite: bool = False,
) -> str:
    """Average a labelled data set into a template image and label probabilities, for atlas segmentation.

    Groupwise registration to the mean shape by a bundle's network. Writes template.nii.gz, labels.nii.gz,
    probabilities.nii.gz with probability_labels.nii.gz, atlas.json and model.pt, the weights and the atlas together, as
    a bundle of atlas segmentation wants them. An interrupted run goes on where it was.

    Args:
        dataset_dir: the folder of the data set; its validation subjects are left out.
        bundle: folder of a registration bundle; its network registers, its grid is the atlas's.
        out: folder to write to.
        subjects: training for all of them, or a list of ids (file names without extension) among them.
        iterations: times the template moves to the mean shape; 3 to 5.
        num_labels: number of label ids with the background; by default what the data set names.
        top_k: labels kept per voxel, at most all.
        layout: learn2reg, lits17, msd, or auto to look which it is.
        modality: mr or ct, the bundle's preparation of intensities.
        spacing: voxel size of the atlas in mm; 2 mm by default, as a head is seen in training.
        overwrite: True replaces an atlas that is there already.

    Returns:
        one line: the folder, the number of subjects, and how far they are from the mean shape.
    """
    folder = Path(str(out))
    if (folder / RECORD).exists() and overwrite is not True:
        raise DataError(f"{folder} holds an atlas already; give another --out, or --overwrite True to replace it")
    chosen = _choose(LAYOUTS[_layout(dataset_dir, layout)].training(str(dataset_dir)), subjects)
    names = _names(str(dataset_dir), num_labels)
    count = max(names) + 1 if num_labels is None else num_labels
    require_whole("build-atlas: --num_labels", count, 2, most=256)
    require_whole("build-atlas: --top_k", top_k, 1)
    require_whole("build-atlas: --iterations", iterations, 1)
    kept = min(top_k, count)
    from ..registration.models.model import load_model

    model = load_model(str(bundle))
    voxel = _spacing(spacing)
    if modality not in model.intensity:
        raise DataError(f"build-atlas: --modality must be one of {sorted(model.intensity)}, got {modality!r}")
    from ..data.pairs.loading import load_subject
    from ..networks import AffineFirst, AtlasSegmenter
    from ..networks.weights import save_atomically
    from ..registration.atlas.groupwise import groupwise_atlas
    from ..registration.atlas.subjects import atlas_preprocessing

    settings = {
        "subjects": [image_id(subject) for subject in chosen],
        "iterations": iterations,
        "num_labels": count,
        "top_k": kept,
        "size": list(model.size),
        "spacing": list(voxel),
        "orientation": model.orientation,
        "modality": modality,
        "registration": {"name": model.name, "version": model.version, "sha256": model.sha256},
    }
    prepare = atlas_preprocessing(voxel, model.size, model.orientation, model.intensity[modality][0])

    def load(number: int) -> LoadedSubject:
        volume = load_subject(chosen[number], prepare)
        if volume.label is not None and int(volume.label.max()) >= count:
            raise DataError(
                f"label {chosen[number]['label']} has id {int(volume.label.max())}, but the atlas takes 0 to "
                f"{count - 1}; give --num_labels"
            )
        return volume

    network = AffineFirst(model.network).eval()
    files = [[subject["image"], subject["label"]] for subject in chosen]
    fingerprint = hashlib.sha256(json.dumps([settings, files]).encode()).hexdigest()
    state = folder / "state.pt"
    atlas = groupwise_atlas(
        load, len(chosen), network, count, voxel, iterations, kept, state=state, fingerprint=fingerprint
    )
    _write_images(folder, atlas, voxel)
    segmenter = AtlasSegmenter(network, model.size, count, kept)
    segmenter.set_atlas(atlas.image, atlas.labels, atlas.probabilities)
    save_atomically(segmenter.state_dict(), folder / "model.pt")
    result = {"mean_displacement_mm": [round(value, 4) for value in atlas.displacements], "label_names": names}
    _write_record(folder / RECORD, {**settings, **result})
    state.unlink(missing_ok=True)
    return f"{folder}: {len(chosen)} subjects, mean displacement {_arrows(atlas.displacements)} mm"


def _spacing(given: float | Sequence[float] | None) -> tuple[float, float, float]:
    value = SPACING if given is None else given
    numbers = [value] * 3 if isinstance(value, int | float) else list(value)
    if len(numbers) != 3 or not all(isinstance(number, int | float) and number > 0 for number in numbers):
        raise DataError(f"build-atlas: --spacing must be one or three sizes in mm, got {given!r}")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _layout(dataset_dir: str, layout: str) -> str:
    if layout != "auto" and layout not in LAYOUTS:
        raise DataError(f"build-atlas: --layout must be auto or one of {sorted(LAYOUTS)}, got {layout!r}")
    return detect_layout(str(dataset_dir)) if layout == "auto" else layout


def _choose(training: list[dict[str, str]], subjects: str | Sequence[str]) -> list[dict[str, str]]:
    """The labelled training subjects, or those of them that are named."""
    labelled = [subject for subject in training if "label" in subject]
    if subjects != "training":
        wanted = {str(name) for name in ([subjects] if isinstance(subjects, str) else subjects)}
        unknown = sorted(wanted - {image_id(subject) for subject in labelled})
        if unknown:
            raise DataError(f"--subjects names {unknown[0]}, which is no labelled training subject; correct the list")
        labelled = [subject for subject in labelled if image_id(subject) in wanted]
    if not labelled:
        raise DataError("no training subject has a label; an atlas needs label maps")
    return labelled


def _names(dataset_dir: str, num_labels: int | None) -> dict[int, str]:
    """Names of the labels; of Learn2Reg folders only, where the number is given."""
    try:
        return label_names(dataset_dir)
    except DataError as error:
        if num_labels is None:
            raise DataError("the data set does not name its labels; give --num_labels, with the background") from error
        return {}



def _write_images(folder: Path, atlas: Atlas, spacing: Sequence[float]) -> None:
    """The atlas as NIfTI files; the middle of its grid is 0 mm, since its subjects had no common origin."""
    import numpy as np

    from ..data.scans.stored import write_nifti

    size = np.array(atlas.image.shape[2:])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(size - 1) / 2 * np.array(spacing)
    for name, tensor in {
        "template": atlas.image[0, 0],
        "labels": atlas.labels[0, 0],
        "probability_labels": atlas.labels[0].permute(1, 2, 3, 0),
        "probabilities": atlas.probabilities[0].permute(1, 2, 3, 0),
    }.items():
        write_nifti(folder / f"{name}.nii.gz", np.ascontiguousarray(tensor.numpy()), affine)


def _write_record(path: Path, settings: Mapping[str, Any]) -> None:
    from ..handlers.run_record import provenance

    write_json(path, provenance(settings))


def _arrows(values: Sequence[float]) -> str:
    return " -> ".join(f"{value:.2f}" for value in values)
