#!/usr/bin/env bash
# itk-elastix 0.25: ElastixRegistrationMethod.SetInitialTransform ignores a displacement field, without a word;
# SetExternalInitialTransform takes the same object as it should.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install itk-elastix==0.25.4 itk==5.4.7 scipy==1.15.3 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import itk
import numpy as np
from scipy.ndimage import gaussian_filter

array = gaussian_filter(np.random.default_rng(0).random((32, 36, 40)), 2).astype(np.float32)
array = 100 * (array - array.min()) / np.ptp(array)
image = itk.image_from_array(array)
numbers = lambda values: itk.OptimizerParameters[itk.D](itk.Array[itk.D](itk.vnl_vector_from_array(values)))
field = itk.DisplacementFieldTransform[itk.D, 3].New()
field.SetFixedParameters(numbers(np.array([40.0, 36, 32, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1])))
field.SetParameters(numbers(np.tile([4.0, 0, 0], array.size)))
transform = itk.CompositeTransform[itk.D, 3].New()
transform.AddTransform(field)
resampled = itk.resample_image_filter(image, transform=transform, use_reference_image=True, reference_image=image)
inner = (slice(6, -6),) * 3
right = itk.array_from_image(resampled)[inner]

saw = {}
for setter in ("SetExternalInitialTransform", "SetInitialTransform"):
    table = itk.ParameterObject.GetDefaultParameterMap("translation", 1)
    table["MaximumNumberOfIterations"], table["FinalBSplineInterpolationOrder"] = ["0"], ["1"]
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(table)
    method = itk.ElastixRegistrationMethod.New(image, image)
    method.SetParameterObject(parameters)
    getattr(method, setter)(transform)
    method.Update()
    found = itk.array_from_image(method.GetOutput())[inner]
    unmoved = np.abs(found - array[inner]).max() < 0.5
    saw[setter] = "right" if np.abs(found - right).max() < 0.5 else "unmoved" if unmoved else "something else"
    print(f"saw: {setter}: no error, {saw[setter]}")
assert list(saw.values()) == ["right", "unmoved"], saw
PY
