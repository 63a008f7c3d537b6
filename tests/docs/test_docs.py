"""The documentation is run: its Python blocks, its JSON, the ids and files that its commands name."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path for path in (ROOT / "bundles").glob("*") if (path / "configs").is_dir())
BUNDLE_PAGES = [page for bundle in BUNDLES for page in sorted((bundle / "docs").glob("*.md"))]
TOP_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "findings/README.md", "bundles/common/README.md")]
PAGES = [*TOP_PAGES, *sorted((ROOT / "docs").rglob("*.md")), *BUNDLE_PAGES]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.M | re.S)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_blocks(page: Path, folder: Path) -> None:
    """Run the Python blocks of a page as one module; a file, since TorchScript wants to see the source."""
    source = folder / f"page_{page.stem}.py"
    source.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[source.stem]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run_and_print_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(page, tmp_path)
    promised = re.findall(r"^ *print\(.*\)  # (.*)$", "\n".join(blocks(page, "python")), re.M)
    assert capsys.readouterr().out.splitlines() == promised


def test_json_blocks_parse() -> None:
    found, broken = 0, []
    for page in PAGES:
        for number, block in enumerate(blocks(page, "json"), 1):
            found += 1
            try:
                json.loads(block)
            except ValueError as error:
                broken.append(f"{name_of(page)}, block {number}: {error}")
    assert found > 10
    assert broken == []


def test_links_lead_somewhere() -> None:
    found, broken = 0, []
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        local = [target for target in targets if "://" not in target]
        found += len(local)
        broken += [f"{name_of(page)}: {target}" for target in local if not (page.parent / target).exists()]
    assert found > 100
    assert broken == []


def bundles_of(page: Path) -> list[Path]:
    """The bundle that a page belongs to; a page of the project speaks of all bundles that train."""
    training = [bundle for bundle in BUNDLES if (bundle / "configs" / "train.json").is_file()]
    return [bundle for bundle in BUNDLES if bundle in page.parents] or training


def bundle_commands() -> list[tuple[str, str]]:
    """Bundles with each command line `python -m monai.bundle run ...` that a page gives for them."""
    found = []
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            commands = [part.strip() for part in line.split("&&") if "python -m monai.bundle run" in part]
            found += [(name_of(bundle), command) for command in commands for bundle in bundles_of(page)]
    return sorted(set(found))


def inline_options() -> list[tuple[str, str]]:
    """Bundles with each override that stands in the text of a page, as in `--labelled 16`."""
    found = []
    for page in PAGES:
        spans = re.findall(r"`(--[^`]+)`", page.read_text(encoding="utf-8"))
        found += [(name_of(bundle), span) for span in spans for bundle in bundles_of(page)]
    return sorted(set(found))


def program_options() -> set[str]:
    """Names of the options of all `morphseek` commands."""
    from morphseek_monai.apps.main import COMMANDS, find_command

    return {"from", *(name for command in COMMANDS for name in inspect.signature(find_command(command)).parameters)}


def read_configs(bundle: Path, files: list[str]) -> dict[str, Any]:
    """The ids of some config files of a bundle, later files over earlier ones."""
    merged: dict[str, Any] = {}
    for file in files:
        assert (bundle / file).is_file(), f"{name_of(bundle)} has no {file}"
        merged |= json.loads((bundle / file).read_text(encoding="utf-8"))
    return merged


def unknown_options(text: str, config: dict[str, Any]) -> list[str]:
    """Overrides in ``text`` whose id is not in ``config``; the last part of ``a#b#c`` may be an argument left out."""
    unknown = []
    for option in re.findall(r"(?<![\w-])--([\w#]+)", text):
        if option in ("config_file", "tracking", "help"):  # MONAI's and everybody's own
            continue
        first, *path = option.split("#")
        node: Any = config.get(first)
        for key in path[:-1]:
            node = node[int(key)] if isinstance(node, list) else node.get(key)
        if first not in config or (path and not isinstance(node, dict | list)):
            unknown.append(option)
    return unknown


def test_commands_name_existing_files_and_ids() -> None:
    commands, wrong = bundle_commands(), []
    assert len(commands) > 50
    for bundle, command in commands:
        config = read_configs(ROOT / bundle, re.findall(r"configs/\w+\.json", command))
        run_id = re.search(r"monai\.bundle run (\w+)", command)
        if run_id is None or run_id.group(1) not in config or unknown_options(command, config):
            wrong.append(f"{bundle}: {command}: {unknown_options(command, config)}")
    assert wrong == []


def test_overrides_in_the_text_exist() -> None:
    spans, known, wrong = inline_options(), program_options(), []
    assert len(spans) > 50
    for bundle, span in spans:
        files = [f"configs/{name}.json" for name in ("inference", "train")]
        config = read_configs(ROOT / bundle, [file for file in files if (ROOT / bundle / file).is_file()])
        wrong += [f"{bundle}: {span}: {option}" for option in unknown_options(span, config) if option not in known]
    assert wrong == []


def test_values_on_the_command_line_are_python() -> None:
    """Fire reads ``False``; ``false`` would arrive as a text, which is true."""
    pattern = re.compile(r"--[\w#]+[ =](?:true|false|null)\b")
    assert pattern.findall("--amp false --resume=null --quiet True") == ["--amp false", "--resume=null"]
    found = [f"{name_of(page)}: {span}" for page in PAGES for span in pattern.findall(page.read_text(encoding="utf-8"))]
    assert len(PAGES) > 30
    assert found == []


def test_modules_named_in_text_exist() -> None:
    """Paths and dotted names of the package, in pages, in docstrings and in the documentation's own scripts."""
    pattern = re.compile(r"\bmorphseek_monai((?:[./]\w+)+)")
    scripts = [*(ROOT / "docs").rglob("*.py"), *(ROOT / "morphseek_monai").rglob("*.py")]
    found, missing = 0, []
    for page in [*PAGES, *scripts]:
        for match in pattern.finditer(page.read_text(encoding="utf-8")):
            place = ROOT / "morphseek_monai"
            for part in re.split(r"[./]", match[1][1:].removesuffix(".py")):
                if (place / part).is_dir():
                    place = place / part
                    continue
                known = (place / f"{part}.py").is_file() or part in (place / "__init__.py").read_text(encoding="utf-8")
                missing += [] if known or part == "md" else [f"{name_of(page)}: {match[0]}"]
                break
            found += 1
    assert found > 500
    assert missing == []
