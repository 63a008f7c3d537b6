"""``morphseek register``: any two scans, one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphseek_monai.apps.progress import progress
from morphseek_monai.apps.terminable import terminable
from morphseek_monai.data.errors import DataError
from morphseek_monai.registration.options import RegisterOptions
from morphseek_monai.registration.register import register as register_pair
from morphseek_monai.registration.result import RegistrationResult
from morphseek_monai.registration.verdict import EXIT_CODES, SUCCEEDED

__all__ = ["register"]


def register(
    fixed: str,
    moving: str,
    out: str,
    bundle: str | None = None,
    affine: str = "auto",
    modality: str = "auto",
    fixed_modality: str | None = None,
    moving_modality: str | None = None,
    frame: int | None = None,
    fixed_frame: int | None = None,
    moving_frame: int | None = None,
    steps: int | str | None = None,
    samples: int = 0,
    refine: int = 0,
    refine_field: int = 0,
    seed: int = 0,
    device: str = "auto",
    max_memory: str | None = None,
    report: bool = True,
) -> str:
    """Register a moving scan to a fixed scan and say whether it worked.

    Writes warped.nii.gz (on the fixed grid), transform.h5 and inverse.h5 (for ITK, SimpleITK, ANTs, 3D Slicer),
    jacobian.nii.gz, result.json, report.html and report.png into OUT. Exit code 0: succeeded; 3: doubtful; 1: failed;
    2: the input cannot be used.

    Args:
        fixed: image that stays: NIfTI, NRRD, MetaImage, a folder of DICOM slices, ...; any grid and orientation.
        moving: image that is brought to it.
        out: folder for the results.
        bundle: name or folder of the bundle whose network registers; chosen by modality if left out.
        affine: auto, off (trust the headers), or a file: ITK/ANTs transform, or 4 x 4 text (RAS mm, fixed to moving).
        modality: auto, mr or ct, of both images.
        fixed_modality: of the fixed image, where the two differ.
        moving_modality: of the moving image, where the two differ.
        frame: volume to take of 4-D images, from 0.
        fixed_frame: of the fixed image only.
        moving_frame: of the moving image only.
        steps: refinement steps; auto goes on while they help.
        samples: candidates drawn from the latent policy; the best wins, their spread is written as uncertainty.nii.gz.
        refine: iterations of instance optimisation of the latents on this pair.
        refine_field: iterations of instance optimisation of the displacement field itself, after that.
        seed: same seed, same result.
        device: auto, cpu, cuda or cuda:1.
        max_memory: e.g. 8G; a coarser field is computed rather than more memory taken. Default: what is free.
        report: False leaves out the report.

    Raises:
        DataError: an image or an argument cannot be used.
        SystemExit: 3 after a doubtful, 1 after a failed registration, with the results written.
    """
    if isinstance(out, bool) or not str(out):  # --out without a value, or with an empty shell variable
        raise DataError(f"out must be a folder, got {out!r}; name one")
    if not isinstance(report, bool):
        raise DataError(f"report must be True or False, got {report!r}; correct it")
    folder = Path(str(out))
    place = folder.absolute()  # libraries change the working folder
    require_writable(folder)
    options = RegisterOptions(
        bundle=None if bundle is None else str(bundle),
        affine=str(affine),
        modality=modality,
        fixed_modality=fixed_modality,
        moving_modality=moving_modality,
        frame=frame,
        fixed_frame=fixed_frame,
        moving_frame=moving_frame,
        steps=steps,
        samples=samples,
        refine=refine,
        refine_field=refine_field,
        seed=seed,
        device=device,
        max_memory=max_memory,
    )
    with progress(), terminable():
        result = register_pair(str(fixed), str(moving), **options.arguments())
        result.save(place, report)
    text = summary(result, folder)
    if result.verdict == SUCCEEDED:
        return text
    raise Verdict(text, EXIT_CODES[result.verdict])


class Verdict(SystemExit):
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
