"""The runs behind committed rows that the current code can repeat in a short time."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import recsim_env
from agents.registry import UnknownAgentError
from benchmarks.rows import Row, key_of, read_rows
from benchmarks.running.result_folder import RESULTS
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_runs
from benchmarks.suites import SUITES

RunWithRows = tuple[Run, list[Row]]


def row_files(folder: Path) -> list[Path]:
    """The files of rows in a folder of results, from suites and experiments."""
    return sorted(folder.rglob("*.jsonl"))


def repeatable_runs(files: Iterable[Path], max_seconds: float) -> tuple[list[RunWithRows], Counter[str]]:
    """The runs of suites that the current code can repeat in at most `max_seconds`, with their rows; and the number of
    other runs by reason. Runs that occur in several files are returned once.
    """
    found: dict[str, RunWithRows] = {}
    reasons: Counter[str] = Counter()
    for file in files:
        if file.name != RESULTS:
            continue
        by_run: dict[str, list[Row]] = {}
        for row in read_rows(file):
            by_run.setdefault(row["run"], []).append(row)
        runs = _present_runs([rows[-1] for rows in by_run.values()])
        for digest, rows in by_run.items():
            reason = _reason(rows[-1], runs.get(digest), max_seconds)
            if reason:
                reasons[reason] += 1
            else:
                found.setdefault(digest, (runs[digest], rows))
    return [found[digest] for digest in sorted(found)], reasons


def _reason(last: Row, run: Run | None, max_seconds: float) -> str:
    """Why a run is not repeated, or ""."""
    if last["version"] != recsim_env.__version__:
        return "from another version"
    if last["status"] != "ok" or not last["is_final"]:
        return "that failed or are unfinished"
    if run is None:
        return "with other settings, sizes, worlds or models than in the current suites"
    seconds = last.get("run_s")
    return "" if seconds is not None and seconds <= max_seconds else f"that took more than {max_seconds:g} s"


def _present_runs(rows: Sequence[Row]) -> dict[str, Run]:
    """By digest, the runs of the current suites with the agents and seeds of these rows."""
    runs: dict[str, Run] = {}
    wanted = {key_of(row) for row in rows if row["version"] == recsim_env.__version__}
    for name in {row["suite"] for row in rows} & set(SUITES):
        agents = tuple(agent for agent in SUITES[name].agents if agent in {key[0] for key in wanted})
        if not agents:
            continue
        num_seeds = 1 + max(seed for _, _, seed in wanted)
        for run in suite_runs(dataclasses.replace(SUITES[name], agents=agents, num_seeds=num_seeds)):
            if run.key in wanted:
                try:
                    runs[run.digest] = run
                except UnknownAgentError:  # the agent needs a package that is not installed
                    continue
    return runs
