"""A report as one self-contained page: no script, no network; readable on a phone, on light and on dark paper."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.report.figures.palette import FAMILY_TONES, variables
from benchmarks.report.plots import legend
from benchmarks.report.report_content import Report

_NARROW = 200.0
"""Panels narrower than this, in points, stand two beside each other on a phone."""


def page(report: Report, elements: dict[str, list[str]]) -> str:
    """The HTML page; `elements` has the panels of each picture, by its name, as SVG."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = marked
    narrow = {
        picture.name
        for picture in report.pictures
        if all(72.0 * figure.get_size_inches()[0] < _NARROW for figure in picture.panels)
    }
    return environment.get_template("report.html").render(
        report=report,
        panels={name: [Markup(svg) for svg in found] for name, found in elements.items()},
        legends={picture.name: legend(picture) for picture in report.pictures},
        tones={family: tones[0].variable for family, tones in FAMILY_TONES.items()},
        narrow=narrow,
        light=variables(False),
        dark=variables(True),
    )


def marked(text: str) -> Markup:
    """HTML of a line in which `**bold**` and `` `code` `` may stand; all else is escaped."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html))
