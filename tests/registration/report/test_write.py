"""`report.html` and `report.png` as files that stand alone."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.report import ReportContent, write_report
from morphseek_monai.registration.report.page import make_page
from morphseek_monai.registration.report.panels import Bar, make_panels
from morphseek_monai.registration.report.planes import PLANES

MakeContent = Callable[..., ReportContent]
VOID = {"meta", "img", "input", "br", "link"}
PANELS = (
    "fixed",
    "before",
    "aligned",
    "warped",
    "checkerboard",
    "difference-before",
    "difference-aligned",
    "difference-warped",
    "grid",
    "jacobian",
    "displacement",
    "uncertainty",
)


class Page(HTMLParser):
    """Tags with their attributes, text, and whether every tag is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def written(folder: Path, content: ReportContent) -> Page:
    write_report(folder, content)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def picture(image: dict[str, str]) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).convert("RGB"))


def test_page_shows_every_panel_in_three_planes_with_words(make_content: MakeContent, tmp_path: Path) -> None:
    content = make_content()
    page = written(tmp_path, content)
    images = page.all("img")
    assert all(image["alt"] for image in images)
    by_id = {image["id"]: image for image in images if "id" in image}
    panels = make_panels(content)
    assert set(by_id) == {f"{key}-{plane}" for key in PANELS for plane in ("axial", "coronal", "sagittal")}
    for key in PANELS:
        for indices, plane in zip(panels[key].indices, ("axial", "coronal", "sagittal")):
            image = by_id[f"{key}-{plane}"]
            assert image["alt"] == f"{panels[key].title}, {plane} plane"
            np.testing.assert_array_equal(picture(image), panels[key].palette[indices])
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_page_needs_nothing_from_outside(make_content: MakeContent, tmp_path: Path) -> None:
    page = written(tmp_path, make_content())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", text).replace("// ", ""))
    assert all(attributes["src"].startswith("data:") for _, attributes in page.tags if "src" in attributes)
    assert not page.all("link") and not any("href" in attributes for _, attributes in page.tags)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_page_says_the_verdict_its_reasons_and_numbers(make_content: MakeContent, tmp_path: Path) -> None:
    page = written(tmp_path, make_content())
    assert "Registration is doubtful" in page.text and "Registration succeeded" not in page.text
    reason = page.text.index("folding 1.25 %, wanted: at most 0.5 %; the map is not one-to-one there")
    assert reason < page.text.index("the sform was used") < page.text.index("mean squared local correlation")
    assert "Radiological convention" in page.text and "oblique" not in page.text


def test_page_of_a_success_has_no_reasons(make_content: MakeContent, tmp_path: Path) -> None:
    checks = [check._replace(outcome="succeeded") for check in make_content().checks]
    page = written(tmp_path, make_content(verdict="succeeded", checks=checks))
    assert "All 2 checks passed." in page.text and "wanted:" not in page.text


def test_names_from_outside_are_escaped(make_content: MakeContent, tmp_path: Path) -> None:
    nasty = "<b>\"x'&amp;</script><script>alert(1)</script>"
    checks = [check._replace(name=nasty, note=nasty, limits=nasty, unit=nasty) for check in make_content().checks]
    content = make_content(
        title=nasty,
        checks=checks,
        notices=[nasty],
        facts=[(nasty, [(nasty, nasty)])],
        metrics={"after": {nasty: 1.0}},
    )
    plain, page = written(tmp_path / "plain", make_content()), written(tmp_path / "nasty", content)
    assert len(page.all("script")) == len(plain.all("script")) == 1
    assert page.text.count(nasty) >= 10


def test_every_text_from_outside_is_shown_as_it_is_and_is_never_a_tag(make_content: MakeContent) -> None:
    hostile = (f"<script>{i}</script><img src=x onerror='a()' alt=\"{i}\">{{{{ 7*7 }}}}&lt;" for i in range(99))
    told: dict[str, str] = {}

    def text(name: str) -> str:
        return told.setdefault(name, next(hostile))

    checks = [make_content().checks[1]._replace(name=text("check"), unit=text("unit"), note=text("note"))]
    content = make_content(
        title=text("title"),
        checks=[checks[0]._replace(limits=text("limits"))],
        notices=[text("notice")],
        facts=[(text("heading"), [(text("key"), text("value"))])],
        metrics={"before": {text("metric"): 0.5}},
    )
    panels = make_panels(content)
    bar = Bar(text("low"), text("middle"), text("high"), text("reserved"))
    deformation = replace(panels.deformation[0], title=text("panel"), caption=text("caption"), bar=bar)
    plain = Page(make_page(make_content(), panels))
    page = Page(make_page(content, replace(panels, deformation=(deformation, *panels.deformation[1:]))))
    words = page.text + " ".join(value for _, attributes in page.tags for value in attributes.values())
    assert {name for name, content in told.items() if content not in words} == set() and len(told) == 16
    assert sum(f"{told['panel']}, {plane.name} plane" in words for plane in PLANES) == 3  # in attributes too
    for tag in ("script", "img"):
        assert len(page.all(tag)) == len(plain.all(tag))
    assert not any("onerror" in attributes for _, attributes in page.tags)


