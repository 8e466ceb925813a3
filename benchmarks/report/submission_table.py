"""Tables of one submission for the terminal: its scores, and the results of its verification."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.analysis.leaderboard import Leaderboard
from benchmarks.report.tables import interval, number
from benchmarks.rows import Row
from benchmarks.submission.archive import Manifest
from benchmarks.submission.verification_record import Verification


def show_scores(screen: Console, manifest: Manifest, rows: Sequence[Row]) -> None:
    """Print the score of a submission, and its returns beside those of the references."""
    leaderboard = Leaderboard(rows)
    screen.print(f"{escape(manifest.name)}: score {interval(leaderboard.by_agent[manifest.name].score)}")
    table = Table(title="Mean returns in the public worlds")
    for column in ("agent", *leaderboard.scenarios):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for standing in leaderboard.standings:
        table.add_row(standing.agent, *(number(standing.returns[name]) for name in leaderboard.scenarios))
    screen.print(table)
    if manifest.privileges:
        screen.print(f"privileged: {', '.join(manifest.privileges)}")


def show_verification(screen: Console, record: Verification) -> None:
    """Print the repeated runs, the scores in public and hidden worlds, and the verdict."""
    table = Table(title="Repeated runs")
    for column in ("run", "fields that differ"):
        table.add_column(column)
    for run, fields in record.repeated.items():
        if fields or run.startswith(f"{record.name} "):
            table.add_row(escape(run), escape(", ".join(fields)) or "none")
    screen.print(table)
    if num_others := len(record.repeated) - table.row_count:
        screen.print(f"{num_others} runs of the references equal the committed ones or their repetition")
    table = Table(title=f"Scores in the public and the hidden worlds ({record.num_hidden_seeds} hidden seeds)")
    for column in ("scenario", "public", "hidden", "difference"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for name, public in record.public_scores.items():
        hidden = record.hidden_scores[name]
        mark = " (significant at 1%)" if name in record.scenarios_below else ""
        table.add_row(name, number(public), number(hidden), f"{hidden - public:+.2f}{mark}")
    screen.print(table)
    change = record.difference
    screen.print(f"difference of the means: {change.value:+.2f} (95% interval {change.low:+.2f} to {change.high:+.2f})")
    screen.print(f"verdict: {record.verdict}")
