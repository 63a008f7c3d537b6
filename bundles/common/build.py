"""Write the configs of all bundles from what they share (this folder) and what sets each apart (``<bundle>.json``).

A bundle has to stand alone: MONAI, the Model Zoo and MONAI Label read its own ``configs/`` and nothing beside them. So
the shared configs are copied into every bundle, with the bundle's differences applied, as MONAI's own Auto3DSeg makes
its bundles from templates. Edit the files here, then run::

    python bundles/common/build.py

A bundle's file holds, for each config it changes, ids and their values (``"train": {"num_labels": 36}``); ids under
``"shared"`` go into ``train.json`` and ``inference.json``, where these have them. A test compares the committed bundles
with what this script makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WIDTH = 120
BUNDLES = {path.stem for path in HERE.glob("morphseek_*.json")}
CONFIGS = sorted(path.stem for path in HERE.glob("*.json") if path.stem not in BUNDLES)
SHARING = ("train", "inference")


def pretty(value: Any, indent: int = 0, used: int = 0) -> str:
    """JSON with every list and dictionary on one line where it fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + used + len(flat) + 1 <= WIDTH and indent or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        heads = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        lines = [pad + head + pretty(item, indent + 4, len(head)) for head, item in zip(heads, value.values())]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + pretty(item, indent + 4) for item in value) + "\n" + " " * indent + "]"


def read(name: str) -> dict[str, Any]:
    """A JSON file of this folder."""
    content: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content


def put(node: Any, key: str, value: Any) -> None:
    """Set ``a#b#c``; a key of an overlay may itself contain ``#``, then the longest that fits is meant."""
    parts = key.split("#")
    for n in range(len(parts) - 1, 0, -1):
        head, rest = "#".join(parts[:n]), "#".join(parts[n:])
        if isinstance(node, list):
            put(node[int(parts[0])], "#".join(parts[1:]), value)
            return
        if head in node and key not in node:
            put(node[head], rest, value)
            return
    node[int(key) if isinstance(node, list) else key] = value


def check_shared(shared: dict[str, Any], configs: Iterable[dict[str, Any]]) -> None:
    """Raise where an id under "shared" is in none of the configs: a slip of the pen would go unnoticed."""
    known = {key for config in configs for key in config}
    for key in shared:
        if key.split("#")[0] not in known:
            raise KeyError(f"'shared' names {key}, which no config has")


def config(bundle: str, name: str) -> dict[str, Any]:
    """One config of a bundle: the shared one with the bundle's differences."""
    result, different = read(name), read(bundle)
    for key, value in different["shared"].items() if name in SHARING else ():
        if key.split("#")[0] in result:
            put(result, key, value)
    for key, value in different.get(name, {}).items():
        put(result, key, value)
    return result


def files(bundle: str) -> dict[str, str]:
    """The generated files of a bundle, by path inside it."""
    check_shared(read(bundle)["shared"], map(read, SHARING))
    texts = {f"configs/{name}.json": pretty(config(bundle, name)) + "\n" for name in CONFIGS}
    for source, target in (("logging.conf", "configs/logging.conf"), ("LICENSE", "LICENSE")):
        texts[target] = (HERE / source).read_text(encoding="utf-8")
    return texts


if __name__ == "__main__":
    for name in sorted(BUNDLES):
        for path, text in files(name).items():
            target = HERE.parent / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
