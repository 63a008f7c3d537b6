"""Evaluation of a registration network on pairs."""

from __future__ import annotations

import time
from typing import Any

import torch
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys

from morphseek_monai.engines.amp import autocast
from morphseek_monai.engines.batch import prepare_pairs


class RegistrationEvaluator(SupervisedEvaluator):
    """A :class:`monai.engines.SupervisedEvaluator` for pairs, on any device, with the time a pair takes.

    ``engine.state.output`` (decollated: one dictionary a pair) holds ``image`` (moving, fixed), ``label`` (both label
    maps), ``mask`` (both masks, where the pairs have them), ``pred`` (the displacement field) and ``seconds`` (network
    time per pair). The metrics of :mod:`morphseek_monai.metrics` take ``from_engine(["pred", "label"])``. An unlabelled
    pair carries zeros as labels and so counts for no label metric.

    Args:
        prepare_batch: see :func:`~morphseek_monai.engines.prepare_pairs`.
        kwargs: everything :class:`monai.engines.SupervisedEvaluator` takes; ``amp`` means bfloat16 on a CPU too.
    """

    def __init__(self, *args: Any, prepare_batch: Any = prepare_pairs, **kwargs: Any) -> None:
        super().__init__(*args, **{"prepare_batch": prepare_batch, **kwargs})

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        image = batch.image
        began = _clock(image.device)
        with self.mode(self.network), autocast(image.device, self.amp, self.amp_kwargs):
            ddf = self.inferer(image, self.network)
        seconds = (_clock(image.device) - began) / len(image)
        engine.state.output = {
            Keys.IMAGE: image,
            Keys.LABEL: batch.label,
            Keys.PRED: ddf.float(),
            "seconds": torch.full((len(image), 1), seconds),
        }
        if batch.mask is not None:
            engine.state.output["mask"] = batch.mask
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = engine.state.output
        return output


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
