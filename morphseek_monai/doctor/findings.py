"""All rules together, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .file_rules import check_files
from .grid_rules import Unified, check_grids
from .label_rules import check_labels
from .report import ERROR, LEVELS, OK, Finding, SubjectReport
from .split_rules import check_split

__all__ = ["findings", "merge"]


def findings(
    subjects: Sequence[SubjectReport],
    validation: Sequence[Mapping[str, Mapping[str, Any]]] = (),
    names: Mapping[int, str] | None = None,
    num_labels: int | None = None,
    unified: Unified = Unified(),  # noqa: B008  # immutable
) -> list[Finding]:
    """Judge the reports of all subjects.

    Args:
        subjects: one report per image of the training and validation lists.
        validation: the validation pairs ``{"fixed": subject, "moving": subject}``.
        names: name of each label id, as far as known.
        num_labels: number of label ids with the background; None (default) does not limit them.
        unified: what the preprocessing makes equal between subjects; nothing by default.

    Returns:
        errors first, then warnings, then what is in order.
    """
    found = [finding for subject in subjects for finding in check_files(subject)]
    found += check_labels(subjects, names or {}, num_labels)
    found += check_grids(subjects, unified)
    found += check_split(subjects, validation)
    found.append(_files(subjects))
    return merge(found)


def merge(found: Iterable[Finding]) -> list[Finding]:
    """Join findings of the same words, and sort by level.

    Args:
        found: in any order.

    Example:
        >>> merge([Finding("WARN", "a", ("x",), "odd"), Finding("WARN", "a", ("y",), "odd")])
        [Finding(level='WARN', check='a', where=('x', 'y'), what='odd', cure='')]
    """
    joined: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for level, check, where, what, cure in ((f.level, f.check, f.where, f.what, f.cure) for f in found):
        joined.setdefault((level, check, what, cure), {}).update(dict.fromkeys(where))
    merged = [Finding(level, check, tuple(w), what, cure) for (level, check, what, cure), w in joined.items()]
    return sorted(merged, key=lambda finding: LEVELS.index(finding.level))


def _files(subjects: Sequence[SubjectReport]) -> Finding:
    files = [file for subject in subjects for file in subject.files()]
    roles = Counter(file.role for file in files)
    titles = {"image": "images", "label": "label maps", "mask": "masks"}
    shown = ", ".join(f"{count} {titles[role]}" for role, count in roles.items())
    broken = sum(bool(file.error) for file in files)
    if not files:
        return Finding(ERROR, "files", (), "there is no image to check", "give a folder with images")
    return Finding(OK, "files", (), f"{shown}: {len(files) - broken} of {len(files)} files read")
