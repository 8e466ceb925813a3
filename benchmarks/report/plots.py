"""All pictures of a board, as SVG: panels for a page, and sheets of panels for files.

SVG files follow the reader's light or dark scheme and bring their own paper, so they can be read on any page.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path

import matplotlib

from agents.registry import FAMILIES
from benchmarks.analysis.leaderboard import Board
from benchmarks.report.figures.cold_start_curves import ramp_picture
from benchmarks.report.figures.learning_curves import SECONDS, learning_curves, one_by_one
from benchmarks.report.figures.palette import FAINT, PAPER, family_colour, variables, with_variables
from benchmarks.report.figures.panel import STYLE, TEXT, WIDTH, Picture, svg_of, text_width
from benchmarks.report.figures.pareto import pareto_picture
from benchmarks.report.figures.profiles import improvement_picture, profile_picture
from benchmarks.report.figures.scores import headroom_picture, leaderboard_picture
from recsim_env.atomic_file import write_atomically

_SHEET_WIDTH, _GAP, _EDGE = 3 * WIDTH + 52.0, 14.0, 12.0


def draw_pictures(board: Board) -> list[Picture]:
    """Every picture that the board has rows for."""
    drawings: list[Callable[[Board], Picture]] = [
        leaderboard_picture,
        headroom_picture,
        learning_curves,
        lambda board: learning_curves(board, SECONDS),
        one_by_one,
        profile_picture,
        improvement_picture,
        ramp_picture,
        pareto_picture,
    ]
    with matplotlib.rc_context(STYLE):
        return [picture for picture in (draw(board) for draw in drawings) if picture.panels]


def legend(picture: Picture) -> list[tuple[str, str]]:
    """(family, what it does) of the families that a picture shows, in the order of the roster."""
    return [(family, FAMILIES[family]) for family in FAMILIES if family in picture.families]


def panels(picture: Picture) -> list[str]:
    """An `<svg>` element for each panel, for a page that sets the colours' variables."""
    return [svg_of(figure, f"{picture.title}: {figure.texts[0].get_text()}") for figure in picture.panels]


def sheet(picture: Picture, elements: list[str]) -> bytes:
    """One SVG file of all the panels, with its legend and both schemes of colours."""
    placed, x, y, row_height, sheet_width = [], _EDGE, _EDGE, 0.0, 2 * WIDTH
    for figure, element in zip(picture.panels, elements, strict=True):
        width, height = (72.0 * float(length) for length in figure.get_size_inches())
        if x > _EDGE and x + width > _SHEET_WIDTH - _EDGE:
            x, y, row_height = _EDGE, y + row_height + _GAP, 0.0
        place = f'<svg x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        placed.append(element.replace("<svg ", place, 1))
        x, row_height, sheet_width = x + width + _GAP, max(row_height, height), max(sheet_width, x + width + _EDGE)
    marks, y = _legend_marks(picture, y + row_height + _GAP, sheet_width)
    style = f":root {{ {variables(False)} }} @media (prefers-color-scheme: dark) {{ :root {{ {variables(True)} }} }}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet_width:.0f} {y:.0f}" role="img" '
        f'width="{sheet_width * 4 / 3:.0f}" height="{y * 4 / 3:.0f}" aria-label="{escape(picture.title)}">\n'
        f"<style>{style}</style>\n"
        f'<rect width="100%" height="100%" fill="var({PAPER.variable})"/>\n'
        f"{''.join(placed)}\n{marks}</svg>\n"
    ).encode()


def _legend_marks(picture: Picture, y: float, sheet_width: float) -> tuple[str, float]:
    """The legend's lines as SVG, and where they end."""
    found, x = [], _EDGE
    for family, words in legend(picture):
        text = f"{family}: {words}"
        width = text_width(text, TEXT) + 26.0
        if x > _EDGE and x + width > sheet_width - _EDGE:
            x, y = _EDGE, y + 13.0
        found.append(
            f'<circle cx="{x + 4:.1f}" cy="{y + 4:.1f}" r="3.5" fill="{family_colour(family)}"/>'
            f'<text x="{x + 11:.1f}" y="{y + 7:.1f}" fill="{FAINT.light}" '
            f"style=\"font: {TEXT}px 'DejaVu Sans', Verdana, sans-serif\">{escape(text)}</text>\n"
        )
        x += width
    return with_variables("".join(found)), y + 13.0 + _EDGE


def write_pictures(directory: Path, pictures: list[Picture]) -> dict[str, list[str]]:
    """Write `<name>.svg` of each picture; returns its panels' elements by name, for a page."""
    elements = {picture.name: panels(picture) for picture in pictures}
    for picture in pictures:
        write_atomically(directory / f"{picture.name}.svg", sheet(picture, elements[picture.name]))
    return elements
