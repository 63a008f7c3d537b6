"""Docstrings for mkdocstrings: Sphinx roles become links, ``Example:`` a section that knows ``>>>``."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)\.?([\w.]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
BLOCK = re.compile(r"::$", re.MULTILINE)  # reStructuredText's sign that an indented block follows


def full_path(name: str, scope: griffe.Object) -> str:
    """The dotted path that a role means: absolute, or a name as the object's own module sees it."""
    try:
        return name if name.startswith("morphseek_monai.") else scope.resolve(name)
    except griffe.NameResolutionError:
        return f"{scope.path}.{name}" if name in scope.members else name


def markdown(text: str, scope: griffe.Object) -> str:
    """A docstring in Markdown. A link whose target is on no page is shown as its text alone.

    Args:
        text: the docstring, Google style with Sphinx roles.
        scope: the object that has it.
    """

    def link(match: re.Match[str]) -> str:
        short, name = match.groups()
        shown = name.rsplit(".", 1)[-1] if short else name
        return f'<autoref optional identifier="{full_path(name, scope)}"><code>{shown}</code></autoref>'

    return BLOCK.sub(":", EXAMPLE.sub(r"\1Examples:", ROLE.sub(link, text)))


class Roles(griffe.Extension):
    """Translate every docstring as soon as its module is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Walk through the whole package, once."""
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            scope = waiting.pop()
            if scope.docstring:
                scope.docstring.value = markdown(scope.docstring.value, scope)
            waiting += [member for member in scope.members.values() if isinstance(member, griffe.Object)]
