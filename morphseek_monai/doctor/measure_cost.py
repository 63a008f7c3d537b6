"""Run a config's trainers for two iterations on random data, in a process of its own.

``python -m morphseek_monai.doctor.measure_cost REQUEST`` writes one line of JSON; a process that runs out of memory is
killed without taking the caller along.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from ignite.engine import Events

from ..base.machine import peak_memory
from ..engines import show_cause_last
from .training_config import PHASES, read_config

__all__ = ["measure", "random_pairs"]

_ITERATIONS = 2  # the first one also sets up kernels for the size
_SMALLEST = 16


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Time and memory of one iteration of each phase.

    Everything is the config's but the data and the handlers: network, losses, optimisers, trainers, device, amp. The
    smallest image that the network takes comes first, to tell what does not grow with the image (program, weights,
    optimiser states) from what does.

    Args:
        request: ``files`` and ``overrides`` of the config, spatial ``size``, the names of the ``phases``.

    Returns:
        ``seconds`` per iteration by phase; ``device``; ``peak`` memory in bytes; ``voxels`` and ``peak`` of the
        smallest image under ``least``.
    """
    parser = read_config(request["files"], request["overrides"])
    batch_size = int(parser.get_parsed_content("train#dataloader#batch_size"))
    with_mask = bool(parser["train"]["dataset"].get("use_mask"))
    num_labels = int(parser.get_parsed_content("num_labels"))

    def fill(size: list[int]) -> None:
        batch = random_pairs(batch_size, size, num_labels)
        batches[:] = [{key: value for key, value in batch.items() if with_mask or key != "mask"}] * _ITERATIONS

    batches: list[dict[str, Any]] = []  # the trainers' data loader, filled anew for each size
    parser.globals["random_batches"] = batches
    parser["train#dataloader"] = "$random_batches"
    for phase in request["phases"]:
        parser[f"{PHASES[phase]}#trainer#train_handlers"] = []
        parser[f"{PHASES[phase]}#trainer#max_epochs"] = 1
    device = parser.get_parsed_content("device")
    edge = max(_SMALLEST, parser.get_parsed_content("network").stride)
    fill([edge] * 3)
    trainers = {phase: parser.get_parsed_content(f"{PHASES[phase]}#trainer") for phase in request["phases"]}
    for trainer in trainers.values():
        _seconds(trainer)
    least = {"voxels": edge**3, "peak": _peak(device)}
    fill(request["size"])
    seconds = {phase: _seconds(trainer) for phase, trainer in trainers.items()}
    return {"seconds": seconds, "device": device.type, "peak": _peak(device), "least": least}


def _seconds(trainer: Any) -> float:
    """Run one epoch; the quicker of its iterations."""
    ticks: list[float] = []

    def tick() -> None:
        if trainer.state.device.type == "cuda":
            torch.cuda.synchronize(trainer.state.device)
        ticks.append(time.perf_counter())

    with (
        trainer.add_event_handler(Events.ITERATION_STARTED, tick),
        trainer.add_event_handler(Events.ITERATION_COMPLETED, tick),
    ):
        trainer.run()
    return min(ticks[i + 1] - ticks[i] for i in range(0, len(ticks), 2))


def _peak(device: torch.device) -> int:
    """Most bytes of the GPU, or of this process; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return peak_memory()


def random_pairs(count: int, size: list[int], num_labels: int) -> dict[str, Any]:
    """A batch as :class:`~morphseek_monai.data.PairDataset` makes it, of noise.

    Args:
        count: pairs.
        size: ``(D, H, W)``.
        num_labels: number of ids.
    """
    shape = (count, 2, *size)
    return {
        "image": torch.rand(shape),
        "label": torch.randint(0, num_labels, shape, dtype=torch.int16),
        "mask": torch.ones(shape, dtype=torch.uint8),
        "labelled": torch.ones(count, dtype=torch.bool),
        "moving_id": [f"noise {i}" for i in range(count)],
        "fixed_id": [f"noise {i}" for i in range(count)],
    }


if __name__ == "__main__":
    show_cause_last()
    sys.stdout.write(json.dumps(measure(json.loads(sys.argv[1]))) + "\n")
