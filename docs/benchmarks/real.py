"""Compare ``morphseek register`` with registration programs on real scans: Dice, folding, HD95, time and memory.

    python docs/benchmarks/real.py run --data DATA --out real.csv --split report
    python docs/benchmarks/real.py run --data DATA --out real.csv --tools '' --ours "register=." "fast=. --refine off"
    python docs/benchmarks/real.py table real.csv
    python docs/benchmarks/real.py plot real.csv --out real_pareto.png

Every tool gets the same files as they are, finds its own affine and runs in a process of its own. Rows that are there
already are skipped, so that the same command goes on after an interruption. docs/benchmarks/real.md explains pairs,
settings and columns.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from scans.measure import measure_pairs
from scans.pairs import SPLITS, load_pairs, set_names
from scans.report import plot_pareto, report
from scans.rows import Row, Rows
from scans.tools import PROGRAMS, Tool, ours, program


def parse(command_line: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="register and append rows")
    run.add_argument("--data", type=Path, required=True, help="folder with the folders of the sets")
    run.add_argument("--out", type=Path, required=True, help="CSV file")
    run.add_argument("--split", default="report", choices=SPLITS, help="default report")
    run.add_argument("--sets", help=f"comma-separated, of {', '.join(set_names())}; default all")
    run.add_argument("--tools", help=f"comma-separated, of {', '.join(PROGRAMS)}; default all; '' for none")
    run.add_argument("--ours", nargs="+", default=[], metavar="'NAME=CHECKOUT [OPTION ...]'", help="morphseek register")
    run.add_argument("--pairs", type=int, help="the first N pairs of every set only")
    run.add_argument("--threads", type=int, default=1, help="default 1")
    run.add_argument("--limit", type=float, default=3600, help="seconds a registration may take; default 3600")
    run.add_argument("--again", action="store_true", help="repeat what ended in an error")
    for name, task in (("table", "print Markdown"), ("plot", "draw Dice against processor seconds")):
        reader = commands.add_parser(name, help=task)
        reader.add_argument("results", type=Path, nargs="+", help="CSV files that run wrote")
        reader.add_argument("--split", default="report", choices=SPLITS, help="default report")
        reader.add_argument("--tools", help="comma-separated; default all")
    commands.choices["plot"].add_argument("--out", type=Path, required=True, help="picture")
    return parser.parse_args(command_line)


def chosen_tools(args: argparse.Namespace) -> list[Tool]:
    """The tools of the command ``run``."""
    names = list(PROGRAMS) if args.tools is None else [name for name in args.tools.split(",") if name]
    return [*map(program, names), *map(ours, args.ours)]


def run(args: argparse.Namespace) -> int:
    """Measure; 1 when a pair failed."""
    sets = set_names() if args.sets is None else args.sets.split(",")
    pairs = [pair for name in sets for pair in load_pairs(args.data, args.split, name)[: args.pairs]]
    failed = 0
    for tool in chosen_tools(args):
        failed += measure_pairs(tool, pairs, Rows(args.out), args.threads, args.limit, args.again)
    return int(failed > 0)


def rows_to_show(args: argparse.Namespace) -> list[Row]:
    """Rows of the chosen split, sets in the order of the listing, tools as chosen or as they come."""
    rows = [row for path in args.results for row in Rows(path).read() if row.split == args.split]
    rows = list({row.key: row for row in rows}.values())  # files may share rows
    if args.tools is not None:
        order = args.tools.split(",")
        missing = sorted(set(order) - {row.tool for row in rows})
        if missing:
            raise ValueError(f"there are no rows of {', '.join(missing)} in the split {args.split}")
        rows = [row for name in order for row in rows if row.tool == name]
    return [row for name in set_names() for row in rows if row.set == name]


def main(command_line: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    args = parse(sys.argv[1:] if command_line is None else command_line)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the registration in progress is ended, too
    try:
        if args.command == "run":
            return run(args)
        rows = rows_to_show(args)
        if args.command == "table":
            print(report(rows))
        else:
            plot_pareto(rows, args.out)
        return 0
    except Exception as error:  # one line, whatever was wrong with the files
        print(f"FAILED {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
