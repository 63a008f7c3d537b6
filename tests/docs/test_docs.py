"""The documentation is run: its Python blocks, its JSON, the ids and files that its commands name."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BUNDLES = sorted(path for path in (ROOT / "bundles").glob("*") if (path / "configs").is_dir())


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_json_blocks_parse(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def bundle_commands() -> list[tuple[Path, str]]:
    """Every command line `python -m monai.bundle run ...` of a page; a trailing backslash continues it."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                found += [(page, part.strip()) for part in line.split("&&") if "monai.bundle run" in part]
    return found


@pytest.mark.parametrize(("page", "command"), bundle_commands())
def test_commands_name_existing_files_and_ids(page: Path, command: str) -> None:
    files = re.findall(r"configs/\w+\.json", command)
    assert files, command
    options = set(re.findall(r"--([\w#]+)", command)) - {"config_file"}
    run_id = re.search(r"monai\.bundle run (\w+)", command)
    names = {option.split("#")[0] for option in options} | ({run_id.group(1)} if run_id else set())
    for bundle in BUNDLES:
        known: set[str] = set()
        for file in files:
            assert (bundle / file).is_file(), f"{name_of(bundle)} has no {file}"
            known |= {key.split("#")[0] for key in json.loads((bundle / file).read_text(encoding="utf-8"))}
        assert names <= known, f"{name_of(page)}: {bundle.name} has no id {sorted(names - known)}"
