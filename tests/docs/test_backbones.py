"""What docs/own_backbone.md says: its overlay changes the network of a bundle, its table is that of the code."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import monai.networks.nets
import pytest
import torch
from monai.bundle import ConfigParser

from morphseek_monai import networks

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_backbone.md").read_text(encoding="utf-8")
SIZE = (160, 192, 224)


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return found


def table() -> list[list[str]]:
    """Cells of the rows of backbones."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| `[A-Z]\w+\(", line)]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_own_backbone_takes_less_than_forty_lines() -> None:
    source = blocks("python")[0]
    definition = re.search(r"^class TinyUNet.*?(?=^\S)", source.split("\n", 1)[1], re.M | re.S)
    assert definition is not None
    assert 20 < len(definition.group().strip().splitlines()) < 40


@pytest.mark.parametrize("config", ["train", "inference"])
@pytest.mark.parametrize("overlay", blocks("json"), ids=["own", "MONAI's"])
def test_overlays_change_the_backbone_of_a_bundle(
    config: str, overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package.py").write_text(blocks("python")[0], encoding="utf-8")
    (tmp_path / "my_backbone.json").write_text(overlay, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    parser = ConfigParser()
    configs = ROOT / "bundles" / "morphseek_phantom" / "configs"
    parser.read_config([configs / f"{config}.json", tmp_path / "my_backbone.json"])
    try:
        network = parser.get_parsed_content("network_def")
    finally:
        sys.modules.pop("my_package", None)
    assert type(network.backbone).__name__ == json.loads(overlay)["backbone"]["_target_"].rpartition(".")[2]
    assert network.head is not None
    assert network.steps == 3


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0].strip("`"))
def test_table_of_backbones(row: list[str]) -> None:
    expression, _, parameters, latent, stride, share = row
    with torch.device("meta"):
        public = {name: getattr(networks, name) for name in networks.__all__}
        backbone = eval(expression.strip("`"), {**vars(monai.networks.nets), **public})
        head = networks.GaussianPolicyHead(backbone.latent_channels)
    count, added = (sum(p.numel() for p in part.parameters()) for part in (backbone, head))
    shape = (backbone.latent_channels, *(n // backbone.stride for n in SIZE))
    assert [parameters, latent, stride, share] == [
        f"{count:,}",
        " x ".join(map(str, shape)),
        str(backbone.stride),
        f"{added / count:.2%}".replace("%", " %"),
    ]


def test_table_lists_every_backbone() -> None:
    named = {re.match(r"`(\w+)", row[0]).group(1) for row in table()}  # type: ignore[union-attr]
    classes = {name for name in networks.__all__ if isinstance(getattr(networks, name), type)}
    backbones = {name for name in classes if issubclass(getattr(networks, name), networks.Backbone)}
    assert named == backbones - {"Backbone"}
