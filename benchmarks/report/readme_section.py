"""The results in a README: a table and pictures between two markers, from rows alone."""

import os
from collections.abc import Iterable
from pathlib import Path

from benchmarks.analysis.bootstrap import decimals
from benchmarks.analysis.leaderboard import POPULARITY, REFERENCES, Board, Standing
from benchmarks.report.leaderboard_table import NONE, text_of
from benchmarks.report.report_content import Table
from benchmarks.report.report_words import answer, how_sure
from benchmarks.running.rows import ResultsError, Row
from recsim_env.atomic_file import write_atomically

_NUM_BEST = 8
_PICTURES = {"leaderboard": "Scores of all agents", "learning_curves": "Learning curves"}


def write_readme_section(readme: Path, directory: Path, rows: Iterable[Row]) -> None:
    """Replace what stands between the `markers` of the rows' suite in `readme`; links lead to what is in `directory`.

    Raises:
        ResultsError: the file lacks a marker, or has them the wrong way round.
        OSError: it cannot be read or written.
    """
    text = readme.read_text(encoding="utf-8")
    board = Board(rows)
    first, last = markers(board.rows[0]["suite"])
    begin, end = text.find(first), text.find(last)
    if begin < 0 or end < begin:
        raise ResultsError(f"{readme}: lacks the lines {first} and, after it, {last}")
    folder = Path(os.path.relpath(directory, readme.parent)).as_posix()
    section = f"{first}\n{readme_section(board, folder)}\n"
    write_atomically(readme, (text[:begin] + section + text[end:]).encode())


def markers(suite: str) -> tuple[str, str]:
    """The lines before and after a suite's results."""
    return f"<!-- results of {suite}: begin -->", f"<!-- results of {suite}: end -->"


def readme_section(board: Board, folder: str) -> str:
    """Markdown: who wins, the best agents beside the references, links to `folder`."""
    drawn = {"leaderboard": board.scored_scenarios, "learning_curves": board.learners}
    pictures = [f"![{words}]({folder}/{name}.svg)" for name, words in _PICTURES.items() if drawn[name]]
    link = f"Suite `{board.rows[0]['suite']}`: [all figures, pictures and definitions]({folder}/report.md)."
    parts = [answer(board, [])[0], how_sure(board), best_table(board).markdown, link, *pictures]
    return "\n\n".join(part for part in parts if part)


def best_table(board: Board) -> Table:
    """The best deployable agents, with the best baseline, popularity and the references; by score."""
    best = {standing.agent for standing in board.deployable[:_NUM_BEST]} | {POPULARITY, *REFERENCES}
    if board.best_baseline:
        best.add(board.best_baseline.agent)
    shown = [standing for standing in board.ranked if standing.agent in best]
    columns = ["agent", "family", "score (95% interval)", *board.scored_scenarios]
    return Table(title="Best agents", columns=columns, rows=[_cells(board, standing) for standing in shown])


def _cells(board: Board, standing: Standing) -> list[str]:
    scores = [standing.scores.get(scenario) for scenario in board.scored_scenarios]
    figures = [decimals(each.value) if each else NONE for each in scores]
    return [standing.agent, standing.family, text_of(standing.score), *figures]
