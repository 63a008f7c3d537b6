"""Plans of experiments: which rows there are, what each changes, which goes on from which."""

from __future__ import annotations

import graphlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Plan", "PlanError", "Row", "read_plan"]

Config = dict[str, Any]

# what the driver sets itself, for every run
OWN = ("seed", "dataset_dir", "ckpt_dir", "output_dir", "resume")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class PlanError(ValueError):
    """A plan, or a command about it, that cannot be carried out."""


@dataclass(frozen=True)
class Row:
    """One line of a table: a training that is repeated with every seed.

    Args:
        name: key in the plan; names the folder.
        overrides: config overrides of this row, laid over those of the plan.
        parent: row whose last weights, of the same seed, this one starts from (``"from"`` in the file); None starts
            from scratch.
        label: what tables call it.
        at: coordinates for grids and plots, e.g. ``{"J": 6, "T": 3}``.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    label: str = ""
    at: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Rows and seeds that are trained with one bundle; see :func:`read_plan`.

    Args:
        name: name of the file, names the tables.
        bundle: the bundle's folder.
        seeds: seeds of every row.
        overrides: config overrides that all rows share.
        rows: by name.
    """

    name: str
    bundle: Path
    seeds: tuple[int, ...]
    overrides: Mapping[str, Any]
    rows: Mapping[str, Row]

    def effective(self, row: str) -> Config:
        """The overrides of a row: the plan's, then its own, which come last as in a list of config files."""
        own = self.rows[row].overrides
        return {**{key: value for key, value in self.overrides.items() if key not in own}, **own}

    def digest(self, row: str) -> str:
        """What a row's result depends on, as 12 hexadecimal digits: bundle, overrides, and those of its parents.

        Neither the label nor the coordinates count, nor where data and results lie.
        """
        parent = self.rows[row].parent
        content = [self.bundle.name, self.effective(row), parent and self.digest(parent)]
        return digest(content)

    def lineage(self, row: str) -> list[str]:
        """A row and all it goes on from, the first ancestor first."""
        parent = self.rows[row].parent
        return [*(self.lineage(parent) if parent else ()), row]


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that differ where JSON content differs."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read and check a plan.

    Args:
        path: JSON file with ``bundle`` (a folder, from where the command is run), ``seeds``, ``overrides`` and
            ``rows``; each row has ``overrides`` and may have ``from``, ``label`` and ``at``, see :class:`Row`.

    Returns:
        the plan.

    Raises:
        PlanError: the file is no plan: a missing bundle, an unknown key, parent or config id, a circle.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"plan {path} cannot be read ({error}); give a JSON file") from error
    _check_keys(content, {"bundle", "seeds", "overrides", "rows"}, {"bundle", "seeds", "rows"}, f"plan {path}")
    rows = {}
    for name, entry in content["rows"].items():
        _check_keys(entry, {"overrides", "from", "label", "at"}, set(), f"row {name}")
        if not NAME.fullmatch(name):
            raise PlanError(f"row {name!r} must be named by letters, digits, '_', '.' and '-': it names a folder")
        overrides = dict(entry.get("overrides", {}))
        rows[name] = Row(name, overrides, entry.get("from"), str(entry.get("label", name)), dict(entry.get("at", {})))
    bundle = Path(content["bundle"]).resolve()
    _check_parents(rows)
    plan = Plan(path.stem, bundle, _seeds(content["seeds"]), dict(content.get("overrides", {})), rows)
    _check_ids(plan)
    return plan


def _check_keys(content: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise PlanError(f"{where} must be a JSON object, got {content!r}")
    unknown, missing = sorted(set(content) - known), sorted(needed - set(content))
    if unknown or missing:
        raise PlanError(f"{where} must have {sorted(known)}, unknown are {unknown}, missing {missing}")


def _seeds(seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise PlanError(f"'seeds' must be a list of whole numbers, got {seeds!r}")
    return tuple(dict.fromkeys(seeds))


def _check_parents(rows: Mapping[str, Row]) -> None:
    for row in rows.values():
        if row.parent is not None and row.parent not in rows:
            raise PlanError(f"row {row.name} goes on from {row.parent}, which is no row; correct its 'from'")
    try:
        graphlib.TopologicalSorter({row.name: [row.parent] if row.parent else [] for row in rows.values()}).prepare()
    except graphlib.CycleError as error:
        raise PlanError(f"rows go on from each other in a circle ({' <- '.join(error.args[1])})") from error


def _check_ids(plan: Plan) -> None:
    """MONAI would add an unknown id to the config without a word, and nobody would read it."""
    config = plan.bundle / "configs" / "train.json"
    try:
        known = set(json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise PlanError(f"{config} cannot be read ({error}); run where the plan's 'bundle' leads to it") from error
    for name, row in plan.rows.items():
        own = {*OWN, *(["init_weights"] if row.parent else [])}
        for key in plan.effective(name):
            if key.split("#")[0].lstrip("+") not in known:
                raise PlanError(f"row {name} overrides {key}, which {config} has not; correct its spelling")
            if key in own:
                raise PlanError(f"row {name} overrides {key}, which the driver sets; take it out")
