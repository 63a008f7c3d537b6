"""elastix: affine and B-spline registration with the default parameters, by the package itk-elastix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .program import Applied, main

PACKAGE = "itk-elastix"
SETTINGS = (
    "default maps 'affine', from the centres, and 'bspline': mutual information, control points 10 mm or 10 voxels "
    "apart, the smaller"
)
MAPS = "transforms.json"
STAGES = ("affine", "bspline")
SPACING = 10.0  # mm, the default of the map 'bspline', and voxels


def register(fixed: str, moving: str, folder: Path) -> None:
    """Align and deform; both parameter files are in the folder."""
    import itk

    target = itk.imread(fixed, itk.F)
    parameters = itk.ParameterObject.New()
    for name in STAGES:
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(name))
    # off by default, and heads that do not overlap by their headers are then never found
    parameters.SetParameter(0, "AutomaticTransformInitialization", "true")
    spacing = [str(min(SPACING, SPACING * zoom)) for zoom in target.GetSpacing()]
    parameters.SetParameter(1, "FinalGridSpacingInPhysicalUnits", spacing)
    _, transform = itk.elastix_registration_method(
        target, itk.imread(moving, itk.F), parameter_object=parameters, log_to_console=False
    )
    maps = [dict(transform.GetParameterMap(index)) for index in range(len(STAGES))]
    (folder / MAPS).write_text(json.dumps(maps), encoding="utf-8")


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Resample by transformix, which also samples the field."""
    import itk

    moving = itk.imread(label, itk.F)
    transform = itk.ParameterObject.New()
    for entries in json.loads((folder / MAPS).read_text(encoding="utf-8")):
        transform.AddParameterMap(entries)
    field = itk.array_from_image(itk.transformix_deformation_field(moving, transform))
    for index in range(len(STAGES)):
        transform.SetParameter(index, "FinalBSplineInterpolationOrder", "0")
    warped = itk.array_from_image(itk.transformix_filter(moving, transform))
    return Applied(np.swapaxes(warped, 0, 2), np.swapaxes(field, 0, 2))


if __name__ == "__main__":
    main(register, apply)
