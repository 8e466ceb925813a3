"""Rows as TensorBoard event files: one run for each scenario, agent and seed."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.analysis.scores import scored
from benchmarks.rows import ResultsError, Row

_CURVES = {
    "return": "return_mean",
    "score": "score",
    "session_length": "session_length_mean",
    "churn": "churn",
    "seconds_of_learning": "wall_s",
}
"""Tag of each curve against user-steps, with its key in rows."""


def write_events(directory: Path, rows: Iterable[Row]) -> None:
    """Write `<scenario>/<agent>/seed-<seed>/` in `directory`; missing values are left out.

    Raises:
        ResultsError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ResultsError("TensorBoard is not installed: pip install tensorboard") from None
    by_run: dict[tuple[str, str, int], list[Row]] = {}
    for row in scored(rows):
        if row["status"] == "ok":
            by_run.setdefault((row["scenario"], row["agent"], row["seed"]), []).append(row)
    for (scenario, agent, seed), of_run in by_run.items():
        with SummaryWriter(str(directory / scenario / agent / f"seed-{seed}")) as writer:
            for row in of_run:
                for tag, value in scalars(row).items():
                    writer.add_scalar(tag, value, row["env_steps"])


def scalars(row: Row) -> dict[str, float]:
    """Values of a row by tag; metrics of a final row under `metrics/`."""
    curves = {tag: row[key] for tag, key in _CURVES.items() if key in row}  # type: ignore[literal-required]
    metrics = row.get("metrics") or {}
    return curves | {f"metrics/{name}": value for name, value in metrics.items() if value is not None}
