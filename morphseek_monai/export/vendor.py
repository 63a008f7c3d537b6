"""This package's modules copied into a bundle's ``scripts/``, where they work without the package."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

from ..base.lazy import names_for_type_checkers

__all__ = ["PACKAGE", "SCRIPTS", "Closure", "closure", "eager", "named", "required_packages", "rewrite", "vendor"]

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = "scripts"

_HEAD = '"""Code of this bundle."""\n'
_DOTTED = re.compile(rf"(?<![\w./-]){PACKAGE}(?:\.[A-Za-z_]\w*)+")
_FROM = re.compile(rf"\bfrom\s+({PACKAGE}[\w.]*)\s+import\s+(\w+(?:[ ,]+\w+)*)")
_PREFIX = re.compile(
    rf"(?<![\w./-]){PACKAGE}(?=\.[A-Za-z_])|(?<=\bfrom ){PACKAGE}(?= import\b)|(?<=\bimport ){PACKAGE}\b"
)
_ALIAS = re.compile(rf"\bimport\s+({PACKAGE}[\w.]*)\s+as\s+(\w+)")
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
        text: of the config file, or of all files that are read together: ``$import ... as x`` in one is used as ``x.y``
            in another.

    Example:
        >>> sorted(named('"$from morphseek_monai.fields import jacobian_determinant, warp"'))
        ['morphseek_monai.fields.jacobian_determinant', 'morphseek_monai.fields.warp']
        >>> sorted(named('"$import morphseek_monai.data as d", "$d.training_subjects(@dataset_dir)"'))
        ['morphseek_monai.data.training_subjects']
    """
    found: set[str] = set()
    for module, parts in _FROM.findall(text):
        found |= {f"{module}.{part.split()[0]}" for part in parts.split(",")}
    text = _FROM.sub("", text)
    for module, alias in _ALIAS.findall(text):
        used = set(re.findall(rf"(?<![\w.]){alias}\.([A-Za-z_]\w*)", text))
        found |= {f"{module}.{name}" for name in used} or {module}
    return found | set(_DOTTED.findall(_ALIAS.sub("", text)))


class Closure(NamedTuple):
    """What :func:`closure` finds.

    Attributes:
        modules: in the order of their paths.
        public: of each package that imports its public names lazily, those that are needed.
    """

    modules: list[str]
    public: dict[str, set[str]]


def closure(names: Iterable[str]) -> Closure:
    """Find every module that is run when the given names are used, and nothing that is not.

    A package's ``__init__.py`` is run for each of its modules, but of what it re-exports only the names that somebody
    takes from it count. Imports inside functions count too.

    Args:
        names: dotted names of modules, classes or functions of this package; that of a package alone is all its names.

    Example:
        >>> closure(["morphseek_monai.base.version.__version__"]).modules
        ['morphseek_monai', 'morphseek_monai.base', 'morphseek_monai.base.version']
    """
    modules: set[str] = set()
    public: dict[str, set[str]] = {}
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _modules_of(name)
        for module in set(path) - modules:
            modules.add(module)
            if not _homes(module):
                waiting += _imports(module)
        homes = _homes(path[-1]) if path else {}
        if homes:
            own = name[len(path[-1]) + 1 :].partition(".")[0]
            wanted = {own} & set(homes) if own else set(homes)
            public.setdefault(path[-1], set()).update(wanted)
            waiting += [homes[one] for one in wanted]
    return Closure(sorted(modules), public)


def vendor(found: Closure, folder: Path) -> None:
    """Copy modules, rewritten, keeping the package's sub-folders.

    Args:
        found: what :func:`closure` returns.
        folder: becomes the package ``scripts``.
    """
    for module in found.modules:
        source = _source(module)
        if source is not None:
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if module == PACKAGE:  # its own head offers registration, which a bundle's copies lack
                text = _HEAD
            elif _homes(module):
                text = rewrite(eager(module, found.public.get(module, set())))
            else:
                text = rewrite(source.read_text(encoding="utf-8"))
            target.write_text(text, encoding="utf-8")


def eager(package: str, names: Iterable[str]) -> str:
    """The ``__init__.py`` of a package that imports some of its public names at once, where it waited to be asked.

    MONAI Label takes ``scripts`` out of ``sys.modules`` between its calls; a later import would not find it.

    Args:
        package: one that :func:`~morphseek_monai.base.lazy.lazy_names` serves.
        names: of its public names.
    """
    source = _source(package)
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) if source else None
    homes = _homes(package)
    lines = [f'"""{docstring or package}\n"""' if "\n" in (docstring or "") else f'"""{docstring or package}"""', ""]
    for name in sorted(names):
        module, _, own = homes[name].rpartition(".")
        lines.append(f"from {module} import {own}" + (f" as {name}" if own != name else ""))
    listed = "".join(f'    "{name}",\n' for name in sorted(names))
    return "\n".join(lines) + f"\n\n__all__ = [\n{listed}]\n"


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


@cache
def _homes(module: str) -> dict[str, str]:
    """Where the public names of a package come from that imports them lazily; nothing for other modules."""
    source = _source(module)
    if source is None or source.name != "__init__.py" or module == PACKAGE:
        return {}
    return {name: f"{home}.{own}" for name, home, own in names_for_type_checkers(source, module)}


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    yield node
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if not typing:
            yield from _executed(child)


def _imports(module: str) -> set[str]:
    """Dotted names that a module imports: absolute, relative, or through ``lazy_module``."""
    source = _source(module)
    if source is None or module == PACKAGE:  # whose own head offers registration, which a bundle's copies lack
        return set()
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in _executed(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = resolve_name("." * node.level + (node.module or ""), package)
                names |= {f"{base}.{alias.name}" for alias in node.names}
            case ast.Call(func=ast.Name(id="lazy_module"), args=[ast.Constant(value=str(name)), *_]):
                names.add(name)
    return names
