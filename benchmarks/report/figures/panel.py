"""A panel: one small drawing, readable on a phone as it is; its look, its labels, and its SVG.

All lengths in points (1/72 inch), positions from the lower left corner.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from benchmarks.report.figures.palette import FAINT, GRID, INK, with_variables

WIDTH = 275.0
TEXT = 8.5
LINE = 10.5
"""Height that a line of text asks for."""

_FONT = "DejaVu Sans"
_FONTS_OF_READERS = "'DejaVu Sans', Verdana, sans-serif"  # Verdana is as wide, and on machines without DejaVu
STYLE: dict[Any, Any] = {
    "font.family": _FONT,
    "font.size": TEXT,
    "svg.fonttype": "none",  # words stay words: selectable, searchable, sharp
    "text.parse_math": False,
}
"""What panels are drawn with (`matplotlib.rc_context`)."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Panels that belong together."""

    name: str
    """Stem of its file."""
    title: str
    caption: str
    panels: list[Figure]
    families: frozenset[str] = frozenset()
    """Whose colours it shows; what the legend is made of."""


def new_panel(
    title: str,
    x_label: str,
    y_label: str = "",
    *,
    height: float = 200.0,
    width: float = WIDTH,
    left: float = 38.0,
    right: float = 10.0,
) -> tuple[Figure, Axes]:
    """An empty panel with its axes; `left` and `right` are what the labels beside the axes need."""
    figure = Figure(figsize=(width / 72.0, height / 72.0), facecolor="none")
    FigureCanvasSVG(figure)
    bottom, top = 27.0, 18.0
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    axes = figure.add_axes(box, facecolor="none")
    size = (TEXT + 1.0) * min(1.0, (width - 8.0) / text_width(title, TEXT + 1.0, "bold"))
    figure.text(4.0 / width, 1.0 - 4.0 / height, title, size=size, weight="bold", va="top", color=INK.light)
    start = max(4.0, min(left, width - 4.0 - text_width(x_label, TEXT - 0.5)))
    figure.text(start / width, 4.0 / height, x_label, size=TEXT - 0.5, va="bottom", color=FAINT.light)
    beside: dict[str, Any] = {"rotation": 90.0, "va": "center", "ha": "left", "size": TEXT - 0.5, "color": FAINT.light}
    figure.text(1.0 / width, box[1] + box[3] / 2.0, y_label, **beside)
    axes.tick_params(length=2.5, pad=2.0, labelsize=TEXT - 0.5, color=GRID.light, labelcolor=FAINT.light, width=0.7)
    axes.grid(color=GRID.light, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GRID.light, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure, axes


def short(name: str) -> str:
    """A name as it stands in a picture: of a very long one, its end."""
    return name if len(name) <= 24 else f"…{name[-23:]}"


def text_width(words: str, size: float = TEXT, weight: str = "normal") -> float:
    """Points that a line of text takes."""
    font = FontProperties(family=_FONT, size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, False)
    return float(width)


def margin_for(names: Iterable[str]) -> float:
    """Points right of the axes that `label_ends` needs for these names."""
    return 16.0 + max((text_width(short(name), TEXT - 0.5) for name in names), default=0.0)


def spread(wanted: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Positions near the wanted ones, in their order, `gap` apart, within [low, high] as far as there is room."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    places: list[float] = []
    for n in order:
        places.append(max(wanted[n], low, places[-1] + gap if places else low))
    ceiling = high
    for k in reversed(range(len(places))):
        places[k] = min(places[k], ceiling)
        ceiling = places[k] - gap
    found = [0.0] * len(wanted)
    for n, place in zip(order, places, strict=True):
        found[n] = place
    return found


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names right of the axes beside where lines end: (x, y, name, colour) in data; a thin line leads to each.

    The limits of the axes must be set.
    """
    height = axes.bbox.height / axes.figure.dpi * 72.0
    width = axes.bbox.width / axes.figure.dpi * 72.0
    to_axes = axes.transData + axes.transAxes.inverted()
    starts = [to_axes.transform((x, y)) for x, y, _, _ in ends]
    places = spread([y * height for _, y in starts], 2.0, height - 2.0, LINE - 1.0)
    margin = 9.0 / width
    for (_, _, name, colour), (x, y), place in zip(ends, starts, places, strict=True):
        axes.plot(
            [x, 1.0 + margin * 0.8],
            [y, place / height],
            transform=axes.transAxes,
            color=colour,
            lw=0.5,
            alpha=0.7,
            clip_on=False,
        )
        axes.text(
            1.0 + margin,
            place / height,
            short(name),
            transform=axes.transAxes,
            va="center_baseline",
            size=TEXT - 0.5,
            color=colour,
        )


def svg_of(figure: Figure, title: str) -> str:
    """An `<svg>` element without a background, that scales to where it is put; `title` is read by screen readers."""
    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]+)"[^>]*>', _head(title), svg, count=1)
    svg = re.sub(r"font-family: [^;\"]+", f"font-family: {_FONTS_OF_READERS}", svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), svg)  # hundredths of a point
    svg = re.sub(r'<g id="[^"]+"', "<g", svg)  # several panels stand in one page: no id twice
    return with_variables(re.sub(r"\s*\n\s*", "\n", svg))


def _head(title: str) -> str:
    words = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").replace("\\", "")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\\1" '
        f'role="img" aria-label="{words}" stroke-linejoin="round">'
    )
