"""Pages that lie outside ``docs`` (model cards, CONTRIBUTING, CHANGELOG, findings): shown, and reached by links."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = {
    **{f"bundles/{card.parts[-3]}.md": card for card in sorted(ROOT.glob("bundles/morphseek_*/docs/README.md"))},
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "findings.md": ROOT / "findings" / "README.md",
}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Put the outside pages among those of the site."""
    from mkdocs.structure.files import File

    for page, source in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(source)))
    return files


def follow(text: str, page: str) -> str:
    """Turn links between files of the repository into links between pages of the site.

    Args:
        text: Markdown of the page.
        page: its path in the site, e.g. ``"benchmarks/real.md"``.

    Returns:
        The text; what a link names and the site lacks (a script, a folder) is shown without a link.
    """
    source = OUTSIDE.get(page, DOCS / page)
    pages = {path.resolve(): name for name, path in OUTSIDE.items()}

    def link(match: re.Match[str]) -> str:
        shown, target, anchor = match.groups()
        path = (source.parent / target).resolve()
        if not path.exists():  # an address, or code that looks like a link
            return match[0]
        name = pages.get(path) or (path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else "")
        if not name or path.suffix not in (".md", ".png", ".jpg", ".ipynb"):
            return str(shown)
        return f"[{shown}]({posixpath.relpath(name, posixpath.dirname(page))}{anchor or ''})"

    return LINK.sub(link, text)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """What MkDocs calls before it renders a page."""
    return follow(markdown, page.file.src_uri)
