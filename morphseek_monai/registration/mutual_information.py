"""Mutual information of two images under a linear map, and its ascent by ITK's registration framework (v4).

D. Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE TMI 22(1), 2003: no common
contrast is needed. Positions are mm in whatever frame the two affines share; ITK is indifferent to its name.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.lazy import lazy_module

itk = lazy_module("itk")

__all__ = ["Volume", "climb", "mutual_information", "sample"]

Array = NDArray[np.float64]

BINS = 32
# voxels around the body that are compared too: without them nothing holds its surface in place; all of the air
# around it would count the surface alone (labels of brains overlap less then)
MARGIN = 2
THINNEST = 8  # voxels that shrinking leaves along an axis
ITERATIONS = 80
# the step shortens where the gradient turns; ITK's own 0.5 ends before the top
RELAXATION = 0.7
LAST_STEP = 0.005  # of the first one


class Volume(NamedTuple):
    """An image and its place.

    Attributes:
        array: ``(X, Y, Z)`` float32.
        affine: ``(4, 4)`` float64, voxel -> mm.
    """

    array: NDArray[np.float32]
    affine: Array

    @property
    def spacing(self) -> Array:
        """Distance of neighbouring voxels ``(3,)``, in mm."""
        spacing: Array = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    @property
    def centre(self) -> Array:
        """Middle of the grid ``(3,)``, in mm."""
        return self.place((np.array(self.array.shape) - 1) / 2)

    @property
    def centre_of_mass(self) -> Array:
        """Mean position ``(3,)`` weighted by intensity, in mm."""
        return self.place(np.array(ndimage.center_of_mass(self.array)))

    def place(self, voxels: NDArray[Any]) -> Array:
        """Positions ``(..., 3)`` of voxel indices ``(..., 3)``, in mm."""
        places: Array = voxels @ self.affine[:3, :3].T + self.affine[:3, 3]
        return places

    def shrink(self, spacing: float) -> Volume:
        """Smooth and keep every n-th voxel, so that voxels are about ``spacing`` mm apart; never refines.

        Args:
            spacing: wanted. Thin slabs keep at least eight voxels along an axis.
        """
        size = np.array(self.array.shape)
        factors = np.maximum(1, np.minimum(np.rint(spacing / self.spacing).astype(int), size // THINNEST))
        smooth = ndimage.gaussian_filter(self.array, np.where(factors > 1, 0.5 * factors, 0.0), mode="nearest")
        first = (size - 1) % factors // 2
        affine = self.affine.copy()
        affine[:3, :3] *= factors
        affine[:3, 3] = self.place(first)
        return Volume(smooth[tuple(slice(start, None, step) for start, step in zip(first, factors))], affine)


def sample(volume: Volume, count: int, generator: np.random.Generator) -> Array:
    """Random points ``(N, 3)`` in the body and close to its surface, in mm.

    Every point lies somewhere in its voxel: on the voxels themselves the values would be sharper than the interpolated
    ones of another image, and mutual information would rather keep two equal grids on each other than two heads.

    Args:
        volume: the image. Its body is what is brighter than a quarter of its own mean, with all that this encloses.
        count: how many, from as many voxels; all voxels of the body where they are fewer.
        generator: of everything random.
    """
    array = volume.array
    body = array > array[array > array.mean() / 8].mean() / 4
    near = ndimage.binary_dilation(ndimage.binary_fill_holes(body), iterations=MARGIN)
    voxels = generator.permutation(np.argwhere(near))[:count]
    return volume.place(voxels + generator.uniform(-0.5, 0.5, voxels.shape))


def mutual_information(fixed: Volume, moving: Volume, matrix: Array) -> float:
    """Mutual information over **all** voxels of the fixed image, in nats.

    Voxels that come from beyond the moving image count as 0, air; over the overlap alone, two matching corners would
    win over two matching heads.

    Args:
        fixed: the image whose voxels are compared.
        moving: the other one.
        matrix: ``(4, 4)``, mm of fixed -> mm of moving.
    """
    voxels = np.linalg.inv(moving.affine) @ matrix @ fixed.affine
    warped = ndimage.affine_transform(moving.array, voxels, output_shape=fixed.array.shape, order=1)
    if np.ptp(warped) == 0 or np.ptp(fixed.array) == 0:
        return 0.0
    metric = _metric(fixed, Volume(warped, fixed.affine), itk.AffineTransform[itk.D, 3].New())
    metric.Initialize()
    return -float(metric.GetValue())


def climb(
    kind: Literal["rigid", "affine"],
    fixed: Volume,
    moving: Volume,
    points: Array,
    start: Array,
    centre: Array,
    radius: float,
    step: float,
) -> Array | None:
    """Follow the gradient of the mutual information at some points.

    Args:
        kind: ``"rigid"`` (6 parameters; ``start`` must be rigid) or ``"affine"`` (12).
        fixed: the fixed image.
        moving: the moving image.
        points: ``(N, 3)``, mm of fixed, where the images are compared; those beyond the moving image do not count.
        start: ``(4, 4)``, mm of fixed -> mm of moving.
        centre: of the body in the fixed image ``(3,)``; rotating about it keeps the parameters independent.
        radius: of the body, in mm.
        step: length of the first step, in mm at the radius.

    Returns:
        ``(4, 4)`` like ``start``, or None when ITK finds too little overlap.
    """
    # lengths are counted in radii: a rotation by 1 then moves the body as far as a shift by 1, and the regular step has
    # a length without ITK's parameter scales
    shrunk = np.diag([1 / radius, 1 / radius, 1 / radius, 1.0])
    transform: Any = (itk.Euler3DTransform[itk.D] if kind == "rigid" else itk.AffineTransform[itk.D, 3]).New()
    transform.SetCenter((centre / radius).tolist())
    transform.SetMatrix(itk.matrix_from_array(np.ascontiguousarray(start[:3, :3])))
    transform.SetTranslation(((start[:3, :3] @ centre + start[:3, 3] - centre) / radius).tolist())
    metric = _metric(
        Volume(fixed.array, shrunk @ fixed.affine), Volume(moving.array, shrunk @ moving.affine), transform
    )
    point_set = itk.PointSet[itk.F, 3].New()
    point_set.SetPoints(itk.vector_container_from_array((points / radius).astype(np.float32).ravel()))
    metric.SetFixedSampledPointSet(point_set)
    metric.SetUseSampledPointSet(True)
    optimizer = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        Metric=metric,
        LearningRate=step / radius,
        MinimumStepLength=LAST_STEP * step / radius,
        RelaxationFactor=RELAXATION,
        NumberOfIterations=ITERATIONS,
        DoEstimateLearningRateOnce=False,
        DoEstimateLearningRateAtEachIteration=False,
    )
    try:
        metric.Initialize()
        optimizer.StartOptimization()
    except RuntimeError:  # all points fall beyond the moving image
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = itk.array_from_matrix(transform.GetMatrix())
    matrix[:3, 3] = np.array(list(transform.GetOffset())) * radius
    return matrix if np.isfinite(matrix).all() else None


def _metric(fixed: Volume, moving: Volume, transform: Any) -> Any:
    image = itk.Image[itk.F, 3]
    metric = itk.MattesMutualInformationImageToImageMetricv4[image, image].New(
        FixedImage=_image(fixed),
        MovingImage=_image(moving),
        MovingTransform=transform,
        NumberOfHistogramBins=BINS,
        UseFixedImageGradientFilter=False,
        UseMovingImageGradientFilter=False,
    )
    metric.SetVirtualDomainFromImage(metric.GetFixedImage())
    # threads add to the joint histogram in the order in which they come: one gives the same bits every time
    metric.SetMaximumNumberOfWorkUnits(1)
    return metric


def _image(volume: Volume) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    image.SetOrigin(volume.affine[:3, 3].tolist())
    image.SetSpacing(volume.spacing.tolist())
    # a sheared grid has no orthogonal directions; ITK's images do not demand them
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(volume.affine[:3, :3] / volume.spacing)))
    return image
