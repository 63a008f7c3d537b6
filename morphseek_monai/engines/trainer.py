"""What warm-up and fine-tuning share: a MONAI SupervisedTrainer that back-propagates each refinement step by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from morphseek_monai.engines.amp import amp_dtype, autocast
from morphseek_monai.engines.batch import Pair, prepare_pairs
from morphseek_monai.engines.step import RefinementStep, StepResult, mean_terms
from morphseek_monai.networks import Encoding, LatentPolicy, MorphSeekNet


class RefinementTrainer(SupervisedTrainer):
    """Train a :class:`~morphseek_monai.networks.MorphSeekNet` step by step.

    Each refinement step of each pair of the batch is back-propagated on its own and the accumulated field is detached
    before the next, so that peak memory depends neither on the number of steps nor on the batch size. The network runs
    under autocast when ``amp`` is set; fields and losses are float32.

    An iteration whose objective or gradient is not finite changes nothing: it is skipped, counted
    (``engine.state.skipped``) and named in the log; ``max_skipped`` such iterations in a row stop the run.

    ``engine.state.output`` is a list with a dictionary for each pair, as after MONAI's decollation (which would take
    ``terms`` apart, and is off): ``image``, ``label``, ``pred`` (the last field) and, the same for all pairs, ``loss``
    (mean objective) and ``terms``, scalars to log by ``monai.handlers.from_engine("terms", first=True)``.

    With ``wrap``, processes train one network: gradients are averaged once per iteration, with the last backward pass;
    ``terms`` are the means over all processes, and all of them skip an iteration or none does. P processes with batches
    of B then do what one does with P * B, if the sampler deals the pairs out in turn, as ``DistributedSampler`` does.

    Args:
        steps: refinement steps T in training; None uses the network's own number.
        max_grad_norm: gradients are clipped to this norm. 1.0: keeps the rare steep policy gradient from undoing the
            warm-up.
        max_skipped: how many iterations in a row may be skipped.
        seed: of the policy's noise, which depends on (seed, iteration, the pair's place in the batch of all processes)
            alone, and of torch's global generator (dropout, stochastic depth): on (seed, iteration, rank). Hence a
            resumed run draws what an uninterrupted one would.
        wrap: wraps the :class:`RefinementStep` when a run starts, e.g. ``functools.partial(DistributedDataParallel,
            device_ids=[device])``; the network itself stays plain. None (default) trains in one process.
        prepare_batch: see :func:`~morphseek_monai.engines.prepare_pairs`.
        kwargs: everything else that :class:`monai.engines.SupervisedTrainer` takes.

    Raises:
        ValueError: When ``steps`` is below 1.
    """

    network: MorphSeekNet
    _step: nn.Module

    def __init__(
        self,
        *args: Any,
        steps: int | None = None,
        max_grad_norm: float = 1.0,
        max_skipped: int = 10,
        seed: int = 0,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        prepare_batch: Any = prepare_pairs,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **{**kwargs, "prepare_batch": prepare_batch, "decollate": False})
        if steps is not None and steps < 1:
            raise ValueError(f"{type(self).__name__}() 'steps' must be at least 1 or None, got {steps}")
        self.steps = steps
        self.max_grad_norm = max_grad_norm
        self.max_skipped = max_skipped
        self.seed = seed
        self.wrap = wrap
        self.state.skipped = self.state.skipped_in_a_row = 0
        self.state_dict_user_keys.extend(["skipped", "skipped_in_a_row"])
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
        step = RefinementStep(self.network, self.refine)
        self._step = step if self.wrap is None else self.wrap(step)
        try:
            Workflow.run(self)
        finally:
            del self._step  # or the hooks of this phase's wrapper would stay on a network that the next one trains

    def autocast(self, image: Tensor, scale: int = 1) -> torch.autocast:
        """Context the network runs in for ``image`` ``(1, 2, D, H, W)``, reduced by ``scale``.

        float32 in one case: oneDNN's bfloat16 weight gradient (seen with torch 2.13) reads uninitialised memory where
        the first axis of a convolution's input is 2, as it is on one of the deepest levels for a D up to two strides.
        """
        broken = self.state.device.type == "cpu" and image.shape[2] <= 2 * scale * self.network.stride
        return autocast(self.state.device, False if broken else self.amp, self.amp_kwargs)

    def observe(
        self, image: Tensor, ddf: Tensor, scale: int = 1
    ) -> tuple[Encoding, LatentPolicy | None, Tensor]:
        """First half of a step: the encoding, its policy (None without one) and the latent at tau = 0.

        Args:
            image: ``(1, 2, D, H, W)``.
            ddf: accumulated field ``(1, 3, D, H, W)``.
            scale: factor by which the network sees the images reduced.
        """
        with self.autocast(image, scale):
            encoding = self.network.observe(image[:, :1], image[:, 1:], ddf, scale)
        if self.network.head is None:
            return encoding, None, encoding.top
        policy: LatentPolicy = self.network.head(encoding.top.float())
        return encoding, policy, policy.mean

    def generator(self, pair: int) -> torch.Generator:
        """Random generator of pair ``pair`` of this process's batch in the current iteration, on the device."""
        place = pair * idist.get_world_size() + self.state.rank
        return torch.Generator(self.state.device).manual_seed(self._seed_of(place, 0))

    def _seed_of(self, *key: int) -> int:
        sequence = np.random.SeedSequence((self.seed, self.state.iteration, *key))
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    def refine(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
        """Do one refinement step of one pair; subclasses say how the latent is chosen and judged.

        Args:
            pair: images, labels and masks, with a batch axis of 1.
            ddf: accumulated field ``(1, 3, D, H, W)``, without graph.
            generator: source of the policy's noise.
            scale: factor by which the network sees the images reduced in this step.
        """
        raise NotImplementedError

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> list[dict[str, Any]]:  # type: ignore[override]
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        torch.manual_seed(self._seed_of(self.state.rank, 1))
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        pairs, steps = len(batch.image), self.network.steps if self.steps is None else self.steps
        terms: list[Mapping[str, Tensor | float]] = []
        fields: list[Tensor] = []
        for i in range(pairs):
            ddf = batch.image.new_zeros((1, 3, *batch.image.shape[2:]))
            generator = self.generator(i)
            for t in range(steps):
                last = (i, t) == (pairs - 1, steps - 1)
                accumulate = nullcontext if last else getattr(self._step, "no_sync", nullcontext)
                with accumulate():
                    result = self._step(batch.pair(i), ddf, generator, self.network.scale(t))
                    self._backward(result.objective / (pairs * steps))
                ddf = result.ddf.detach()
                terms.append({"loss": result.objective.detach(), **result.terms})
            fields.append(ddf)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        means = mean_terms(terms)
        means["grad_norm"] = self._update(batchdata)
        means["skipped"] = float(self.state.skipped)
        engine.state.output = output = [
            {Keys.IMAGE: image, Keys.LABEL: label, Keys.PRED: ddf[0], Keys.LOSS: means["loss"], "terms": means}
            for image, label, ddf in zip(batch.image, batch.label, fields)
        ]
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return output

    def _backward(self, objective: Tensor) -> None:
        """Add the gradient; that of an objective that is not finite is NaN, which every process sees in the mean."""
        if not torch.isfinite(objective):
            objective = objective * float("nan")
        scaled = objective if self.scaler is None else self.scaler.scale(objective)
        scaled.backward()  # type: ignore[no-untyped-call]

    def _update(self, batchdata: dict[str, Any]) -> float:
        """Clip and step, or skip and count; returns the gradient norm before clipping."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm))
        if np.isfinite(norm):
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
            self.state.skipped_in_a_row = 0
        else:
            self.optimizer.zero_grad(set_to_none=True)
            self._skip(batchdata)
        if self.scaler is not None:
            self.scaler.update()
        return norm

    def _skip(self, batchdata: dict[str, Any]) -> None:
        self.state.skipped += 1
        self.state.skipped_in_a_row += 1
        pairs = list(zip(batchdata.get("moving_id", "?"), batchdata.get("fixed_id", "?")))
        self.logger.warning(f"iteration {self.state.iteration} skipped: not finite; pairs (moving, fixed) {pairs}")
        if self.state.skipped_in_a_row >= self.max_skipped:
            raise RuntimeError(
                f"{type(self).__name__}: {self.state.skipped_in_a_row} iterations in a row were not finite, last pairs "
                f"(moving, fixed) {pairs}; lower the learning rate or 'tau', and check these images"
            )
