"""elastix: B-spline registration with the default parameters, by the package itk-elastix."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray

from .convert import from_itk
from .tool import Registration, Tool, grid_of


class Elastix(Tool):
    """The default parameter map ``bspline``; its deformation field is made by transformix.

    Args:
        threads: taken from ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS``, which the caller has set; given to elastix
            itself, two threads end in a segmentation fault (itk-elastix 0.25.4).
    """

    def __init__(self, threads: int) -> None:
        self.itk = importlib.import_module("itk")
        self.version = f"itk-elastix {version('itk-elastix')}"
        self.parameters = self.itk.ParameterObject.New()
        defaults = self.parameters.GetDefaultParameterMap("bspline")
        self.parameters.AddParameterMap(defaults)
        spacing, levels, iterations = (
            defaults[key][0]
            for key in ("FinalGridSpacingInPhysicalUnits", "NumberOfResolutions", "MaximumNumberOfIterations")
        )
        self.settings = (
            f"default 'bspline': mutual information and bending energy, control points {float(spacing):g} mm apart, "
            f"{levels} levels of {iterations} iterations; no affine step"
        )

    def register(self, fixed: str, moving: str) -> Registration:
        """Register and evaluate the splines at every voxel."""
        itk = self.itk
        target = itk.imread(moving, itk.F)
        _, transform = itk.elastix_registration_method(
            itk.imread(fixed, itk.F),
            target,
            parameter_object=self.parameters,
            log_to_console=False,
        )
        field = itk.array_from_image(itk.transformix_deformation_field(target, transform))

        def resample(label: str) -> NDArray[Any]:
            transform.SetParameter(0, "FinalBSplineInterpolationOrder", "0")
            warped = itk.transformix_filter(itk.imread(label, itk.F), transform)
            array: NDArray[Any] = itk.array_from_image(warped).transpose(2, 1, 0)
            return array

        return Registration(from_itk(field, grid_of(fixed)[1]), resample)
