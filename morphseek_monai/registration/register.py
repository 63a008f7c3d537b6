"""Register any two scans: the whole way, from what the user has to a result that says whether it worked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.kind import CT_AIR
from morphseek_monai.evaluation.verdict import verdict
from morphseek_monai.fields import jacobian_determinant
from morphseek_monai.inference.find import FoundField, find_field
from morphseek_monai.networks.rollout import no_displacement
from morphseek_monai.registration.checks import make_checks, similarity_after, stage_similarities
from morphseek_monai.registration.fit import Fitted, fit_field, foreground_at
from morphseek_monai.registration.given import Given, read_given
from morphseek_monai.registration.memory.plan import MemoryPlan, plan_memory
from morphseek_monai.registration.models.bundles import choose_bundle
from morphseek_monai.registration.models.model import RegistrationModel, choose_device, load_model
from morphseek_monai.registration.native import native_field
from morphseek_monai.registration.options import RegisterOptions, updated
from morphseek_monai.registration.prepare.pair import SEARCHED, pair_scans
from morphseek_monai.registration.record import make_record
from morphseek_monai.registration.result import RegistrationResult
from morphseek_monai.registration.start import choose_start
from morphseek_monai.registration.uncertainty import uncertainty_map
from morphseek_monai.spatial.apply import warp_scan, warp_values
from morphseek_monai.spatial.point_map import Field, PointMap

LOG = logging.getLogger("morphseek")


def register(
    fixed: Any, moving: Any, options: RegisterOptions | None = None, **changes: Any
) -> RegistrationResult:
    """Register a moving scan to a fixed scan of any grid, orientation and data type.

    Intensities are prepared as the bundle's network wants them, the images are aligned by an affine, the network runs
    on a grid on which the anatomy is as many voxels long as in its training, and the field is optimised on the pair up
    to the fixed image's own resolution. Headers, affine, network, optimiser: each stage is kept only if it raises the
    local correlation; ``record["metrics"]`` says what each gave. The moving image is resampled once, from its own grid.
    Everything happens in the axes of the fixed image, so that a rotation of both headers changes nothing, nor does
    another unit of length.

    Args:
        fixed: the image that stays: a path (NIfTI, NRRD, MetaImage, a folder of DICOM slices, ...), a NiBabel image, an
            ``itk.Image`` or a MetaTensor. Never changed. Or a list of such: contrasts of one subject, which are
            registered together; those on other grids are resampled to the first's.
        moving: the image that is brought to it, likewise, with the same contrasts in the same order.
        options: how; None takes the defaults of ``morphseek register``.
        **changes: single options by name, as :class:`~morphseek_monai.registration.options.RegisterOptions` lists them
            (``bundle``, ``affine``, ``modality``, ``steps``, ``refine``, ``seed``, ``device``, ...), or
            ``search=Search(...)`` for ``steps``, ``samples`` and ``refine`` at once. ``report`` concerns
            :meth:`~morphseek_monai.registration.result.RegistrationResult.save` alone.

    Raises:
        DataError: an image cannot be read or registered, or an option is not what it should be.

    Example:
        >>> import nibabel as nib
        >>> from morphseek_monai import register
        >>> result = register("fixed.nii.gz", "moving.nii.gz", affine="rigid")  # doctest: +SKIP
        >>> nib.save(result.warped, "warped.nii.gz")  # doctest: +SKIP
        >>> result.verdict  # doctest: +SKIP
        'succeeded'
    """
    options = updated(options or RegisterOptions(), changes)
    clock = _Clock()
    with clock("read"):
        given = read_given(fixed, moving, options)
        scans = (given.fixed.scan, given.moving.scan)
        model = options.bundle
        if not isinstance(model, RegistrationModel):
            root = choose_bundle(options.bundle, scans, options.modalities)
            model = load_model(root, choose_device(options.device))
    spent = options.inference
    if options.uncertainty and spent.refine == "off":
        spent = replace(spent, refine="auto")  # the map is made on the optimiser's grid
    plan = plan_memory(scans[0].grid, scans[1].grid, model, spent, options.max_memory, given.more)
    LOG.info(plan.text)
    for attempt in (plan, _coarser(plan)):
        try:
            with torch.autocast(model.device.type, enabled=False):  # a voxel at 200 is a whole one off in bfloat16
                return _carry_out(given, model, options, attempt, clock)
        except (MemoryError, RuntimeError) as error:  # those of torch and ITK are RuntimeErrors
            if not _is_out_of_memory(error):
                raise
        # only now is the error gone, which kept the tensors of all its frames
        torch.cuda.empty_cache()
    raise DataError(
        f"memory ran out, on coarser grids too ({plan.text}); free memory, crop the images, or plan for less with"
        " --max_memory"
    )


def _carry_out(
    given: Given,
    model: RegistrationModel,
    options: RegisterOptions,
    plan: MemoryPlan,
    clock: _Clock,
) -> RegistrationResult:
    """Register what was read, as planned."""
    fixed_scan, moving_scan, landmarks = given.fixed.scan, given.moving.scan, given.landmarks
    notices = [*given.notices, *plan.notices]
    inference, with_network = options.inference, options.steps != 0
    if model.made_data and with_network:
        notices.append(
            f"the network's weights, of bundle {model.name}, were trained on {model.made_data} and on no scan of a"
            " patient"
        )
    with clock("align"):
        pair = pair_scans(
            given.fixed, given.moving, model, given.start, options.modalities, plan.network, options.seed
        )
        notices += pair.notices
    with clock("network"):
        network = model.network if with_network else no_displacement
        if isinstance(given.start, str) and given.start in SEARCHED:
            pair, plain = choose_start(pair, network)
        else:
            with torch.no_grad():
                plain = network(pair.image)
        found = FoundField(plain, {"steps": 0})
        similarity = stage_similarities(pair)
        ddf: Tensor | None = None
        answered = similarity[pair.begin]
        if with_network:
            found = find_field(model.network, pair.image, plain, pair.grid.spacing, inference, options.seed)
            similarity["network"] = similarity_after(pair, found.ddf)
            if similarity["network"] > answered:
                ddf, answered = found.ddf, similarity["network"]
            else:
                notices.append("the network's field raises no similarity and is left out")
    with clock("optimise"):
        fitted = Fitted(ddf, None, pair.grid, {})
        if inference.refine != "off":
            fitted = fit_field(pair, ddf, inference.refine, plan.network, landmarks)
            if fitted.similarity is not None:
                similarity["optimiser"] = fitted.similarity
        notices += fitted.notices
        similarity["after"] = similarity.get("optimiser", answered)
    with clock("native grid"):
        field_grid = fixed_scan.grid.coarsened(plan.field) if plan.field > 1 else fixed_scan.grid
        final, final_grid, on_network = fitted.fields(pair, field_grid)
        native = native_field(final, final_grid, field_grid, foreground_at(pair, final_grid))
        jacobian = jacobian_determinant(native.ddf)[0].numpy()
        uncertainty = uncertainty_map(pair, fitted, field_grid, plan.network) if options.uncertainty else None
    with clock("warp"):
        outside = min(CT_AIR, float(moving_scan.array.min())) if pair.moving.modality == "ct" else 0.0
        point_map = PointMap((Field(native.ddf, field_grid), pair.affine))
        warped = warp_values(moving_scan, point_map, fixed_scan.grid, "linear", outside)
        others = [
            warp_scan(other, point_map, fixed_scan.grid, "linear", registered=outside).array
            for other in given.moving.others
        ]
    with clock("judge"):
        checks = make_checks(pair, on_network, native, {**similarity, "after": answered}, moving_scan, model)
    metrics = {stage: {"similarity": value} for stage, value in similarity.items()}
    if landmarks is not None:
        for stage, points in (("before", PointMap(())), (pair.begin, pair.points), ("after", point_map)):
            metrics[stage]["tre_mm"] = landmarks.error(points)
    error = native.inverse_error
    metrics["after"] |= {
        f"inverse_error_{name}_mm": value for name, value in zip(("mean", "p95", "max"), error, strict=False)
    }
    metrics["after"]["njd_percent"] = next(check.value for check in checks if check.name == "folding")
    result = RegistrationResult(
        fixed=fixed_scan,
        moving=moving_scan,
        warped_array=warped,
        warped_others=others,
        affine=pair.affine,
        ddf=native.ddf,
        inverse_ddf=native.inverse,
        field_grid=field_grid,
        jacobian=jacobian,
        uncertainty=uncertainty,
        metrics=metrics,
        checks=checks,
        verdict=verdict(checks),
        notices=notices,
        record={},
        outside=outside,
    )
    spent = {**found.record, **fitted.record}
    result.record.update(make_record(result, pair, model, plan, spent, clock.seconds, options, given))
    return result


class _Clock:
    """Seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(self.seconds.get(part, 0.0) + perf_counter() - began, 3)


def _coarser(plan: MemoryPlan) -> MemoryPlan:
    """What to try where the memory does not suffice after all."""
    field = min(2 * plan.field, 4)
    notice = (
        f"memory ran out ({plan.text}): done again with the network's grid {2 * plan.network:g} times as coarse and the"
        f" displacement field's voxels {field} times as large as the fixed image's; a lower --max_memory plans for it"
    )
    return plan._replace(network=2 * plan.network, field=field, notices=(*plan.notices, notice))


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch, CUDA's libraries or ITK could not allocate."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or re.search("allocate memory|alloc_failed", str(error), re.IGNORECASE) is not None
