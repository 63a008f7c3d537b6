"""Compare networks of this package with registration programs: Dice, folding, HD95 and time on the validation pairs.

    python docs/benchmarks/tools.py run --dataset_dir DATA --out tools.csv --threads 2 --networks networks.json
    python docs/benchmarks/tools.py table tools.csv
    python docs/benchmarks/tools.py plot tools.csv --pareto pareto.png --structures structures.png

The programs are Python packages (docs/benchmarks/tools_requirements.txt). Each runs in a process of its own with the
given number of threads; one that fails is reported and does not stop the others. Rows that are there already are
skipped, so that the same command goes on after an interruption. docs/benchmarks/tools.md explains settings and columns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from comparison.ants_syn import AntsSyN
from comparison.convex_adam import ConvexAdam
from comparison.elastix import Elastix
from comparison.greedy import Greedy
from comparison.measure import Pair, ids_of, measure_pairs
from comparison.network import Network, listed_networks
from comparison.report import plot_pareto, plot_structures, report, tools_of
from comparison.results import Results
from comparison.tool import Identity, Tool

from morphseek_monai.data import label_names, validation_pairs

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_brain_mri_oasis"
TOOLS: dict[str, Callable[[int], Tool]] = {
    "identity": lambda threads: Identity(),
    "ants-mi": lambda threads: AntsSyN(threads, "mattes"),
    "greedy": Greedy,
    "convexadam": ConvexAdam,
    "elastix": Elastix,
    "ants-cc": lambda threads: AntsSyN(threads, "CC"),
}
SLOW = ("ants-cc",)  # minutes a pair


def pairs_for(name: str, args: argparse.Namespace) -> list[Pair]:
    """The first validation pairs, as many as ``name`` is to register."""
    pairs: list[Pair] = list(validation_pairs(args.dataset_dir))
    pairs = pairs[: args.pairs]
    return pairs[: args.slow_pairs] if name in SLOW else pairs


def run_one(name: str, args: argparse.Namespace) -> int:
    """Run one tool in this process; 1 when a pair failed."""
    networks = listed_networks(args)
    tool = Network(**networks[name]) if name in networks else TOOLS[name](args.threads)
    names = label_names(args.dataset_dir)
    return int(measure_pairs(name, tool, pairs_for(name, args), names, Results(args.out), args.threads) > 0)


def start_in_new_process(name: str, args: argparse.Namespace) -> int:
    """Run one tool with this program's arguments in a new process, which reads its number of threads at its start."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), str(args.threads))
    command = [sys.executable, str(Path(__file__).resolve()), *args.command_line, "--only", name]
    return subprocess.run(command, env={**os.environ, **threads}).returncode


def run_all(args: argparse.Namespace, start: Callable[[str, argparse.Namespace], int] = start_in_new_process) -> int:
    """Run every chosen tool that has pairs left; 1 when one of them failed.

    Args:
        args: of the command ``run``.
        start: runs one tool and returns its exit code.
    """
    networks = listed_networks(args)
    clash = set(networks) & set(TOOLS)
    if clash:
        raise ValueError(f"networks must not be called like tools, got {sorted(clash)}; rename them")
    chosen = list(TOOLS) if args.tools is None else [name for name in args.tools.split(",") if name]
    chosen += [name for name in networks if name not in chosen]
    unknown = [name for name in chosen if name not in TOOLS and name not in networks]
    if unknown:
        raise ValueError(f"--tools must be of {', '.join([*TOOLS, *networks])}, got {', '.join(unknown)}")
    results = Results(args.out)
    codes = {name: start(name, args) for name in chosen if _has_work(name, args, results)}
    failed = ", ".join(f"{name} (exit code {code})" for name, code in codes.items() if code)
    if failed:
        print(f"FAILED: {failed}; run the same command again to repeat only these", file=sys.stderr)
    return int(bool(failed))


def _has_work(name: str, args: argparse.Namespace, results: Results) -> bool:
    return bool({ids_of(pair) for pair in pairs_for(name, args)} - results.done(name))


def parse(command_line: Sequence[str]) -> argparse.Namespace:
    """The command line, which is kept as ``command_line``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="register and append rows")
    run.add_argument("--dataset_dir", type=Path, required=True, help="folder in Learn2Reg's layout")
    run.add_argument("--out", type=Path, required=True, help="CSV file; the structures go to OUT_structures.csv")
    run.add_argument("--tools", help=f"comma-separated, of {', '.join(TOOLS)} and the networks; default all")
    run.add_argument("--pairs", type=int, help="the first N pairs only")
    run.add_argument("--slow_pairs", type=int, default=2, help=f"the first N pairs for {', '.join(SLOW)}; default 2")
    run.add_argument("--threads", type=int, default=2, help="default 2")
    run.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help="networks of the bundle")
    run.add_argument("--networks", type=Path, help="JSON file {name: {weights, overlays, overrides}}")
    run.add_argument("--network_overrides", default="{}", help="JSON: config entries by id, for all networks")
    run.add_argument("--bundle", type=Path, default=BUNDLE, help="that the networks come from")
    run.add_argument("--only", help=argparse.SUPPRESS)
    table = commands.add_parser("table", help="print Markdown")
    plot = commands.add_parser("plot", help="draw")
    for reader in (table, plot):
        reader.add_argument("results", type=Path, help="CSV file that run wrote")
        reader.add_argument("--tools", help="comma-separated; default all")
    plot.add_argument("--pareto", type=Path, help="picture: Dice against seconds")
    plot.add_argument("--structures", type=Path, help="picture: Dice of every structure")
    return argparse.Namespace(**vars(parser.parse_args(command_line)), command_line=list(command_line))


def show(args: argparse.Namespace) -> None:
    """Print the tables or draw the plots."""
    results = Results(args.results)
    rows = results.rows()
    chosen = tools_of(rows) if args.tools is None else args.tools.split(",")
    missing = sorted(set(chosen) - set(tools_of(rows)))
    if missing or not rows:
        raise ValueError(f"{args.results} has no rows of {', '.join(missing) or 'any tool'}")
    rows = [row for tool in chosen for row in rows if row.tool == tool]
    if args.command == "table":
        print(report(rows))
        return
    if args.pareto is not None:
        plot_pareto(rows, args.pareto)
    if args.structures is not None:
        plot_structures(results.structures(), chosen, args.structures)


def main(command_line: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    args = parse(sys.argv[1:] if command_line is None else command_line)
    try:
        if args.command != "run":
            show(args)
            return 0
        return run_one(args.only, args) if args.only else run_all(args)
    except Exception as error:  # one line, whatever a tool's package raises while it loads
        name = f"{args.only}: " if getattr(args, "only", None) else ""
        print(f"FAILED {name}{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
