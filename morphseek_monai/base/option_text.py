"""Options that are text stay text on a command line, and paths are made absolute.

Fire reads every value as Python where it can: a folder ``20240101_01`` would become the number 2024010101, ``1.10`` the
folder ``1.1``, ``run#3`` the folder ``run``, and ``a,b`` a pair. What is text is therefore put in quotes for it. Its
own way, a decorator, lists the decoration among the commands.

A path is absolute before anything is loaded: libraries change the working folder of the process, and what was relative
would then be somewhere else.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import DataError

__all__ = ["PathText", "PathWord", "TransformText", "quote_texts"]

# kinds of text, told by the name of the annotation
PathText = str  # a file or folder to read or write
TransformText = str  # the same, perhaps after the name of its format: fsl:flirt.mat
PathWord = str  # the same, a bundle's folder, or a word: auto, the name of a bundle

_PATHS = {"PathText", "TransformText", "PathWord"}
_TEXT = {"str", "None"} | _PATHS
_TEXTS = _TEXT | {f"Sequence[{kind}]" for kind in ("str", *_PATHS)}
_FORMAT = re.compile(r"[a-z][a-z0-9-]+:")  # longer than the letter of a drive
_WORDS = {"auto", "off", "rigid", "similarity"}
_FLAG = re.compile("--|-[a-zA-Z]")  # what Fire takes for the name of an option


def quote_texts(
    words: Sequence[str], command: Callable[..., object], name: str, like: Callable[..., object] | None = None
) -> list[str]:
    """Put the values of options that are text in quotes, so that Fire gives the command what was typed, paths absolute.

    Args:
        words: of the command line, after the command.
        command: its function, whose annotations are not evaluated (``from __future__ import annotations``): those that
            are text, or one or several texts, say which options are meant; :data:`PathText` and its like are paths.
        name: of the command, for the message.
        like: a function whose options ``command`` takes as ``**options``.

    Raises:
        DataError: an option of text has no value, as an empty shell variable leaves it; Fire would take ``True``. Or a
            path is relative to a folder that was removed.

    Example:
        >>> def write(out: str, number: int): ...
        >>> quote_texts(["1.10", "--number", "3"], write, "write")
        ["'1.10'", '--number', '3']
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = list(inspect.signature(like).parameters.values()) if like else []
    kinds = {p.name: set(str(p.annotation).split(" | ")) for p in [*others, *own]}
    found, free, given = list(words), [], set()
    index = 0
    while index < len(words) and words[index] != "--":  # what follows is for Fire
        word = words[index]
        if not _FLAG.match(word):
            free.append(index)
        else:
            flag, equals, value = word.partition("=")
            option = _option(flag, [p.name for p in own], kinds)
            given.add(option)
            if equals:
                found[index] = f"{flag}={_quoted(value, kinds.get(option))}"
            elif index + 1 < len(words) and not _FLAG.match(words[index + 1]):
                index += 1
                found[index] = _quoted(words[index], kinds.get(option))
            elif any(kinds.get(key, {""}) <= _TEXTS for key in (option, option.removeprefix("no"))):
                raise DataError(f"{name}: {flag} needs a value, got none; write {flag} VALUE, or leave it out")
        index += 1
    for place, parameter in zip(free, [p.name for p in own if p.name not in given]):
        found[place] = _quoted(words[place], kinds[parameter])
    return found


def _option(flag: str, own: list[str], kinds: dict[str, set[str]]) -> str:
    """The name that Fire takes a flag for; one letter is short for the one option that begins with it."""
    option = flag.lstrip("-").replace("-", "_")
    short = [name for name in own if name[0] == option]
    return short[0] if option not in kinds and len(short) == 1 else option


def _quoted(value: str, kinds: set[str] | None) -> str:
    if kinds is None or not kinds <= _TEXTS:
        return value
    if kinds <= _TEXT:
        return repr(_absolute(value, kinds))
    listed = value.startswith("[") and value.endswith("]")
    try:
        texts = [str(item) for item in ast.literal_eval(value)] if listed else value.split(",")
        texts = [value] if os.path.exists(value) else texts  # a comma may be part of a name
    except (ValueError, SyntaxError):  # [a,b]
        texts = [item.strip() for item in value[1:-1].split(",")]
    texts = [_absolute(text, {kind[9:-1] for kind in kinds} | kinds) for text in texts]
    return repr(texts if listed or len(texts) > 1 else texts[0])


def _absolute(text: str, kinds: set[str]) -> str:
    """A path in its place; empty text, and a word where one may stand, as they are."""
    if not text or not kinds & _PATHS:
        return text
    form = _FORMAT.match(text) if "PathText" not in kinds and not os.path.exists(text) else None
    path = text[form.end() :] if form else text
    there = os.path.isfile(path) or os.path.isdir(os.path.join(path, "configs"))
    if not path or ("PathWord" in kinds and (text in _WORDS or not there)):
        return text
    try:
        return text[: len(text) - len(path)] + str(Path(path).absolute())
    except FileNotFoundError as error:
        raise DataError(f"the working folder is gone, and {path} is relative to it; change to another one") from error
