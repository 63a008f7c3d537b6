"""Planes as pictures of at most 256 colours, and as PNG that a page holds inside itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from PIL import Image

LARGEST_SIDE = 400  # pixels; planes of a 512 x 512 CT would make a page too large for an e-mail
_MOST_LOOKED_AT = 500_000  # voxels that are enough for a percentile
_STOPS = 16  # of the gradient that draws a colour bar


def _palette(colours: Any) -> NDArray[np.uint8]:
    table: NDArray[np.uint8] = np.rint(255 * colours(np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    return table


GREY = _palette(matplotlib.colormaps["gray"])
DIFFERENCE = _palette(
    # black where there is none, as the background of the images
    LinearSegmentedColormap.from_list("difference", ["#9be1ff", "#1f7ae0", "#000000", "#e0421f", "#ffd79b"])
)
JACOBIAN = _palette(matplotlib.colormaps["coolwarm"])
JACOBIAN[0] = 0  # kept for folds
DISPLACEMENT = _palette(matplotlib.colormaps["magma"])
UNCERTAINTY = _palette(matplotlib.colormaps["viridis"])


def window(*volumes: NDArray[Any]) -> tuple[float, float]:
    """Range of intensities to show: the 0.5 and 99.5 percentiles of voxels spread over them.

    Args:
        volumes: images on one scale.

    Returns:
        what is black and what is white; never the same number.

    Example:
        >>> window(np.linspace(0, 1000, 1001))
        (5.0, 995.0)
        >>> window(np.full((4, 4, 4), 7.0))
        (7.0, 8.0)
    """
    seen = np.concatenate([_spread_out(volume) for volume in volumes])
    low, high = (float(x) for x in np.percentile(seen, (0.5, 99.5)))
    if high <= low:  # constant, or a few bright voxels in much background
        low, high = float(seen.min()), float(seen.max())
    return low, high if high > low else low + 1.0


def largest(volume: NDArray[Any]) -> float:
    """Upper end of a colour bar: the 99.9 percentile of such voxels, rounded up to two digits; 1 of a zero map."""
    value = float(np.percentile(_spread_out(volume), 99.9))
    if not value > 0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(round(value / unit, 6)) * unit)


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """The values that are finite ``(N,)``; a zero where none is."""
    kept: NDArray[Any] = values[np.isfinite(values)]
    return kept if kept.size else np.zeros(1)


def _spread_out(volume: NDArray[Any]) -> NDArray[Any]:
    """Voxels evenly spread over a volume."""
    return finite(volume.reshape(-1)[:: -(-volume.size // _MOST_LOOKED_AT)])


def levels(picture: NDArray[Any], low: float, high: float, first: int = 0) -> NDArray[np.uint8]:
    """Values as indices into a palette.

    Args:
        picture: ``(rows, columns)``; what is not finite counts as ``low``.
        low: value of the first colour.
        high: value of the last colour.
        first: the first colour; those before it are kept for something else.
    """
    share = np.nan_to_num((picture.astype(np.float32) - low) / (high - low), nan=0.0, posinf=0.0, neginf=0.0)
    indices: NDArray[np.uint8] = np.rint(first + (255 - first) * share.clip(0, 1)).astype(np.uint8)
    return indices


def fit(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average a picture down to ``LARGEST_SIDE`` pixels where it is larger."""
    rows, columns = (min(n, LARGEST_SIDE) for n in indices.shape)
    if (rows, columns) == indices.shape:
        return indices
    return np.asarray(Image.fromarray(indices).resize((columns, rows), Image.Resampling.BOX))


def data_uri(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    """A picture as the address of an ``img``, PNG with a palette.

    Args:
        indices: ``(rows, columns)``, indices into the palette.
        palette: ``(256, 3)``, red, green and blue.

    Example:
        >>> data_uri(np.zeros((2, 3), np.uint8), GREY)[:26]
        'data:image/png;base64,iVBO'
    """
    image = Image.fromarray(np.ascontiguousarray(indices))
    if palette is not GREY:
        image = image.convert("L")
        image.putpalette(palette.tobytes())
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def gradient(palette: NDArray[np.uint8]) -> str:
    """A palette as a CSS gradient from left to right.

    Args:
        palette: ``(N, 3)``, red, green and blue.

    Example:
        >>> gradient(GREY)[:46]
        'linear-gradient(to right, #000000, #111111, #2'
    """
    stops = (palette[k * (len(palette) - 1) // (_STOPS - 1)] for k in range(_STOPS))
    return f"linear-gradient(to right, {', '.join('#' + bytes(colour).hex() for colour in stops)})"
