"""The report of a suite, from its rows alone: `report.html`, one page that needs nothing else, and `report.md`."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.analysis.leaderboard import Board
from benchmarks.report.figures.panel import Picture
from benchmarks.report.leaderboard_table import NONE, cost_table, metric_tables, scenario_table, score_table
from benchmarks.report.plots import draw_pictures, write_pictures
from benchmarks.report.report_content import Report, Section, Table, Words
from benchmarks.report.report_page import page
from benchmarks.report.report_words import CellKey, against_popularity, answer, definitions, listed, missing_cells
from benchmarks.running.rows import Row
from recsim_env.atomic_file import write_atomically


def write_report(directory: Path, rows: Iterable[Row], expected: Iterable[CellKey] | None = None) -> Report:
    """Write `report.html`, `report.md` and, for each picture, an SVG file; returns what they say.

    Args:
        directory: an existing folder.
        rows: of one suite, failed ones too; at least one.
        expected: the (agent, scenario, seed) that should have rows; what has none is reported as missing. By default
            every agent of the rows in every scenario with every seed.
    """
    board = Board(rows)
    pictures = draw_pictures(board)
    report = compose(board, pictures, missing_cells(board, expected))
    elements = write_pictures(directory, pictures)
    write_atomically(directory / "report.html", page(report, elements).encode())
    write_atomically(directory / "report.md", markdown(report).encode())
    return report


def compose(board: Board, pictures: list[Picture], missing: list[CellKey]) -> Report:
    """The sections in their order; those that have nothing to say are left out."""
    drawn = {picture.name: picture for picture in pictures}

    def pictured(*names: str) -> list[Words | Table | Picture]:
        return [drawn[name] for name in names if name in drawn]

    sections = [
        Section(title="Leaderboard", blocks=[*pictured("leaderboard"), *_if_any(score_table(board), board)]),
        Section(title="Learners and popularity", blocks=_points(against_popularity(board))),
        Section(title="What there is to gain", blocks=pictured("headroom")),
        Section(
            title="Learning curves",
            blocks=pictured("learning_curves", "learning_curves_by_time", "learners_one_by_one"),
        ),
        Section(title="How sure", blocks=pictured("improvement", "profiles")),
        Section(title="Scenarios", blocks=[scenario_table(board, name) for name in board.scenarios]),
        Section(title="Cold start", blocks=pictured("cold_start")),
        Section(title="Beyond reward", blocks=[*pictured("pareto"), *metric_tables(board)]),
        Section(title="Cost", blocks=[table for table in (cost_table(board),) if table.rows]),
        Section(title="Failed and missing", blocks=_gaps(board, missing)),
        Section(title="Settings", blocks=_settings(board)),
        Section(title="Where this comes from", blocks=_points(_origins(board))),
        Section(title="What the figures mean", blocks=_points(definitions(board))),
    ]
    return Report(
        title=f"Benchmark report: suite {board.rows[0]['suite']}",
        opening=Words(lines=answer(board, missing)),
        sections=[section for section in sections if section.blocks],
    )


def markdown(report: Report) -> str:
    """The report in Markdown; pictures are files beside it."""
    parts = [f"# {report.title}", *report.opening.lines]
    for section in report.sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            if isinstance(block, Words):
                parts += ["\n".join(f"* {line}" for line in block.lines)] if block.is_list else block.lines
            elif isinstance(block, Table):
                parts += [f"**{block.title}**", block.markdown]
            else:
                parts += [f"### {block.title}"] * (block.title != section.title)
                parts += [f"![{block.title}]({block.name}.svg)", f"*{block.caption}*"]
    return "\n\n".join(parts) + "\n"


def _if_any(table: Table, board: Board) -> list[Table]:
    return [table] if board.scored_scenarios else []


def _points(lines: list[str]) -> list[Words | Table | Picture]:
    return [Words(lines=lines, is_list=True)] if lines else []


def _gaps(board: Board, missing: list[CellKey]) -> list[Words | Table | Picture]:
    blocks: list[Words | Table | Picture] = []
    failed = [
        [row["agent"], row["scenario"], str(row["seed"]), row.get("error", NONE)]
        for row in board.rows
        if row["status"] == "failed"
    ]
    if failed:
        blocks.append(Table(title="Failed", columns=["agent", "scenario", "seed", "error"], rows=failed))
    if missing:
        columns = ["agent", "scenario", "missing seeds"]
        blocks.append(Table(title="Missing", columns=columns, rows=_missing_rows(missing), is_detail=True))
    unscored = [name for name in board.scenarios if name not in board.scored_scenarios]
    if unscored:
        why = "a reference is missing, or the oracle is not above random"
        blocks.append(Words(lines=[f"Without scores, as {why}: {listed(unscored)}."]))
    return blocks or [Words(lines=["Every cell ran."])]


def _missing_rows(missing: list[CellKey]) -> list[list[str]]:
    """One for each agent and set of seeds, with all the scenarios that lack them."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for agent, scenario, seed in missing:
        seeds.setdefault((agent, scenario), []).append(str(seed))
    scenarios: dict[tuple[str, str], list[str]] = {}
    for (agent, scenario), of in seeds.items():
        scenarios.setdefault((agent, ", ".join(of)), []).append(scenario)
    return [[agent, ", ".join(found), of] for (agent, of), found in scenarios.items()]


def _settings(board: Board) -> list[Words | Table | Picture]:
    rows = []
    for standing in board.standings:
        found = list(dict.fromkeys(_in_words(row["settings"]) for row in board.runs(standing.agent) if row["settings"]))
        rows += [[standing.agent, words] for words in found]
    return (
        [Table(title="Settings of the agents", columns=["agent", "settings"], rows=rows, is_detail=True)]
        if rows
        else []
    )


def _in_words(settings: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _provenance(row: Row) -> str:
    """Where a row comes from, its date not included."""
    versions = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
    return f"`{row.get('command', '?')}` · commit {row.get('commit', '?')} · {row.get('machine', '?')} · {versions}"


def _origins(board: Board) -> list[str]:
    """One line for each command, commit and machine, with the first and the last date; and whose code has changed."""
    by_origin: dict[str, list[Row]] = {}
    for row in board.rows:
        by_origin.setdefault(_provenance(row), []).append(row)
    lines = []
    for line, rows in by_origin.items():
        dates = sorted({str(row.get("date", "?")) for row in rows})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        lines.append(f"{line} · {when} ({len(rows):,} rows)")
    return lines
