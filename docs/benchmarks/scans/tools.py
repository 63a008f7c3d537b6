"""The tools by name: how each is started, its version and its settings."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from .programs.morphseek import RESULT

BENCHMARKS = Path(__file__).resolve().parents[1]
OURS = "morphseek"
PROGRAMS = {
    "headers": ("headers", ""),
    "greedy": ("greedy", ""),
    "ants": ("ants_syn", "SyN"),
    "ants-cc": ("ants_syn", "SyNCC"),
    "elastix": ("elastix", ""),
    "convexadam": ("convex_adam", ""),
    "dipy": ("dipy_syn", ""),
}
THREADS = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Tool(NamedTuple):
    """A registration program as it is run.

    Attributes:
        name: in the tables; rows of one name have one version and one setting.
        version: of the package.
        settings: in words.
        module: of :mod:`scans.programs`.
        arguments: of the registration.
        checkout: folder that has the package ``morphseek_monai``, for our own.
    """

    name: str
    version: str
    settings: str
    module: str
    arguments: tuple[str, ...] = ()
    checkout: Path | None = None

    def register(self, fixed: str, moving: str, folder: Path) -> list[str]:
        """The command that is measured."""
        if self.checkout is None:
            return [*self._program("register"), str(folder), fixed, moving, *self.arguments]
        command = [sys.executable, "-m", "morphseek_monai", "register", "--fixed", fixed, "--moving", moving]
        return [*command, "--out", str(folder / RESULT), *self.arguments]

    def apply(self, fixed: str, label: str, folder: Path) -> list[str]:
        """The command that makes ``label.npy`` and ``field.npy``."""
        return [*self._program("apply"), str(folder), fixed, label]

    def environment(self, threads: int) -> dict[str, str]:
        """Variables of both commands."""
        paths = [str(BENCHMARKS)] if self.checkout is None else [str(self.checkout), str(BENCHMARKS)]
        return {**os.environ, **dict.fromkeys(THREADS, str(threads)), "PYTHONPATH": os.pathsep.join(paths)}

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Those of a registration that left a transform: ours are its verdict, succeeded, failed or doubtful."""
        return (0,) if self.checkout is None else (0, 1, 3)

    def _program(self, command: str) -> list[str]:
        return [sys.executable, "-m", f"scans.programs.{self.module}", command]


def program(name: str) -> Tool:
    """A tool of :data:`PROGRAMS`.

    Raises:
        ValueError: When there is none of that name.
        importlib.metadata.PackageNotFoundError: When its package is not installed.
    """
    if name not in PROGRAMS:
        raise ValueError(f"a tool must be one of {', '.join(PROGRAMS)}, got {name!r}")
    module, kind = PROGRAMS[name]
    about = importlib.import_module(f"{__package__}.programs.{module}")
    settings = about.SETTINGS[kind] if kind else about.SETTINGS
    arguments = (kind,) if kind else ()
    return Tool(name, f"{about.PACKAGE} {version(about.PACKAGE)}", settings, module, arguments)


def ours(text: str) -> Tool:
    """``morphseek register`` of a checkout: ``NAME=CHECKOUT [OPTION ...]``, for example ``"register=. --affine auto"``.

    The version is that of the checkout with its commit, where it is one of Git.

    Raises:
        ValueError: When the text is of another form or the folder has no package ``morphseek_monai``.
    """
    name, _, rest = text.partition("=")
    words = shlex.split(rest)
    if not name or not words or name in PROGRAMS:
        raise ValueError(f"--ours must be 'NAME=CHECKOUT [OPTION ...]' with a name of its own, got {text!r}")
    checkout, options = Path(words[0]).resolve(), words[1:]
    source = next((checkout / "morphseek_monai").glob("**/version.py"), None)  # older ones have it elsewhere
    if source is None:
        raise ValueError(f"--ours {name!r} wants a folder that holds morphseek_monai, got {words[0]!r}")
    number = source.read_text(encoding="utf-8").split('__version__ = "')[1].split('"')[0]
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    settings = " ".join(["morphseek register", *options])
    return Tool(name, f"morphseek_monai {number} {commit}".strip(), settings, OURS, tuple(options), checkout)
