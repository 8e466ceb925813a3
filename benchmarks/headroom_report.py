"""The headroom ladder as a table and as a picture, from its rows alone."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.headroom import CLAIMS
from benchmarks.leaderboard import provenance_line
from benchmarks.results import Row
from recsim_env.atomic_file import write_atomically

_PRIVILEGED = ("myopic-oracle", "foresight-oracle", "planning-oracle")
_KNOWS_THE_WORLD = ("history-blind", "bayes-filter")


def by_scenario(rows: list[Row]) -> dict[str, list[Row]]:
    """The rungs of each scenario, lowest first."""
    ladders: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["return_mean"]):
        ladders.setdefault(row["scenario"], []).append(row)
    return dict(sorted(ladders.items()))


def headroom_table(rows: list[Row]) -> str:
    """Markdown: the rungs of each scenario from the top, and the ratios that it is judged by."""
    parts = ["# Headroom ladder"]
    for scenario, ladder in by_scenario(rows).items():
        lines = ["| rung | score | return of a session | session length | left |", "|---|---|---|---|---|"]
        for row in reversed(ladder):
            lines.append(
                f"| {row['agent']} | {row['score']:.2f} | {row['return_mean']:.1f} ± {1.96 * row['return_sem']:.1f} "
                f"| {row['session_length_mean']:.1f} | {row['churn']:.0%} |"
            )
        lines.append("")
        for row in ladder:
            for claim, (ratio, low, high) in row.get("claims", {}).items():
                above, below = CLAIMS[claim]
                lines.append(f"* {claim}: {above} over {below} {ratio:.2f} ({low:.2f} to {high:.2f})")
        parts += [f"## {scenario}, {ladder[0]['num_sessions']} sessions", provenance_line(ladder[0]), "\n".join(lines)]
    parts.append(
        "Score: 0 is random, 1 the planning oracle. Ratios compare gains over random on the same sessions, with 95% "
        "intervals by the paired bootstrap. The three oracles read the latent state; the history-blind and the "
        "Bayes-filter player know the items and the population but not the person."
    )
    return "\n\n".join(parts) + "\n"


def draw_headroom(rows: list[Row]) -> bytes:
    """A PNG: the rungs of each scenario as bars with 95% intervals."""
    ladders = by_scenario(rows)
    num_columns = min(len(ladders), 3)
    num_rows = -(-len(ladders) // num_columns)
    height = 0.3 * max(len(ladder) for ladder in ladders.values()) + 1.2
    figure, grid = plt.subplots(num_rows, num_columns, figsize=(5.6 * num_columns, height * num_rows), squeeze=False)
    axes = grid.flatten()
    for axis in axes[len(ladders) :]:
        axis.set_visible(False)
    for axis, (scenario, ladder) in zip(axes, ladders.items(), strict=False):
        names = [row["agent"] for row in ladder]
        colours = [
            "#d55e00" if name in _PRIVILEGED else "#0072b2" if name in _KNOWS_THE_WORLD else "#8a8a8a" for name in names
        ]
        means, errors = [row["return_mean"] for row in ladder], [1.96 * row["return_sem"] for row in ladder]
        axis.barh(names, means, xerr=errors, color=colours, height=0.7, error_kw={"lw": 1, "capsize": 2})
        axis.set_title(f"{scenario}: headroom ladder, {ladder[0]['num_sessions']} sessions", fontsize=11)
        axis.set_xlabel("return of a session (sum of ratings, stars), 95% interval", fontsize=9)
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    kinds = (("reads the latent state", "#d55e00"), ("knows the world, not the person", "#0072b2"))
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for _, colour in (*kinds, ("", "#8a8a8a"))]
    labels = [name for name, _ in kinds] + ["sees what an agent sees"]
    figure.legend(patches, labels, loc="lower center", ncols=len(labels), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.25 / (height * num_rows), 1, 1))
    image = io.BytesIO()
    figure.savefig(image, dpi=130, format="png")
    plt.close(figure)
    return image.getvalue()


def write_headroom(directory: Path, rows: list[Row]) -> str:
    """Write `headroom.md` and `headroom.png`; returns the table."""
    table = headroom_table(rows)
    write_atomically(directory / "headroom.md", table.encode())
    write_atomically(directory / "headroom.png", draw_headroom(rows))
    return table
