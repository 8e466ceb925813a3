"""The report of a suite, from its rows alone: `report.md` with figures beside it, and `report.html`, one file with all.

The Markdown comes from a template, the page from the Markdown.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.analysis.leaderboard import REFERENCES, Leaderboard
from benchmarks.analysis.scores import reference_seeds
from benchmarks.report import tables
from benchmarks.report.figures.cold_start import cold_start
from benchmarks.report.figures.learning_curves import SECONDS, learners_one_by_one, learning_curves
from benchmarks.report.figures.pareto import pareto
from benchmarks.report.figures.profiles import improvement, performance_profiles
from benchmarks.report.figures.scores import headroom_figure, leaderboard_figure
from benchmarks.report.figures.style import write_figure
from benchmarks.rows import Row, RunKey
from recsim_env.atomic_file import write_atomically

FIGURES: dict[str, Callable[[Leaderboard], Figure | None]] = {
    "leaderboard": leaderboard_figure,
    "headroom": headroom_figure,
    "learning_curves": learning_curves,
    "learning_curves_by_time": partial(learning_curves, along=SECONDS),
    "learners_one_by_one": learners_one_by_one,
    "improvement": improvement,
    "profiles": performance_profiles,
    "cold_start": cold_start,
    "pareto": pareto,
}
"""Every figure, by the stem of its files."""

_TEMPLATES = FileSystemLoader(Path(__file__).with_name("templates"))

Schemes = tuple[bytes, bytes]
"""SVG of a figure in the light and in the dark scheme."""


def write_report(directory: Path, rows: Iterable[Row], expected: Iterable[RunKey] | None = None) -> str:
    """Write `report.html`, `report.md` and each figure as PNG, PDF and SVG; returns the summary in Markdown.

    Args:
        directory: an existing folder.
        rows: of one suite, failed ones too; at least one.
        expected: (agent, scenario, seed) of the runs that should exist, to report the missing ones. By default every
            agent of the rows in every scenario with every seed.
    """
    leaderboard = Leaderboard(rows)
    figures: dict[str, Schemes] = {}
    for name, draw in FIGURES.items():
        schemes = write_figure(directory / name, partial(draw, leaderboard))
        if schemes:
            figures[name] = schemes
    report = markdown(leaderboard, figures, expected)
    write_atomically(directory / "report.md", report.encode(errors="replace"))
    write_atomically(directory / "report.html", html(report, figures).encode(errors="replace"))
    return report.split("\n## ", 1)[0]


def markdown(leaderboard: Leaderboard, figures: Collection[str] = (), expected: Iterable[RunKey] | None = None) -> str:
    """The report, with the figures of these names."""
    environment = Environment(
        loader=_TEMPLATES,
        autoescape=True,
        finalize=markdown_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": markdown_text, "interval": tables.interval, "number": tables.number}
    report = environment.get_template("report.md.j2").render(
        leaderboard=leaderboard,
        tables=tables,
        references=REFERENCES,
        figures=figures,
        missing=tables.missing_runs(leaderboard, expected),
        reference_seeds=reference_seeds(leaderboard.rows),
    )
    return re.sub(r"\n{3,}", "\n\n", report).strip() + "\n"


def markdown_text(value: Any) -> Any:
    """Text of a row as Markdown that shows it literally, on one line; values that are not text are unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    value = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", " ".join(value.split()))
    escaped = re.sub(r"([\\`*\[\]<>|~&#!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", value)
    return Markup(escaped)


def html(report: str, figures: dict[str, Schemes]) -> str:
    """The report's Markdown as a page without links to other files: figures are embedded."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    headings: list[tuple[str, str]] = []

    def heading(self: RendererHTML, tokens: Sequence[Any], n: int, options: Any, env: Any) -> str:
        if tokens[n].tag != "h2":
            return f"<{tokens[n].tag}>"
        title = tokens[n + 1].content
        headings.append((re.sub(r"\W+", "-", title.lower()), title))
        return f'<h2 id="{headings[-1][0]}">'

    def image(self: RendererHTML, tokens: Sequence[Any], n: int, options: Any, env: Any) -> str:
        light, dark = (
            f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
            for svg in figures[tokens[n].attrs["src"].removesuffix(".png")]
        )
        return (
            f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
            f'<img src="{light}" alt="{Markup.escape(tokens[n].content)}"></picture>'
        )

    renderer.add_render_rule("heading_open", heading)
    renderer.add_render_rule("image", image)
    renderer.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0"><table>')
    renderer.add_render_rule("table_close", lambda *_: "</table></div>")
    body = Markup(renderer.render(report))
    template = Environment(loader=_TEMPLATES, autoescape=True).get_template("report.html")
    return template.render(title=report.split("\n", 1)[0].removeprefix("# "), body=body, headings=headings)
