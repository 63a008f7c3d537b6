"""bfloat16 where it pays, float32 where it matters; here on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.engines import RefinementTrainer, RegistrationEvaluator, WarmupTrainer, autocast, bfloat16_is_fast
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., RefinementTrainer]
CPU = torch.device("cpu")


def product_dtype() -> torch.dtype:
    return (torch.ones(4, 4) @ torch.ones(4, 4)).dtype


@pytest.mark.parametrize(
    ("enabled", "kwargs", "expected"),
    [
        (True, None, torch.bfloat16),
        (False, None, torch.float32),
        (True, {"dtype": torch.float16}, torch.float16),
        (True, {"dtype": "float16"}, torch.float16),  # as a JSON config writes it
    ],
)
def test_dtype(enabled: bool, kwargs: dict[str, Any] | None, expected: torch.dtype) -> None:
    with autocast(CPU, enabled, kwargs):
        assert product_dtype() == expected
    assert product_dtype() == torch.float32


@pytest.mark.parametrize("enabled", ["false", 1, None])
def test_enabled_must_be_a_bool(enabled: Any) -> None:
    with pytest.raises(TypeError, match=rf"autocast\(\) 'enabled' must be True or False, got {enabled!r}; write --amp"):
        autocast(CPU, enabled)


def test_training_hands_a_text_on_to_the_check(make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    with pytest.raises(TypeError, match=r"'enabled' must be True or False, got 'false'"):
        make_trainer(WarmupTrainer, [make_batch()], amp="false").run()


@pytest.mark.parametrize(("depth", "expected"), [(3, "float32"), (8, "float32"), (9, "bfloat16"), (16, "bfloat16")])
def test_training_avoids_the_broken_weight_gradient(
    depth: int, expected: str, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """At a stride of 4, up to 8 planes leave a level of two planes or fewer; the other axes do not matter."""
    trainer = make_trainer(WarmupTrainer, [make_batch()], amp=True)
    with trainer.autocast(torch.zeros(1, 2, depth, 4, 40)):
        assert product_dtype() == getattr(torch, expected)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_fast_where_the_processor_has_it(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert bfloat16_is_fast(CPU) is native
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert bfloat16_is_fast(CPU) is False


@pytest.mark.parametrize("dtype", ["float16", torch.bfloat16])
def test_no_loss_scaling_on_the_cpu(dtype: Any, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    trainer = make_trainer(WarmupTrainer, [make_batch()], amp=True, amp_kwargs={"dtype": dtype})
    trainer.run()
    assert trainer.scaler is None
    assert trainer.state.skipped == 0


def test_fields_and_losses_stay_float32(
    kind: type[RefinementTrainer], make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net, convolved = make_net(steps=2), []
    for layer in net.backbone.modules():
        if isinstance(layer, nn.Conv3d):
            layer.register_forward_hook(lambda module, args, output: convolved.append(output.dtype))
    trainer = make_trainer(kind, [make_batch()], net, amp=True)
    refine, results = trainer.refine, []

    def spy(*args: Any) -> Any:
        results.append(refine(*args))
        return results[-1]

    trainer.refine = spy  # type: ignore[method-assign]
    trainer.run()
    assert set(convolved) == {torch.bfloat16}
    for result in results:
        values = [result.objective, result.ddf, *result.terms.values()]
        assert {value.dtype for value in values if isinstance(value, Tensor)} == {torch.float32}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_gradient_is_near_that_of_float32(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    def train(amp: bool) -> tuple[Tensor, Tensor]:
        net = make_net(steps=2)
        before = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
        trainer = make_trainer(WarmupTrainer, [make_batch()], net, amp=amp, lr=1.0, max_grad_norm=1e9)
        trainer.run()
        return nn.utils.parameters_to_vector(net.parameters()).detach() - before, trainer.state.output[0]["pred"]

    (low, low_ddf), (full, ddf) = train(True), train(False)
    assert 0 < (low_ddf - ddf).abs().max() < 0.02 * ddf.abs().max()
    assert 0 < (low - full).norm() < 0.1 * full.norm()


def test_evaluation_is_near_that_of_float32(make_net: MakeNet, make_batch: MakeBatch) -> None:
    def evaluate(amp: bool) -> Tensor:
        evaluator = RegistrationEvaluator(
            device=CPU, val_data_loader=[make_batch(2)], network=make_net(steps=2), amp=amp, decollate=False
        )
        evaluator.run()
        ddf: Tensor = evaluator.state.output["pred"]
        return ddf

    low, full = evaluate(True), evaluate(False)
    assert low.dtype == torch.float32
    assert 0 < (low - full).abs().max() < 0.02 * full.abs().max()
