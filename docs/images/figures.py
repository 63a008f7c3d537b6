"""Small pictures for the documentation: a picture made smaller, or the middle planes of images with label outlines.

python docs/images/figures.py shrink report.png small.png --width 1100
python docs/images/figures.py planes planes.png fixed.nii.gz,labels.nii.gz warped.nii.gz,labels.nii.gz
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fire
import matplotlib
import nibabel as nib
import numpy as np
from PIL import Image

matplotlib.use("agg")
import matplotlib.pyplot as plt


def shrink(source: str, out: str, width: int = 1100, colours: int = 128) -> None:
    """Scale a picture down to ``width`` pixels and write it with a palette of ``colours``."""
    with Image.open(source) as picture:
        small = picture.convert("RGB")
        small.thumbnail((width, 10 * width))
        small.quantize(colours).save(out, optimize=True)


def middle(path: str) -> Any:
    """The plane in the middle of the third axis, ``(Y, X)``."""
    array = np.asarray(nib.load(path).dataobj)
    return array[:, :, array.shape[2] // 2].T


def planes(out: str, *panels: str, height: float = 2.6, cmap: str = "gray") -> None:
    """Draw panels side by side.

    Args:
        out: the picture.
        panels: ``IMAGE`` or ``IMAGE,LABELS``; Fire hands the latter over as a tuple.
        height: inches of a panel.
        cmap: Matplotlib's name of a colour map; any but gray gets a scale.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(height * len(panels), height * 1.12), squeeze=False)
    for axis, panel in zip(axes[0], panels):
        image, *labels = panel if isinstance(panel, tuple | list) else str(panel).split(",")
        shown = axis.imshow(middle(image), cmap=cmap, origin="lower")
        for path in labels:
            ids = middle(path)
            for number in np.unique(ids)[1:]:
                colour = plt.get_cmap("tab10")(int(number) % 10)
                axis.contour(ids == number, levels=[0.5], colors=[colour], linewidths=1)
        if cmap != "gray":
            figure.colorbar(shown, ax=axis, shrink=0.8)
        axis.set_title(Path(image).name.removesuffix(".nii.gz"), fontsize=8)
        axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=100)
    shrink(out, out, width=1100, colours=64)


if __name__ == "__main__":
    fire.Fire({"shrink": shrink, "planes": planes})
