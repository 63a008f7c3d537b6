"""The documentation as a site: every public name has a place, and no Sphinx role is left. Needs the extra ``docs``.

``SITE=folder`` looks at a site that is built already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from morphseek_monai.base.lazy import names_for_type_checkers

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "morphseek_monai"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "SITE" in os.environ:
        return Path(os.environ["SITE"])
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return folder


@pytest.mark.slow
def test_every_public_name_has_an_anchor(site: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (site / "api").rglob("*.html")]
    anchors = {anchor for page in pages for anchor in re.findall(r'id="([\w.]+)"', page)}
    homes = {}
    for file in (PACKAGE / "__init__.py", *PACKAGE.glob("*/__init__.py")):
        facade = ".".join(file.parent.relative_to(ROOT).parts)
        for name, module, own in names_for_type_checkers(file, facade):
            homes[f"{facade}.{name}"] = f"{module}.{own}"
    assert len(homes) > 130
    assert [path for path, home in homes.items() if not {path, home} & anchors] == []


@pytest.mark.slow
def test_no_mark_of_another_language_is_left(site: Path) -> None:
    pages = {path.parent.name: path.read_text(encoding="utf-8") for path in (site / "api").rglob("*.html")}
    assert len(pages) > 12
    role = re.compile(r":(?:class|func|meth|data|mod|attr|exc):\S*")
    assert [f"{name}: {mark}" for name, page in pages.items() for mark in role.findall(page)] == []
    assert sum(page.count("&gt;&gt;&gt;") for page in pages.values()) > 100  # examples are code, not quotations
    assert re.search(r'<a class="autorefs[^>]*href="[^"]*#morphseek_monai[^>]*><code>', pages["registration"])


@pytest.mark.slow
def test_pages_from_outside_are_there(site: Path) -> None:
    names = ("bundles/morphseek_phantom", "contributing", "changelog", "findings")
    assert [name for name in names if not (site / name / "index.html").is_file()] == []
    card = (site / "atlas" / "index.html").read_text(encoding="utf-8")
    assert 'href="../bundles/morphseek_brain_atlas_segmentation/"' in card
