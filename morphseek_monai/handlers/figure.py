"""One picture that tells whether a registration worked."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.files import atomic_output
from morphseek_monai.fields import jacobian_determinant, warp

COLUMNS = ("fixed", "moving", "warped", "fixed - moving", "fixed - warped", "deformation grid", "Jacobian determinant")
PLACES: dict[str, Any] = {"left": 0.005, "right": 0.955, "bottom": 0.01, "top": 0.9, "wspace": 0.03, "hspace": 0.03}


def registration_figure(image: Tensor, ddf: Tensor, title: str = "") -> Figure:
    """Draw a pair and its field in the three middle planes.

    Columns: fixed, moving, warped, difference before and after (one colour scale), the grid that samples the moving
    image, Jacobian determinant (blue shrinks, red grows, black folds).

    Args:
        image: ``(2, D, H, W)``, moving and fixed.
        ddf: ``(3, D, H, W)`` in voxels.
        title: heading.

    Returns:
        A matplotlib figure, independent of any display.

    Raises:
        ValueError: When the shapes do not belong together.
    """
    if image.ndim != 4 or image.shape[0] != 2 or ddf.shape != (3, *image.shape[1:]):
        raise ValueError(
            f"registration_figure() 'image' (2, D, H, W) and 'ddf' (3, D, H, W) must share D, H, W, got "
            f"{tuple(image.shape)} and {tuple(ddf.shape)}"
        )
    image, ddf = image.detach().float().cpu(), ddf.detach().float().cpu()
    moving, fixed = image[0], image[1]
    warped = warp(image[None, :1], ddf[None])[0, 0]
    jacobian = jacobian_determinant(ddf[None])[0]
    bright = float(image.max() - image.min()) or 1.0
    grey: dict[str, Any] = {"cmap": "gray", "vmin": float(image.min()), "vmax": float(image.max())}
    difference: dict[str, Any] = {"cmap": "coolwarm", "vmin": -bright / 2, "vmax": bright / 2}
    figure = Figure(figsize=(2.2 * len(COLUMNS), 7))  # places by hand: measuring all texts takes as long as drawing
    axes = figure.subplots(3, len(COLUMNS), gridspec_kw=PLACES)
    for ax in axes.flat:
        ax.set_axis_off()
    for axis in range(3):
        middle = fixed.shape[axis] // 2
        panels = [(fixed, grey), (moving, grey), (warped, grey)]
        panels += [(fixed - moving, difference), (fixed - warped, difference)]
        for column, (volume, style) in enumerate(panels):
            axes[axis, column].imshow(_plane(volume, axis, middle), origin="lower", **style)
        _draw_grid(axes[axis, 5], ddf, axis, middle)
        plane = _plane(jacobian, axis, middle)
        drawn = axes[axis, 6].imshow(plane, origin="lower", cmap="coolwarm", vmin=0, vmax=2)
        axes[axis, 6].contourf(plane <= 0, levels=[0.5, 1.5], colors="black")
    for column, name in enumerate(COLUMNS):
        axes[0, column].set_title(name, fontsize=10)
    figure.colorbar(drawn, cax=figure.add_axes((0.962, 0.2, 0.008, 0.5)))  # of one scale in all rows
    figure.suptitle(title)
    return figure


class PairFigure:
    """Draw the last pair of each evaluation (of rank 0) into a file and into TensorBoard.

    Args:
        path: picture to write, e.g. ``eval/registration.png``; None writes none.
        log_dir: TensorBoard folder; None writes nothing there.
        interval: draw at every ``interval``-th evaluation.
    """

    def __init__(self, path: str | None = None, log_dir: str | None = None, interval: int = 1) -> None:
        self.path = path
        self.log_dir = log_dir
        self.interval = interval
        self._evaluations = 0

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator's ``EPOCH_COMPLETED``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw."""
        self._evaluations += 1
        if (self._evaluations - 1) % self.interval or idist.get_rank() > 0:
            return
        state: Any = engine.state
        output, batch = state.output[-1], state.batch[-1]
        names = f"moving {batch['moving_id']}, fixed {batch['fixed_id']}" if "moving_id" in batch else ""
        figure = registration_figure(output["image"], output["pred"], names)
        if self.path is not None:
            with atomic_output(self.path) as temporary:
                figure.savefig(temporary, dpi=90)
        if self.log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter  # a second; not needed to draw a file

            with SummaryWriter(self.log_dir) as writer:
                writer.add_figure("pair", figure, state.epoch)


def _plane(volume: Tensor, axis: int, index: int) -> NDArray[np.float32]:
    """The plane of an image volume as matplotlib wants it: first remaining axis to the right, second upwards."""
    plane: NDArray[np.float32] = volume.select(axis, index).T.numpy()
    return plane


def _draw_grid(ax: Any, ddf: Tensor, axis: int, index: int) -> None:
    """Lines x + u(x) of every few voxels, the in-plane part of the field."""
    first, second = (a for a in range(3) if a != axis)
    u, v = (_plane(ddf[a], axis, index) for a in (first, second))
    rows, columns = u.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    every = max(1, round(min(rows, columns) / 20))
    ax.plot((x + u)[::every].T, (y + v)[::every].T, color="C0", linewidth=0.6)
    ax.plot((x + u)[:, ::every], (y + v)[:, ::every], color="C0", linewidth=0.6)
    ax.set_aspect("equal")
