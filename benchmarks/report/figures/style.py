"""Style of all figures: colours, light and dark scheme, a grid of panels, and files."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from benchmarks.analysis.leaderboard import REFERENCES, Leaderboard
from recsim_env.atomic_file import write_atomically

CYCLE = (
    *("#2878c8", "#d9651a", "#26905a", "#9a5cc4", "#c9427c"),
    *("#96800d", "#1893a5", "#96694a", "#5d6dd1", "#b8524b"),
)
"""Colours of agents, legible on white and on dark paper."""
FAMILY_COLOURS = dict(
    zip(
        ("reinforcement", "library", "bandit", "supervised", "own", "rule", "offline", "pretrained"),
        CYCLE,
        strict=False,
    ),
    reference="#7d8690",
)
OTHERS = "#9aa1a9"
"""Of agents without a name in the figure."""

_REFERENCE_DASHES: Sequence[Any] = ((0, (1, 2)), (0, (5, 2, 1, 2)), (0, (5, 2)), "-")
"""Of `REFERENCES`."""


def scheme(*, paper: str, ink: str, grid: str) -> dict[Any, Any]:
    """Matplotlib settings of figures on a paper of that colour."""
    inked = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")
    lines = ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), paper),
        **dict.fromkeys(inked, ink),
        **dict.fromkeys(lines, grid),
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.titleweight": "bold",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=CYCLE),
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.5,
        "text.parse_math": False,
        "svg.fonttype": "path",  # readable without the font, in every viewer
        "svg.hashsalt": "recsim-env",
        "pdf.fonttype": 42,
    }


LIGHT = scheme(paper="#ffffff", ink="#22272d", grid="#d5dade")
DARK = scheme(paper="#15181c", ink="#dfe3e8", grid="#3d444d")

_DPI = 90
_UNDATED: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def panels(num_panels: int, num_columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels, each of `size` in inches; `options` are those of `Figure.subplots`."""
    num_columns = min(num_panels, num_columns)
    num_rows = -(-num_panels // num_columns)
    figure = Figure(figsize=(size[0] * num_columns, size[1] * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False, **options).ravel()
    for unused in grid[num_panels:]:
        unused.set_visible(False)
    for above in grid[max(0, num_panels - num_columns) : num_panels]:
        above.tick_params(labelbottom=True)
    return figure, list(grid[:num_panels])


def limit_to_lines(axes: Axes) -> None:
    """Set the limits of y to those of the lines, with a margin: bands of two or three seeds are many times as wide."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
    low, high = np.nanmin(values), np.nanmax(values)
    if high > low:
        axes.set_ylim(low - 0.25 * (high - low), high + 0.25 * (high - low))


def band(axes: Axes, x: np.ndarray, mean: np.ndarray, half: np.ndarray, **style: Any) -> None:
    """A line, and the band within `half` of it."""
    (line,) = axes.plot(x, mean, **style)
    axes.fill_between(x, mean - half, mean + half, color=line.get_color(), alpha=0.15, lw=0)


def set_title(axes: Axes, title: str, size: float | None = None) -> None:
    """A title that is wrapped to the width of the panel."""
    figure = axes.get_figure()
    assert figure is not None, "axes belong to a figure"
    width = figure.get_figwidth() / axes.get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
    axes.set_title(textwrap.fill(title, max(12, int(9.0 * width))), size=size)


def short(name: str) -> str:
    """The end of a name that is too long for a figure."""
    return name if len(name) <= 26 else f"…{name[-25:]}"


def line_styles(leaderboard: Leaderboard) -> dict[str, dict[str, Any]]:
    """Line properties of each agent, the same in every figure; references are grey, untrained agents dashed."""
    trained = {standing.agent for standing in leaderboard.learners}
    first = leaderboard.highlights(len(CYCLE))
    rest = [each.agent for each in leaderboard.standings if each.is_deployable and each.agent not in first]
    styles: dict[str, dict[str, Any]] = {
        name: {"color": CYCLE[n % len(CYCLE)], "ls": "-" if name in trained else (0, (4, 1.5))}
        for n, name in enumerate([*first, *rest])
    }
    dashes = dict(zip(REFERENCES, _REFERENCE_DASHES, strict=True))
    for name in [name for name in leaderboard.by_agent if name not in styles]:
        styles[name] = {"color": FAMILY_COLOURS["reference"], "ls": dashes.get(name, "-"), "lw": 1.1}
    return styles


def legend(figure: Figure, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """A legend below the panels, which makes the figure higher: a line or marker for each name."""
    handles: list[Artist] = [Line2D([], [], label=short(name), **style) for name, style in styles.items()]
    width = 0.65 + 0.085 * max(len(short(name)) for name in styles)
    num_columns = max(1, min(len(handles), int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.15 - 0.2 * (-len(handles) // num_columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=num_columns)


def write_figure(path: Path, draw: Callable[[], Figure | None]) -> tuple[bytes, bytes] | None:
    """Write a figure as PNG, PDF and SVG to `path` with these suffixes.

    Returns:
        SVG in the light and in the dark scheme; None if there is nothing to draw.
    """
    with matplotlib.rc_context(LIGHT):
        figure = draw()
        if figure is None:
            return None
        files = {suffix: _file(figure, suffix) for suffix in ("png", "pdf", "svg")}
    for suffix, content in files.items():
        write_atomically(path.with_suffix(f".{suffix}"), content)
    with matplotlib.rc_context(DARK):
        dark = draw()
        return files["svg"], _file(dark, "svg") if dark else b""


def _file(figure: Figure, suffix: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=suffix, dpi=_DPI, metadata=_UNDATED[suffix])
    if suffix != "png":
        return file.getvalue()
    small = io.BytesIO()
    Image.open(file).convert("RGB").quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    return small.getvalue()
