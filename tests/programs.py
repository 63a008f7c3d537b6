"""Python programs in processes of their own that do not wait for the imports of torch and MONAI.

Each is a fork of a server that has imported them once. It may be killed, ends with a code and has an environment,
modules and random numbers of its own, as a process of ``python``. What is about the start of Python itself, and what it
imports, starts Python.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

IMPORTS = ["monai.bundle", "matplotlib.pyplot", "scipy.stats", "torch._dynamo", "torch.utils.tensorboard"]
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:
    CONTEXT.set_forkserver_preload(IMPORTS)

Text = str | os.PathLike[str]
Done = subprocess.CompletedProcess[str]


class Program:
    """``python WORDS``: ``-m MODULE ...``, ``-c CODE ...`` or ``FILE ...``, in a folder and an environment."""

    def __init__(self, words: Iterable[Text], cwd: Text = ".", env: Mapping[str, str] | None = None) -> None:
        self.words = [os.fspath(word) for word in words]
        self.folder = tempfile.TemporaryDirectory()
        self.files = [os.path.join(self.folder.name, name) for name in ("stdout", "stderr")]
        task = (self.words, os.path.abspath(cwd), dict(os.environ if env is None else env), self.files)
        # by its path: the server need not know the folder of the tests
        self.process = CONTEXT.Process(target=runpy.run_path, args=(__file__, {"TASK": task}, "__program__"))
        self.process.start()

    def running(self) -> bool:
        return bool(self.process.is_alive())

    def wait(self, timeout: float = 300) -> Done:
        """Its code and what it has printed; a program that takes longer is killed and an error."""
        self.process.join(timeout)
        if self.running():
            self.process.kill()
            self.process.join()
            raise subprocess.TimeoutExpired(self.words, timeout, *map(read, self.files))
        return subprocess.CompletedProcess(self.words, self.process.exitcode, *map(read, self.files))

    def kill(self) -> Done:
        """SIGKILL."""
        self.process.kill()
        return self.wait()

    def terminate(self) -> Done:
        """SIGTERM."""
        self.process.terminate()
        return self.wait()


def run(words: Iterable[Text], cwd: Text = ".", env: Mapping[str, str] | None = None, timeout: float = 300) -> Done:
    """As ``subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True)``."""
    return Program(words, cwd, env).wait(timeout)


def run_ranks(words: Sequence[Text], ranks: int, cwd: Text = ".", env: Mapping[str, str] | None = None) -> list[Done]:
    """Run a program in several processes with the environment that ``torchrun --standalone`` gives them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(ranks))
    environment = {**(os.environ if env is None else env), **shared}
    programs = [Program(words, cwd, {**environment, "RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(ranks)]
    return [program.wait() for program in programs]


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace") if os.path.exists(path) else ""


def main(words: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    """In the process of the program."""
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    first, *others = words
    here = os.path.dirname(os.path.abspath(first)) if first not in ("-m", "-c") else cwd
    sys.path[:] = [here, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    try:
        if first == "-m":
            sys.argv = others
            runpy.run_module(others[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *others[1:]]
            exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = words
            runpy.run_path(first, run_name="__main__")
    except Exception:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)


if __name__ == "__program__":
    main(*TASK)  # type: ignore[name-defined] # noqa: F821