def test_planes_keep_their_proportions(make_content: MakeContent, tmp_path: Path) -> None:
    page = written(tmp_path, make_content(affine=np.diag([1.0, 1.0, 5.0, 1.0])))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    shapes = dict(re.findall(r"^\.(axial|coronal|sagittal) \{ aspect-ratio: ([\d. /]+);", text, re.MULTILINE))
    assert shapes == {"axial": "14.00 / 16.00", "coronal": "14.00 / 100.00", "sagittal": "16.00 / 100.00"}
    assert "minmax(0, 14.00fr) minmax(0, 14.00fr) minmax(0, 16.00fr)" in text  # one scale
    drawings = [(svg["viewbox"], svg["preserveaspectratio"]) for svg in page.all("svg")]  # stretched with the pictures
    assert drawings[-2:] == [("0 0 14 20", "none"), ("0 0 16 20", "none")]


def test_oblique_grid_is_named(make_content: MakeContent, tmp_path: Path) -> None:
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert "oblique by 11°" in written(tmp_path, make_content(affine=affine)).text


def degenerate(name: str, content: ReportContent) -> dict[str, Any]:
    zero, hole = np.zeros_like(content.fixed), content.fixed.copy()
    hole[4:8] = np.nan
    volumes = ("fixed", "before", "aligned", "warped")
    return {
        "constant images": dict.fromkeys(volumes, zero + 3),
        "no overlap": {"aligned": zero, "before": zero, "warped": zero},
        "zero field": {"ddf": np.zeros_like(content.ddf), "jacobian": zero + 1, "uncertainty": zero},
        "not finite": dict.fromkeys((*volumes, "jacobian", "uncertainty"), hole) | {"ddf": content.ddf * hole},
        "nothing finite": {"warped": zero + np.nan, "ddf": content.ddf + np.nan, "jacobian": zero + np.nan},
        "nothing measured": {"checks": [], "metrics": {}, "facts": [], "notices": [], "uncertainty": None},
    }[name]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "case", ["constant images", "no overlap", "zero field", "not finite", "nothing finite", "nothing measured"]
)
def test_degenerate_input_has_a_report(make_content: MakeContent, tmp_path: Path, case: str) -> None:
    content = make_content(**degenerate(case, make_content()))
    written(tmp_path, content)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"base64,[^\"]+", "", text), re.IGNORECASE)
    assert ("uncertainty-axial" in text) == (content.uncertainty is not None)


def test_picture_is_as_wide_as_a_page(make_content: MakeContent, tmp_path: Path) -> None:
    write_report(tmp_path, make_content())
    assert Image.open(tmp_path / "report.png").width == 1500


def test_unwritable_folder_leaves_nothing(make_content: MakeContent, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"report.html cannot be written .*; give a writable folder"):
        write_report(tmp_path / "out", make_content())
    assert os.listdir(tmp_path) == ["out"]


BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
ACT = """
document.getElementById("lower").value = "before";
document.getElementById("lower").dispatchEvent(new Event("change"));
document.getElementById("mode").value = "fade";
document.getElementById("mode").dispatchEvent(new Event("change"));
document.getElementById("outlined").click();
slider.value = 20;
slider.dispatchEvent(new Event("input"));
document.title = JSON.stringify([
  getComputedStyle(viewer.querySelector("img.upper")).opacity,
  getComputedStyle(viewer.querySelector("svg")).display,
  [...viewer.querySelectorAll("img.lower")].map((image) => image.alt),
  [...viewer.querySelectorAll("img.lower")].every(
    (image) => image.src === document.getElementById("before-" + image.dataset.plane).src),
  [...document.images].every((image) => image.naturalWidth > 0),
]);
"""


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_viewer_works_in_a_browser(make_content: MakeContent, tmp_path: Path) -> None:
    write_report(tmp_path, make_content())
    page = tmp_path / "acted.html"
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"<script>window.onload = () => {{{ACT}}}</script></body>"), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    try:
        dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except subprocess.TimeoutExpired:
        pytest.skip("the browser does not start here")
    title = re.search("<title>(.*?)</title>", dom)
    assert title is not None
    alts = '"Moving, by the headers, axial plane","Moving, by the headers, coronal plane"'
    assert title[1] == f'["0.2","none",[{alts},"Moving, by the headers, sagittal plane"],true,true]'
