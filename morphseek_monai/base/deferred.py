"""Commands that run only after the whole command line was understood.

Fire calls a function with the arguments that it knows and complains of the others afterwards: a misspelt flag would be
refused only when all is computed and written, with another value than the user wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

__all__ = ["deferred", "run_deferred"]


class _Command:
    """A command with all its arguments; leave them out to see its help."""

    # neither callable nor with public names, for Fire would go on with these

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call


def deferred(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make a command that only takes its arguments, for :func:`run_deferred`; with the same signature and help.

    Args:
        command: a function for Fire.

    Example:
        >>> import fire
        >>> _ = fire.Fire(deferred(lambda name: f"hello {name}"), ["--name", "you"], serialize=run_deferred)
        hello you
    """

    @wraps(command)
    def later(*args: Any, **kwargs: Any) -> _Command:
        return _Command(partial(command, *args, **kwargs))

    return later


def run_deferred(component: Any) -> Any:
    """Run the command that Fire ended with: its ``serialize``, which it calls once no argument is left.

    Args:
        component: what a deferred command returned; anything else comes back as it is.
    """
    return component._call() if isinstance(component, _Command) else component
