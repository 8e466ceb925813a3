"""Colours that hold on light and on dark paper: drawn as the light ones, shown as CSS variables that a page can change.

A family of agents has one hue; its agents, best first, take that hue's shades in turn. References are grey.
"""

from dataclasses import dataclass

from benchmarks.analysis.leaderboard import Board


@dataclass(frozen=True, kw_only=True)
class Tone:
    """One colour, as a CSS variable with its value on light and on dark paper."""

    variable: str
    light: str
    dark: str


INK = Tone(variable="--ink", light="#1c2126", dark="#e8eaed")
FAINT = Tone(variable="--faint", light="#626b75", dark="#a3abb5")
GRID = Tone(variable="--grid", light="#dde1e5", dark="#383f47")
OTHERS = Tone(variable="--others", light="#b4bac1", dark="#59616b")
PAPER = Tone(variable="--paper", light="#fefefe", dark="#15181c")

_HUES = {
    "reference": (("#6d7780", "#98a2ad"),),
    "rule": (("#8a6d00", "#d9bd4a"), ("#b3912a", "#a8934a"), ("#6b5a20", "#efe09a")),
    "bandit": (("#1b7f3b", "#5ccf86"), ("#55a630", "#a6d96f"), ("#0d5c4a", "#3fae9a"), ("#84a81e", "#d2e88a")),
    "logged": (("#8e3fae", "#d09af0"), ("#c2489a", "#f29acb"), ("#63449c", "#a98fe0"), ("#a3306a", "#e0709f")),
    "learner": (
        *(("#0b5cc0", "#62a8ff"), ("#2c9adf", "#9bd6ff"), ("#4a45c9", "#a29bff"), ("#0e7f95", "#4cc3d8")),
        *(("#1d2f5f", "#c4d3f5"), ("#6d8fd8", "#7f9be0")),
    ),
    "own": (("#20262c", "#f4f6f8"), ("#4d5660", "#c9d0d8"), ("#7a2f5d", "#f0b8d8")),
    "library": (("#c8500a", "#ff9a58"), ("#e0930f", "#ffcb66"), ("#a93434", "#ff8585"), ("#8a5a2e", "#cfa274")),
}

FAMILY_TONES = {
    family: tuple(Tone(variable=f"--{family}-{n}", light=light, dark=dark) for n, (light, dark) in enumerate(shades, 1))
    for family, shades in _HUES.items()
}

TONES = (INK, FAINT, GRID, OTHERS, PAPER, *(tone for tones in FAMILY_TONES.values() for tone in tones))


def shades(board: Board) -> dict[str, str]:
    """For each agent its colour on light paper."""
    taken: dict[str, int] = {}
    found = {}
    for standing in board.standings:
        tones = FAMILY_TONES.get(standing.family, FAMILY_TONES["reference"])
        n = taken[standing.family] = taken.get(standing.family, -1) + 1
        found[standing.agent] = tones[n % len(tones)].light
    return found


def family_colour(family: str) -> str:
    """The first shade of a family."""
    return FAMILY_TONES.get(family, FAMILY_TONES["reference"])[0].light


def variables(is_dark: bool) -> str:
    """CSS declarations of all colours."""
    return " ".join(f"{tone.variable}: {tone.dark if is_dark else tone.light};" for tone in TONES)


def with_variables(svg: str) -> str:
    """SVG whose colours follow the CSS variables, and keep their light value where there are none."""
    for tone in TONES:
        svg = svg.replace(tone.light, f"var({tone.variable}, {tone.light})")
    return svg
