"""Imports that wait until they are needed, so that a program starts, and refuses a wrong argument, at once.

Importing MONAI takes several times as long as importing PyTorch, and ITK and Matplotlib are slow too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["lazy_module", "lazy_names", "names_for_type_checkers"]


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Offer the public names of a package without importing its modules before somebody asks for a name.

    The package imports its names under ``if TYPE_CHECKING:``, where type checkers and editors see them, and nowhere
    else; this reads the block and makes the package's ``__getattr__`` and ``__dir__`` (PEP 562) of it, as Scientific
    Python's SPEC 1 does from a stub file. It suits no name that a module of the package has too.

    Args:
        package: ``__name__`` of the package.
        file: its ``__file__``.

    Example:
        >>> from morphseek_monai import losses
        >>> losses.LNCCLoss.__module__
        'morphseek_monai.losses.lncc'
    """
    homes = {name: (module, own) for name, module, own in names_for_type_checkers(Path(file), package)}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own = homes[name]
        value = getattr(import_module(module), own)
        setattr(sys.modules[package], name, value)  # the next time Python finds it itself
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def names_for_type_checkers(file: Path, package: str) -> Iterator[tuple[str, str, str]]:
    """What a package imports under ``if TYPE_CHECKING:``.

    Args:
        file: its ``__init__.py``.
        package: its name.

    Yields:
        name in the package, module that has it, its name there.
    """
    for block in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for node in block.body:
                if isinstance(node, ast.ImportFrom):
                    module = resolve_name("." * node.level + (node.module or ""), package)
                    yield from ((alias.asname or alias.name, module, alias.name) for alias in node.names)


class _LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def lazy_module(name: str) -> Any:
    """A module that is imported when the first of its names is used.

    Args:
        name: of the module.

    Example:
        >>> itk = lazy_module("itk")
        >>> itk.Version.GetITKMajorVersion() >= 5
        True
    """
    return _LazyModule(name)
