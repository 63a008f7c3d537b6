"""A bundle's folder turned into one that needs MONAI alone: its code inside, its configs rewritten."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate

from ..base.errors import DataError
from ..base.version import __version__
from ..registration.models.bundles import bundle_folders
from .vendor import PACKAGE, SCRIPTS, closure, named, required_packages, rewrite, vendor

__all__ = ["find_bundle", "write_standalone"]

METADATA = Path("configs", "metadata.json")
# what makes up a bundle, as against what running it leaves behind
FILES = ("LICENSE", "large_files.*", "configs/*", "docs/**/*", "models/model.pt", "models/model.json")
REWRITTEN = {"configs": {".json", ".yaml", ".yml"}, "docs": {".md", ".txt"}}
LARGE = 25 * 2**20  # bytes; the Model Zoo takes no larger file
NOTE = (
    f"> Self-contained: `{SCRIPTS}/` holds what this bundle needs of {PACKAGE} {__version__}. Run the commands in the"
    " folder of the bundle;\n> beside MONAI they need the packages that `configs/metadata.json` lists.\n"
)

logger = logging.getLogger(__name__)


def find_bundle(name: str) -> Path:
    """Find a bundle's folder.

    Args:
        name: its path, or the name of a bundle of this repository.

    Returns:
        the absolute path.

    Raises:
        DataError: there is no such bundle.
    """
    homes = bundle_folders()
    for folder in (Path(name), *(home / name for home in homes)):
        if _is_bundle(folder):
            return folder.resolve()
    known = sorted({path.name for home in homes for path in home.glob("*") if _is_bundle(path)})
    raise DataError(f"{name} is no bundle; give a folder that holds {METADATA.as_posix()}, or one of {known}")


def write_standalone(source: Path, out: Path, overwrite: bool = False) -> Path:
    """Write a copy of a bundle that runs where this package is not installed.

    The copy appears in one step when it is complete; after a failure there is none.

    Args:
        source: the bundle's folder, as :func:`find_bundle` returns it.
        out: folder in which a folder of the same name is made.
        overwrite: whether a bundle that is already there is replaced, with all that training left in it.

    Returns:
        the copy.

    Raises:
        DataError: a config names what this package does not have, the bundle has code of its own, or the copy cannot
            be written.
    """
    target = out.resolve() / source.name
    _check_target(target, source, overwrite)
    if (source / SCRIPTS).exists():
        raise DataError(f"{source} has a folder {SCRIPTS} already; export the bundle that it was made from")
    temporary = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        found = closure(_names_in_configs(source))
        for path in _files(source):
            _copy(source, path, temporary)
        vendor(found, temporary / SCRIPTS)
        _finish_metadata(temporary / METADATA, found.modules)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{target} cannot be written ({reason}); give a writable folder with free space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _is_bundle(folder: Path) -> bool:
    return (folder / METADATA).is_file()


def _check_target(target: Path, source: Path, overwrite: bool) -> None:
    if target == source or source in target.parents or target in source.parents:
        raise DataError(f"{target} is the bundle itself; give another --out")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        if not _is_bundle(target):
            raise DataError(f"{target} exists and is no bundle; give another --out")
        if not overwrite:
            raise DataError(f"{target} exists; give another --out, or --overwrite True to replace it")


def _files(source: Path) -> Iterator[Path]:
    """Paths inside the bundle of the files that belong to it."""
    for pattern in FILES:
        for path in sorted(source.glob(pattern)):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(source)


def _is_rewritten(path: Path) -> bool:
    return path.suffix in REWRITTEN.get(path.parts[0], ())


def _names_in_configs(source: Path) -> set[str]:
    texts = []
    for path in _files(source):
        if path.parts[0] == "configs" and _is_rewritten(path):
            texts.append((source / path).read_text(encoding="utf-8"))
            unknown = sorted(name for name in named(texts[-1]) if locate(name) is None)
            if unknown:
                raise DataError(f"{source / path} names {unknown[0]}, which {PACKAGE} {__version__} lacks; correct it")
    return named("\n".join(texts))


def _copy(source: Path, path: Path, copy: Path) -> None:
    target = copy / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if _is_rewritten(path):
        text = rewrite((source / path).read_text(encoding="utf-8"))
        target.write_text(_with_note(text) if path == Path("docs", "README.md") else text, encoding="utf-8")
    else:
        shutil.copyfile(source / path, target)
        _warn_if_large(source, path)


def _with_note(readme: str) -> str:
    """Put the note below the title."""
    title, _, rest = readme.partition("\n")
    return f"{title}\n\n{NOTE}{rest}" if title.startswith("#") else f"{NOTE}\n{readme}"


def _warn_if_large(source: Path, path: Path) -> None:
    size = (source / path).stat().st_size
    listings = [file.read_text(encoding="utf-8") for file in source.glob("large_files.*")]
    if size > LARGE and not any(path.as_posix() in text for text in listings):
        logger.warning(
            "%s has %d MB; the Model Zoo takes 25: upload it and give its url in large_files.yml", path, size // 2**20
        )


def _finish_metadata(path: Path, modules: list[str]) -> None:
    metadata = json.loads(path.read_text(encoding="utf-8"))
    listed = metadata.get("required_packages_version", {})
    metadata["required_packages_version"] = required_packages(modules, listed)
    path.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
