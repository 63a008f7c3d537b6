"""elastix: its fields are read, its parameter files are named; it starts from what is written."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform

from .scene import FIXED, alike, deformable, linear, save_pair, warped


def pair(folder: Path):  # type: ignore[no-untyped-def]
    if not hasattr(itk, "ElastixRegistrationMethod"):
        pytest.skip("no itk-elastix")
    save_pair(folder)
    return [itk.imread(str(folder / f"{name}.nii.gz"), itk.F) for name in ("fixed", "moving")]


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_its_deformation_field_is_read(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # transformix leaves a file of its own
    fixed, moving = pair(tmp_path)
    parameters = itk.ParameterObject.New()
    table = itk.ParameterObject.GetDefaultParameterMap("bspline", 1, 12.0)
    table["MaximumNumberOfIterations"] = ["20"]
    table["NumberOfSpatialSamples"] = ["500"]
    table["FinalBSplineInterpolationOrder"] = ["1"]
    parameters.AddParameterMap(table)
    result, found = itk.elastix_registration_method(fixed, moving, parameter_object=parameters)
    itk.imwrite(itk.transformix_deformation_field(moving, found), str(tmp_path / f"u{ending}"))
    ours = warped(read_transform(tmp_path / f"u{ending}"))
    theirs = itk.array_from_image(itk.transformix_filter(moving, found)).transpose(2, 1, 0)
    assert np.abs(ours - warped(linear())).max() > 1
    alike(theirs, ours)


def test_a_parameter_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "TransformParameters.0.txt"
    path.write_text('(Transform "EulerTransform")\n(NumberOfParameters 6)\n(TransformParameters 0 0 0 1 2 3)\n')
    with pytest.raises(DataError, match=r"0\.txt is a parameter file of elastix, .*transformix -def all$"):
        read_transform(path)


@pytest.mark.slow
def test_it_starts_from_a_field_image(tmp_path: Path) -> None:
    fixed, moving = pair(tmp_path)
    write_transform(tmp_path / "t.h5", deformable())
    parameters = itk.ParameterObject.New()
    table = itk.ParameterObject.GetDefaultParameterMap("translation", 1)
    table["MaximumNumberOfIterations"] = ["0"]
    table["FinalBSplineInterpolationOrder"] = ["1"]
    parameters.AddParameterMap(table)
    method = itk.ElastixRegistrationMethod.New(fixed, moving)
    method.SetParameterObject(parameters)
    method.SetExternalInitialTransform(itk.transformread(str(tmp_path / "t.h5"))[0])
    method.Update()
    alike(itk.array_from_image(method.GetOutput()).transpose(2, 1, 0), warped(deformable()))
    assert FIXED.size == fixed.GetLargestPossibleRegion().GetSize()
