"""Pictures of a report in HTML: a figure of three planes, and the viewer that lays one image over another."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .lines import Line, svg_path
from .panels import IMAGES, Panel, Panels
from .pictures import data_uri
from .planes import PLANES

_OBLIQUE = 0.5  # degrees, below which a grid is called straight
_STOPS = 16  # of the gradient that draws a colour bar


def proportions(panels: Panels) -> str:
    """Style rules that draw the planes in millimetres, all on one scale, whatever the size of a voxel."""
    extents = {plane.name: panels.cuts.extent(plane) for plane in PLANES}
    columns = " ".join(f"minmax(0, {width:.2f}fr)" for width, _ in extents.values())
    shapes = "".join(f".{name} {{ aspect-ratio: {w:.2f} / {h:.2f}; }}\n" for name, (w, h) in extents.items())
    return f".planes {{ grid-template-columns: {columns}; }}\n{shapes}"


def panel_figure(panels: Panels, panel: Panel) -> str:
    """A panel: heading, caption, three planes, colour bar."""
    cells = [
        _cell(panels, i, _image(panel, i, f'id="{panel.key}-{plane.name}"') + _drawing(panels, i, panel.lines[i]))
        for i, plane in enumerate(PLANES)
    ]
    return (
        f"<figure><figcaption><b>{escape(panel.title)}</b> {escape(panel.caption)}</figcaption>"
        f'<div class="planes">{"".join(cells)}</div>{_bar(panel)}</figure>'
    )


def viewer_figure(panels: Panels) -> str:
    """Two of the four images, one over the other; a slider says how much of which is seen."""
    cells = []
    for i, plane in enumerate(PLANES):
        images = "".join(
            _image(panels[key], i, f'class="{side}" data-plane="{plane.name}"')
            for side, key in (("lower", "aligned"), ("upper", "warped"))
        )
        cells.append(_cell(panels, i, images + _drawing(panels, i, panels.outlines[i])))
    return f"""<figure class="viewer outlined" id="viewer">
<div class="controls">
<label>Left <select id="lower">{_options("aligned")}</select></label>
<input type="range" id="slider" min="0" max="100" value="50" aria-label="From the left to the right image">
<label>Right <select id="upper">{_options("warped")}</select></label>
<label>Slider <select id="mode"><option value="swipe">swipes</option><option value="fade">fades</option></select>
</label>
<label><input type="checkbox" id="outlined" checked> Outlines of the fixed image</label>
</div>
<div class="planes">{"".join(cells)}</div>
<figcaption>Drag over the pictures, or move the slider with the arrow keys. The yellow outlines belong to the fixed
image: the registered image should follow them. {_convention(panels)}</figcaption>
</figure>"""


def _convention(panels: Panels) -> str:
    angle = panels.cuts.obliquity
    oblique = f"; the grid is oblique by {angle:.0f}°, the planes are parallel to it" if angle > _OBLIQUE else ""
    return f"Radiological convention: the patient's right is on the left. Positions are RAS coordinates{oblique}."


def _options(chosen: str) -> str:
    return "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{escape(title)}</option>'
        for key, (title, _) in IMAGES.items()
    )


def _image(panel: Panel, i: int, attributes: str) -> str:
    alt = f"{escape(panel.title)}, {PLANES[i].name} plane"
    return f'<img {attributes} alt="{alt}" src="{data_uri(panel.places[i], panel.palette)}">'


def _cell(panels: Panels, i: int, content: str) -> str:
    """A plane with the letters at its edges and its place."""
    plane = PLANES[i]
    letters = "".join(
        f'<span class="letter {edge}" aria-hidden="true">{letter}</span>'
        for edge, letter in zip(("left", "right", "top", "bottom"), plane.letters)
    )
    axis = "xyz"[plane.through]
    place = f'<span class="place" aria-hidden="true">{plane.name}, {axis} {panels.cuts.position(plane):.0f} mm</span>'
    return f'<div class="plane {plane.name}">{content}{letters}{place}</div>'


def _drawing(panels: Panels, i: int, lines: Sequence[Line]) -> str:
    """Lines over a plane, sharp at any size."""
    if not lines:
        return ""
    width, height = panels.cuts.voxels(PLANES[i])
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{svg_path(lines)}"/></svg>'
    )


def _bar(panel: Panel) -> str:
    if panel.bar is None:
        return ""
    colours = panel.palette[1 if panel.bar.reserved else 0 :]
    stops = (colours[k * (len(colours) - 1) // (_STOPS - 1)] for k in range(_STOPS))
    gradient = ", ".join("#" + "".join(f"{c:02x}" for c in colour) for colour in stops)
    r, g, b = panel.palette[0]
    reserved = (
        f'<span class="swatch" style="background: rgb({r} {g} {b})"></span><span>{escape(panel.bar.reserved)}</span>'
        if panel.bar.reserved
        else ""
    )
    return (
        f'<div class="bar">{reserved}<div class="ramp">'
        f'<i style="background: linear-gradient(to right, {gradient})"></i>'
        f"<span>{escape(panel.bar.low)}</span><span>{escape(panel.bar.middle)}</span>"
        f"<span>{escape(panel.bar.high)}</span></div></div>"
    )
