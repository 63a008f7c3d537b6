"""The options of one registration as a command line or a table states them: plain numbers and words."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from morphseek_monai.base.errors import DataError

from ..inference.find import Search

__all__ = ["RegisterOptions", "make_options"]


@dataclass(frozen=True)
class RegisterOptions:
    """Options of ``morphseek register``, whose help explains them; here with the same names and defaults."""

    bundle: str | None = None
    affine: str = "auto"
    modality: str = "auto"
    fixed_modality: str | None = None
    moving_modality: str | None = None
    frame: int | None = None
    fixed_frame: int | None = None
    moving_frame: int | None = None
    steps: int | str | None = None
    samples: int = 0
    refine: int | str = "auto"
    seed: int = 0
    device: str = "auto"
    max_memory: str | None = None
    report: bool = True

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of :func:`~morphseek_monai.registration.register.register`; ``report`` is none of them.

        Example:
            >>> RegisterOptions(modality="ct", moving_modality="mr").arguments()["moving_modality"]
            'mr'
        """
        return {
            "bundle": self.bundle,
            "affine": self.affine,
            "fixed_modality": self.fixed_modality or self.modality,
            "moving_modality": self.moving_modality or self.modality,
            "fixed_frame": self.frame if self.fixed_frame is None else self.fixed_frame,
            "moving_frame": self.frame if self.moving_frame is None else self.moving_frame,
            "search": Search(self.steps, self.samples, self.refine),
            "seed": self.seed,
            "device": self.device,
            "max_memory": self.max_memory,
        }


def make_options(values: Mapping[str, Any], where: str) -> RegisterOptions:
    """Check names and types.

    Args:
        values: by name; numbers, words, True and False.
        where: they stand, for the message.

    Raises:
        DataError: an unknown name, or a value of the wrong type.
    """
    hints = _hints()
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise DataError(f"{where}: {', '.join(unknown)} is no option of morphseek register; known: {', '.join(hints)}")
    return RegisterOptions(**{name: _checked(value, hints[name], f"{where}: {name}") for name, value in values.items()})


@cache
def _hints() -> dict[str, tuple[type, ...]]:
    return {name: typing.get_args(hint) or (hint,) for name, hint in typing.get_type_hints(RegisterOptions).items()}


def _checked(value: Any, types: tuple[type, ...], where: str) -> Any:
    if type(value) in types:  # not isinstance(): True is no number
        return value
    if str in types and int not in types and not isinstance(value, bool):
        return str(value)  # a file named 12, 4000000000 bytes
    words = " or ".join({int: "a whole number", str: "a word", bool: "True or False"}.get(t, "None") for t in types)
    raise DataError(f"{where} must be {words}, got {value!r}; correct it")
