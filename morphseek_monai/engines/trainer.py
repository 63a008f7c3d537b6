"""What warm-up and fine-tuning share: a MONAI SupervisedTrainer that back-propagates each refinement step by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from morphseek_monai.engines.amp import amp_dtype, autocast
from morphseek_monai.engines.batch import prepare_pairs
from morphseek_monai.networks import MorphSeekNet


class StepResult(NamedTuple):
    """Outcome of one refinement step of one pair.

    Attributes:
        objective: scalar with the step's graph.
        ddf: new accumulated field ``(1, 3, D, H, W)``.
        terms: numbers to log, by name.
    """

    objective: Tensor
    ddf: Tensor
    terms: Mapping[str, Tensor | float]


class RefinementTrainer(SupervisedTrainer):
    """Train a :class:`~morphseek_monai.networks.MorphSeekNet` step by step.

    Each refinement step of each pair of the batch is back-propagated on its own and the accumulated field is detached
    before the next, so that peak memory depends neither on the number of steps nor on the batch size. The network runs
    under autocast when ``amp`` is set; fields and losses are float32.

    An iteration whose objective or gradient is not finite changes nothing: it is skipped, counted
    (``engine.state.skipped``) and named in the log; ``max_skipped`` such iterations in a row stop the run.

    ``engine.state.output`` holds ``image``, ``label``, ``pred`` (the last field), ``loss`` (mean objective) and
    ``terms``, a dictionary of scalars for ``StatsHandler`` and ``TensorBoardStatsHandler``
    (``output_transform=lambda output: output["terms"]``).

    Args:
        steps: refinement steps T in training; None uses the network's own number.
        max_grad_norm: gradients are clipped to this norm. 1.0: keeps the rare steep policy gradient from undoing the
            warm-up.
        max_skipped: how many iterations in a row may be skipped.
        seed: seed of the policy's noise. It depends on (seed, rank, iteration, pair) alone, hence a resumed run
            draws what an uninterrupted one would.
        prepare_batch: see :func:`~morphseek_monai.engines.prepare_pairs`.
        decollate: False, unlike MONAI's default: decollation would take ``terms`` apart.
        kwargs: everything :class:`monai.engines.SupervisedTrainer` takes.

    Raises:
        ValueError: When ``steps`` is below 1.
    """

    network: MorphSeekNet

    def __init__(
        self,
        *args: Any,
        steps: int | None = None,
        max_grad_norm: float = 1.0,
        max_skipped: int = 10,
        seed: int = 0,
        prepare_batch: Any = prepare_pairs,
        decollate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **{"prepare_batch": prepare_batch, "decollate": decollate, **kwargs})
        if steps is not None and steps < 1:
            raise ValueError(f"{type(self).__name__}() 'steps' must be at least 1 or None, got {steps}")
        self.steps = steps
        self.max_grad_norm = max_grad_norm
        self.max_skipped = max_skipped
        self.seed = seed
        self.state.skipped = 0
        self._skipped_in_a_row = 0
        self.add_event_handler(Events.EPOCH_STARTED, self._tell_dataset)

    def _tell_dataset(self) -> None:
        """Random pairs depend on the epoch number, so that a resumed run draws what an uninterrupted one would."""
        set_epoch = getattr(getattr(self.data_loader, "dataset", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.state.epoch)

    def run(self) -> None:  # type: ignore[override]  # as in MONAI
        """Train to ``max_epochs``; loss scaling only where it has a purpose, float16 on CUDA."""
        half = amp_dtype(self.amp_kwargs) == torch.float16
        scaled = self.amp and half and self.state.device.type == "cuda"
        self.scaler = torch.amp.GradScaler("cuda") if scaled else None  # type: ignore[assignment]
        Workflow.run(self)

    def autocast(self, image: Tensor) -> torch.autocast:
        """Context the network runs in for ``image`` ``(1, 2, D, H, W)``.

        float32 in one case: oneDNN's bfloat16 weight gradient (seen with torch 2.13) reads uninitialised memory where
        the first axis of a convolution's input is 2, as it is on one of the deepest levels for a D up to two strides.
        """
        broken = self.state.device.type == "cpu" and image.shape[2] <= 2 * self.network.stride
        return autocast(self.state.device, False if broken else self.amp, self.amp_kwargs)

    def generator(self, pair: int) -> torch.Generator:
        """Random generator of a pair of the current iteration, on the training device."""
        key = (self.seed, self.state.rank, self.state.iteration, pair)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        return torch.Generator(self.state.device).manual_seed(seed)

    def refine(self, image: Tensor, label: Tensor | None, ddf: Tensor, generator: torch.Generator) -> StepResult:
        """Do one refinement step of one pair; subclasses say how the latent is chosen and judged.

        Args:
            image: ``(1, 2, D, H, W)``.
            label: ``(1, 2, D, H, W)`` integers, or None for an unlabelled pair.
            ddf: accumulated field ``(1, 3, D, H, W)``, without graph.
            generator: source of the policy's noise.
        """
        raise NotImplementedError

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        image, label, labelled = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        steps = self.network.steps if self.steps is None else self.steps
        share = 1.0 / (len(image) * steps)
        terms: list[Mapping[str, Tensor | float]] = []
        fields: list[Tensor] = []
        finite = True
        for i in range(len(image)):
            pair_label = label[i : i + 1] if bool(labelled[i]) else None
            ddf = image.new_zeros((1, 3, *image.shape[2:]))
            generator = self.generator(i)
            for _ in range(steps):
                result = self.refine(image[i : i + 1], pair_label, ddf, generator)
                finite = finite and bool(torch.isfinite(result.objective))
                if finite:
                    self._scale(result.objective * share).backward()  # type: ignore[no-untyped-call]
                ddf = result.ddf.detach()
                terms.append({"loss": result.objective.detach(), **result.terms})
            fields.append(ddf)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        means = _mean_terms(terms)
        means["grad_norm"] = self._update(finite, batchdata)
        means["skipped"] = float(self.state.skipped)
        engine.state.output = {
            Keys.IMAGE: image,
            Keys.LABEL: label,
            Keys.PRED: torch.cat(fields),
            Keys.LOSS: means["loss"],
            "terms": means,
        }
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = engine.state.output
        return output

    def _scale(self, objective: Tensor) -> Tensor:
        scaled: Tensor = objective if self.scaler is None else self.scaler.scale(objective)
        return scaled

    def _update(self, finite: bool, batchdata: dict[str, Any]) -> float:
        """Clip and step, or skip and count; returns the gradient norm before clipping, NaN without a whole gradient."""
        norm = float("nan")
        if finite:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm))
        if np.isfinite(norm):
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
            self._skipped_in_a_row = 0
        else:
            self.optimizer.zero_grad(set_to_none=True)
            self.state.skipped += 1
            self._skipped_in_a_row += 1
            pairs = list(zip(_names(batchdata, "moving_id"), _names(batchdata, "fixed_id")))
            self.logger.warning(f"iteration {self.state.iteration} skipped: not finite; pairs (moving, fixed) {pairs}")
            if self._skipped_in_a_row >= self.max_skipped:
                raise RuntimeError(
                    f"{type(self).__name__}: {self._skipped_in_a_row} iterations in a row were not finite, last pairs "
                    f"(moving, fixed) {pairs}; lower the learning rate or 'tau', and check these images"
                )
        if finite and self.scaler is not None:  # a scaler that saw no gradient refuses to be updated
            self.scaler.update()
        return norm


def _names(batchdata: dict[str, Any], key: str) -> Sequence[str]:
    names: Sequence[str] = batchdata.get(key, ["?"])
    return names


def _mean_terms(terms: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Mean over the steps and pairs that have the term (an unlabelled pair has no reward)."""
    names = {name for t in terms for name in t}
    return {name: float(np.mean([float(t[name]) for t in terms if name in t])) for name in sorted(names)}
