"""``morphseek register``: any two scans, one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file, require_scan
from morphseek_monai.base.option_text import PathText, PathWord, TransformText
from morphseek_monai.base.progress import progress
from morphseek_monai.base.terminable import terminable
from morphseek_monai.evaluation.verdict import EXIT_CODES, SUCCEEDED
from morphseek_monai.spatial.format_names import split_format

if TYPE_CHECKING:
    from morphseek_monai.registration.options import RegisterOptions
    from morphseek_monai.registration.result import RegistrationResult

__all__ = ["register"]


def register(
    fixed: PathText | Sequence[PathText],
    moving: PathText | Sequence[PathText],
    out: PathText,
    bundle: PathWord | None = None,
    affine: PathWord = "auto",
    modality: str = "auto",
    fixed_modality: str | None = None,
    moving_modality: str | None = None,
    frame: int | None = None,
    fixed_frame: int | None = None,
    moving_frame: int | None = None,
    fixed_mask: PathText | None = None,
    moving_mask: PathText | None = None,
    initial_transform: TransformText | None = None,
    fixed_points: PathText | None = None,
    moving_points: PathText | None = None,
    space: str | None = None,
    steps: int | str | None = None,
    samples: int = 0,
    refine: int | str = "auto",
    uncertainty: bool = False,
    seed: int = 0,
    device: str = "auto",
    max_memory: str | None = None,
    report: bool = True,
    transforms: str | None = None,
) -> str:
    """Register a moving scan to a fixed scan and say whether it worked.

    Writes warped.nii.gz (on the fixed grid), transform.h5 and inverse.h5 (for ITK, SimpleITK, ANTs, 3D Slicer),
    jacobian.nii.gz, result.json, report.html and report.png into OUT. Exit code 0: succeeded; 3: doubtful; 1: failed;
    2: the input cannot be used.

    Args:
        fixed: image that stays: NIfTI, NRRD, MetaImage, a folder of DICOM slices, ...; any grid and orientation. Of
            several contrasts of one subject t1.nii.gz,t2.nii.gz.
        moving: image that is brought to it; the same contrasts in the same order.
        out: folder for the results.
        bundle: name or folder of the bundle whose network registers; chosen by modality if left out.
        affine: auto, rigid, similarity, off (trust the headers), or a file: linear transform of ITK, ANTs, FSL,
            FreeSurfer, AFNI, ... (fsl:flirt.mat names the format), or 4 x 4 text (RAS mm, fixed to moving).
        modality: auto, mr or ct, of both images.
        fixed_modality: of the fixed image, where the two differ.
        moving_modality: of the moving image, where the two differ.
        frame: volume to take of 4-D images, from 0.
        fixed_frame: of the fixed image only.
        moving_frame: of the moving image only.
        fixed_mask: where the fixed image counts: 0 does not, every other number does (ANTs -x, greedy -gm).
        moving_mask: likewise of the moving image.
        initial_transform: transform to start from in place of an alignment, of any program, fields too; the result has
            it in it.
        fixed_points: landmarks to respect, softly: CSV with columns x,y,z in mm, or .fcsv of 3D Slicer.
        moving_points: the same landmarks in the moving image, line by line.
        space: RAS or LPS of the landmarks, unless their files tell.
        steps: refinement steps of the network; auto goes on while they help, 0 leaves the network out.
        samples: candidates drawn from the latent policy, of which the best is taken.
        refine: auto fits the field to the pair, coarse to fine, until it no longer helps; off keeps the network's; a
            number is the most iterations at full resolution.
        uncertainty: True writes uncertainty.nii.gz, how far off boundaries probably are, in mm.
        seed: same seed, same result.
        device: auto, cpu, cuda or cuda:1.
        max_memory: e.g. 8G; a coarser field is computed rather than more memory taken. Default: what is free.
        report: False leaves out the report.
        transforms: formats of other programs to write besides, into OUT/transforms: itk,itk-field,ants,greedy,fsl,
            freesurfer,mrtrix,afni,x5,slicer.

    Raises:
        DataError: an image or an argument cannot be used.
        SystemExit: 3 after a doubtful, 1 after a failed registration, with the results written.
    """
    if not str(out):  # --out=$EMPTY
        raise DataError(f"out must be a folder, got {out!r}; name one")
    if not isinstance(report, bool):
        raise DataError(f"report must be True or False, got {report!r}; correct it")
    if not isinstance(uncertainty, bool):
        raise DataError(f"uncertainty must be True or False, got {uncertainty!r}; correct it")
    scans = {"fixed": fixed, "moving": moving}
    for role, given in scans.items():
        scans[role] = paths = [str(path) for path in (given if isinstance(given, list | tuple) else [given])]
        for path in paths:
            require_scan(path, f"{role} image")
    folder = Path(str(out))
    require_writable(folder)
    from morphseek_monai.registration.options import RegisterOptions

    options = RegisterOptions(
        bundle=None if bundle is None else str(bundle),
        affine=str(affine),
        modality=modality,
        fixed_modality=fixed_modality,
        moving_modality=moving_modality,
        frame=frame,
        fixed_frame=fixed_frame,
        moving_frame=moving_frame,
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        initial_transform=initial_transform,
        fixed_points=fixed_points,
        moving_points=moving_points,
        space=space,
        steps=steps,
        samples=samples,
        refine=refine,
        uncertainty=uncertainty,
        seed=seed,
        device=device,
        max_memory=max_memory,
        report=report,
        transforms=transforms,
    )
    check_options(options)
    from morphseek_monai.registration.interchange import requested, write_formats

    formats = requested(transforms)
    from morphseek_monai.registration.register import register as register_pair

    with progress(), terminable():
        result = register_pair(scans["fixed"], scans["moving"], options)
        result.save(folder, report)
        missing = write_formats(folder / "transforms", result, formats)
    text = "\n".join([*(f"notice: {line}" for line in missing), summary(result, folder)])
    if result.verdict == SUCCEEDED:
        return text
    raise VerdictExit(text, EXIT_CODES[result.verdict])


def check_options(options: RegisterOptions) -> None:
    """Refuse what the options name and is not there, before the scans are read and the network is loaded.

    Raises:
        DataError: no such affine, bundle or device, or no size of memory.
    """
    from morphseek_monai.registration.memory.plan import parse_memory
    from morphseek_monai.registration.models.bundles import find_bundle
    from morphseek_monai.registration.models.model import choose_device
    from morphseek_monai.registration.prepare.pair import ALIGNMENTS

    if options.affine not in ALIGNMENTS:
        require_file(split_format(options.affine)[1], "affine")
    if options.initial_transform is not None:
        require_file(split_format(options.initial_transform)[1], "initial_transform")
    for role in ("fixed", "moving"):
        if (mask := getattr(options, f"{role}_mask")) is not None:
            require_scan(mask, f"{role} mask")
        if (points := getattr(options, f"{role}_points")) is not None:
            require_file(points, "points")
    choose_device(options.device)
    if options.max_memory is not None:
        parse_memory(options.max_memory)
    if options.bundle is not None:
        find_bundle(options.bundle)


class VerdictExit(SystemExit):
    """Leave with the exit code of a verdict, after its text was printed."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(code)
        self.text = text


def require_writable(folder: Path) -> None:
    """Make the folder and see whether it can be written, before anything is computed.

    Raises:
        DataError: it cannot.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(f"out {folder} cannot be written ({error.strerror}); give a writable folder") from error


def summary(result: RegistrationResult, folder: Path) -> str:
    """What the command prints."""
    record: dict[str, Any] = result.record
    before, after = (result.metrics[stage]["similarity"] for stage in ("before", "after"))
    lines = [f"notice: {notice}" for notice in result.notices]
    lines += [f"{result.verdict}: similarity {before:.3f} before, {after:.3f} after"]
    lines += [
        f"  {check.outcome}: {check.name} {check.value:.3g}{' ' + check.unit if check.unit else ''}"
        f" ({check.limits}): {check.note}"
        for check in result.checks
        if check.outcome != SUCCEEDED
    ]
    seconds = sum(record["seconds"].values())
    lines.append(f"{seconds:.1f} s, {record['peak_memory_mib']} MiB; bundle {record['bundle']['name']}; see {folder}")
    return "\n".join(lines)
