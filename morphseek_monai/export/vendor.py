"""This package's modules copied into a bundle's ``scripts/``, where they work without the package."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "SCRIPTS", "closure", "eager", "named", "required_packages", "rewrite", "vendor"]

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = "scripts"

_HEAD = '"""Code of this bundle."""\n'
_DOTTED = re.compile(rf"(?<![\w./-]){PACKAGE}(?:\.[A-Za-z_]\w*)+")
_FROM = re.compile(rf"\bfrom\s+({PACKAGE}[\w.]*)\s+import\s+(\w+(?:[ ,]+\w+)*)")
_PREFIX = re.compile(
    rf"(?<![\w./-]){PACKAGE}(?=\.[A-Za-z_])|(?<=\bfrom ){PACKAGE}(?= import\b)|(?<=\bimport ){PACKAGE}\b"
)
_LAZY = re.compile(
    r"from typing import TYPE_CHECKING\n+from [\w.]+ import lazy_names\n+"
    r"if TYPE_CHECKING:\n((?:    .*\n)+)else:\n.*lazy_names.*\n"
)
_OWN_KEYS = {"monai", "torch", "numpy"}  # metadata.json states their versions in keys of their own


def rewrite(text: str) -> str:
    """Let code, configs and documentation name the copies in place of the package's modules.

    Only the head of a dotted name and the name in an import change; elsewhere the word is the project's name.

    Args:
        text: of any text file.

    Example:
        >>> rewrite("from morphseek_monai.fields import warp  # of morphseek_monai")
        'from scripts.fields import warp  # of morphseek_monai'
        >>> rewrite('{"_target_": "morphseek_monai.networks.VoxelMorphL"}')
        '{"_target_": "scripts.networks.VoxelMorphL"}'
    """
    return _PREFIX.sub(SCRIPTS, text)


def named(text: str) -> set[str]:
    """Find the dotted names of this package in a config, wherever in it they stand.

    Args:
        text: of the config file.

    Example:
        >>> sorted(named('"$from morphseek_monai.fields import jacobian_determinant, warp"'))
        ['morphseek_monai.fields', 'morphseek_monai.fields.jacobian_determinant', 'morphseek_monai.fields.warp']
    """
    imports = [(module, part.split()[0]) for module, parts in _FROM.findall(text) for part in parts.split(",")]
    return set(_DOTTED.findall(text)) | {f"{module}.{name}" for module, name in imports}


def eager(text: str) -> str:
    """Let a package's ``__init__.py`` import its public names at once, where it waits for somebody to ask for them.

    MONAI Label takes ``scripts`` out of ``sys.modules`` between its calls; a later import would not find it.

    Args:
        text: of the file, as :func:`~morphseek_monai.base.lazy.lazy_names` wants it.
    """
    return _LAZY.sub(lambda found: textwrap.dedent(found[1]), text)


def closure(names: Iterable[str]) -> list[str]:
    """Find every module that is run when the given names are imported, in the order of their paths.

    A package's ``__init__.py`` is run for each of its modules, and what it re-exports belongs to it. Imports inside
    functions count too.

    Args:
        names: dotted names of modules, classes or functions of this package.

    Example:
        >>> closure(["morphseek_monai.base.version.__version__"])
        ['morphseek_monai', 'morphseek_monai.base.lazy', 'morphseek_monai.base.version']
    """
    found: set[str] = set()
    waiting = [module for name in names for module in _modules_of(name)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [inner for name in _imports(module) for inner in _modules_of(name)]
    return sorted(found)


def vendor(modules: Iterable[str], folder: Path) -> None:
    """Copy modules, rewritten, keeping the package's sub-folders.

    Args:
        modules: what :func:`closure` returns.
        folder: becomes the package ``scripts``.
    """
    for module in modules:
        source = _source(module)
        if source is not None:
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            # the package's own head offers registration, which a bundle's copies lack
            text = _HEAD if module == PACKAGE else rewrite(eager(source.read_text(encoding="utf-8")))
            target.write_text(text, encoding="utf-8")


def required_packages(modules: Iterable[str], listed: Mapping[str, str]) -> dict[str, str]:
    """Complete ``required_packages_version`` of a bundle's metadata by what its copied code imports.

    Args:
        modules: the copied modules.
        listed: PyPI name and exact version as the bundle states them; kept, but for this package itself.

    Returns:
        ``listed``, with the installed version of every imported package that it lacks. An optional package that is
        not installed cannot be pinned and is left out.
    """
    required = {name: pinned for name, pinned in listed.items() if name != PACKAGE}
    imported = {name.partition(".")[0] for module in modules for name in _imports(module)}
    providers = packages_distributions()
    for name in sorted(imported - {PACKAGE, *_OWN_KEYS} - sys.stdlib_module_names):
        candidates = [name, *providers.get(name, ())]  # itk comes in parts, but is installed by its own name
        if not set(candidates) & set(required):
            required |= next((pin for pin in map(_installed, candidates) if pin), {})
    return required


def _installed(distribution: str) -> dict[str, str]:
    """The version of a distribution by its name; nothing where it is not installed."""
    try:
        return {distribution: version(distribution).partition("+")[0]}  # a local build's suffix is not on PyPI
    except PackageNotFoundError:
        return {}


def _source(module: str) -> Path | None:
    """File of a module of this package; None where there is no such module."""
    top, *parts = module.split(".")
    path = ROOT.joinpath(*parts)
    candidates = [path / "__init__.py", *([path.with_name(f"{path.name}.py")] if parts else [])]
    return next((file for file in candidates if top == PACKAGE and file.is_file()), None)


def _modules_of(name: str) -> list[str]:
    """The module that a dotted name leads to, with the packages around it."""
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return [module for module in prefixes if _source(module) is not None]


def _executed(node: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read; a package takes its public names from there, one by one."""
    yield node
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if lazy or not typing:
            yield from _executed(child, lazy)


def _imports(module: str) -> set[str]:
    """Dotted names that a module imports: absolute, relative, or through ``lazy_module``."""
    source = _source(module)
    if source is None:
        return set()
    is_package = source.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    lazy = is_package and module != PACKAGE  # whose own head offers registration, which a bundle's copies lack
    names: set[str] = set()
    for node in _executed(ast.parse(source.read_text(encoding="utf-8")), lazy):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = resolve_name("." * node.level + (node.module or ""), package)
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
            case ast.Call(func=ast.Name(id="lazy_module"), args=[ast.Constant(value=str(name)), *_]):
                names.add(name)
    return names
