"""Options as words and numbers, and what ``register`` is called with."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from morphseek_monai.apps.register import register as command
from morphseek_monai.base.errors import DataError
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.registration.options import RegisterOptions, make_options, updated
from morphseek_monai.registration.register import register


def test_same_names_and_defaults_as_the_command() -> None:
    parameters = list(inspect.signature(command).parameters.values())[3:]  # fixed, moving, out
    options = RegisterOptions()
    assert {p.name: p.default for p in parameters} == vars(options)


def test_options_and_keywords_of_the_function() -> None:
    options = RegisterOptions(steps="auto", samples=3, refine=4, seed=9, max_memory="2G")
    assert options.inference == InferenceOptions("auto", 3, 4)
    changes = {"search": InferenceOptions(2), "seed": 5}
    assert updated(options, changes) == RegisterOptions(steps=2, seed=5, max_memory="2G")
    with pytest.raises(DataError, match=r"register\(\): sede is no option of morphseek register; known: bundle"):
        register("fixed.nii.gz", "moving.nii.gz", sede=1)


def test_one_modality_and_frame_for_both_images_or_each_its_own() -> None:
    both = RegisterOptions(modality="ct", frame=2)
    assert both.modalities + both.frames == ("ct", "ct", 2, 2)
    own = RegisterOptions(modality="ct", moving_modality="mr", frame=2, fixed_frame=0)
    assert own.modalities + own.frames == ("ct", "mr", 0, 2)


def test_unknown_options_are_named() -> None:
    with pytest.raises(DataError, match=r"batch: refined, sede is no option of morphseek register; known: bundle, aff"):
        make_options({"sede": 1, "refined": 2, "seed": 3}, "batch")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"samples": "many"}, "samples must be a whole number, got 'many'"),
        ({"samples": True}, "samples must be a whole number, got True"),
        ({"samples": 2.5}, "samples must be a whole number, got 2.5"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"report": 0}, "report must be True or False, got 0"),
        ({"refine": 1.5}, "refine must be a whole number or a word, got 1.5"),
        ({"frame": "first"}, "frame must be a whole number or None, got 'first'"),
        ({"steps": 1.5}, "steps must be a whole number or a word or None, got 1.5"),
        ({"affine": True}, "affine must be a word, got True"),
        ({"fixed_mask": True}, "fixed_mask must be a word or None, got True"),
    ],
)
def test_wrong_types_say_where(values: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"^pairs.csv line 4: {words}; correct it$"):
        make_options(values, "pairs.csv line 4")


def test_words_that_look_like_numbers_stay_words() -> None:
    options = make_options({"affine": 12, "max_memory": 4000000000, "bundle": 7, "steps": "auto"}, "here")
    assert make_options({"moving_mask": 20240101}, "here").moving_mask == "20240101"
    assert (options.affine, options.max_memory, options.bundle, options.steps) == ("12", "4000000000", "7", "auto")
