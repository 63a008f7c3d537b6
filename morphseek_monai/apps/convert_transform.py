"""``morphseek convert-transform``: a transform of one program as a file of another."""

from __future__ import annotations

from ..base.errors import DataError
from ..base.files import require_file, require_scan
from ..base.option_text import PathText, TransformText
from ..spatial.format_names import split_format

__all__ = ["convert_transform"]


def convert_transform(
    transform: TransformText, out: PathText, to: str, fixed: PathText | None = None, moving: PathText | None = None
) -> str:
    """Write a transform that another program reads.

    Every file means the same: it maps points of the fixed image to points of the moving image, and brings the moving
    image to the fixed image's grid. What is read is told by its content, or named: fsl:flirt.mat.

    Args:
        transform: file of ITK, ANTs, greedy, elastix (fields), plastimatch, 3D Slicer, FSL, FreeSurfer, MRtrix, AFNI,
            NiftyReg, SPM, DIPY or X5.
        out: file to write; for ants and greedy the beginning of the names of a field and an affine.
        to: itk (.h5, .tfm, .txt, .mat), itk-field (.nii.gz, .nrrd, .mha), ants, greedy, ras (4 x 4 text), fsl (.mat,
            .nii.gz), freesurfer (.lta, .mgz, .nii.gz), mrtrix (.txt, .nii.gz), afni (.aff12.1D, .nii.gz), x5 or slicer.
        fixed: the fixed image; fsl, freesurfer and afni need it, fields are sampled on its grid.
        moving: the moving image; fsl, freesurfer and afni need it.

    Returns:
        what was written.
    """
    name, file = split_format(str(transform))
    require_file(file, "transform")
    for role, image in (("fixed image", fixed), ("moving image", moving)):
        if image is not None:
            require_scan(str(image), role)
    from ..registration.folder import read_grid
    from ..spatial.coverage import uncovered
    from ..spatial.files.transform_file import WRITTEN, read_transform, write_transform

    if to not in WRITTEN:
        raise DataError(f"convert-transform: --to must be one of {', '.join(WRITTEN)}, got {to!r}; choose one")
    grids = [None if image is None else read_grid(str(image), "image") for image in (fixed, moving)]
    found = read_transform(str(transform), *grids)
    written = write_transform(str(out), found, to, *grids)
    lines = [f"{path}: {file}{f' ({name})' if name else ''} for {to}" for path in written]
    missing = 0.0 if grids[0] is None else uncovered(found, grids[0])
    if missing:
        lines.append(
            f"notice: the field of {file} does not cover {100 * missing:.3g} % of {fixed}; it is zero there"
        )
    return "\n".join(lines)
