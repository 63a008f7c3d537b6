"""Which images a training run would use, read so that one fault does not hide the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ..base.errors import DataError, collect_errors, find_data_error
from ..data.layouts.learn2reg import label_names
from ..data.layouts.lits import LITS_LABELS
from ..data.layouts.registry import LAYOUTS, detect_layout
from ..data.layouts.subjects import Entry, EntryPair, is_pair
from ..data.pairs.loading import file_of

__all__ = ["Listing", "list_data", "list_folder", "names_of"]



class Listing(NamedTuple):
    """What the lists of a data set hold.

    Attributes:
        subjects: each image once, with the sides it is on.
        validation: the validation pairs.
        errors: what is wrong with the lists, one line each.
        layout: name of the folder's layout, ``""`` where a config made the lists.
    """

    subjects: list[tuple[Entry, tuple[str, ...]]]
    validation: list[EntryPair]
    errors: list[str]
    layout: str = ""


def list_folder(
    dataset_dir: str | os.PathLike[str], layout: str = "auto", validation: Sequence[int] | None = None
) -> Listing:
    """List the images of a folder in one of the known layouts.

    Args:
        dataset_dir: the folder.
        layout: a key of :data:`~morphseek_monai.data.LAYOUTS`, or ``"auto"`` (default).
        validation: numbers of the held-out cases, where the layout does not say them; None (default) leaves
            them to the layout.

    Raises:
        DataError: no such folder or layout.
    """
    name = detect_layout(dataset_dir) if layout == "auto" else layout
    if name not in LAYOUTS:
        raise DataError(f"'layout' must be auto or one of {', '.join(LAYOUTS)}, got {layout!r}")
    if not os.path.isdir(dataset_dir):
        raise DataError(f"dataset_dir {dataset_dir} does not exist; give the folder of the data set")
    chosen = {} if validation is None else {"validation": validation}
    if chosen and name == "learn2reg":
        raise DataError("'validation' is for layouts that do not say it; a Learn2Reg json lists registration_val")
    readers = LAYOUTS[name]
    training, validation_pairs = (
        partial(read, dataset_dir, **chosen) for read in (readers.training, readers.validation)
    )
    return list_data(training, validation_pairs)._replace(layout=name)


def list_data(training: Callable[[], Sequence[Entry]], validation: Callable[[], Sequence[Entry]]) -> Listing:
    """Call the two readers and unite what they return.

    Args:
        training: returns subjects or pairs, as :class:`~morphseek_monai.data.PairDataset` takes them.
        validation: likewise.

    Returns:
        the lists, as far as they could be read.
    """
    errors: list[str] = []
    entries: dict[str, list[Entry]] = {}
    for side, read in (("training", training), ("validation", validation)):
        with collect_errors() as found:
            try:
                entries[side] = list(read())
            except Exception as error:  # MONAI wraps what a config's reader raises
                known = find_data_error(error)
                if known is None:
                    raise
                found.append(known)
        errors += map(str, found)
    subjects: dict[str, Entry] = {}
    sides: dict[str, dict[str, None]] = {}
    for side, listed in entries.items():
        for entry in listed:
            for image in (entry["fixed"], entry["moving"]) if is_pair(entry) else (entry,):
                path = file_of(image, "image")
                subjects[path] = {**subjects.get(path, {}), **image}
                sides.setdefault(path, {})[side] = None
    return Listing(
        [(subject, tuple(sides[path])) for path, subject in subjects.items()],
        [pair for pair in entries.get("validation", []) if is_pair(pair)],
        list(dict.fromkeys(errors)),
    )


def names_of(dataset_dir: str | os.PathLike[str]) -> dict[int, str]:
    """Names of the label ids, background included; empty where the folder does not tell them.

    Args:
        dataset_dir: the folder.
    """
    try:
        return label_names(dataset_dir) if detect_layout(dataset_dir) == "learn2reg" else dict(LITS_LABELS)
    except DataError:
        return {}
