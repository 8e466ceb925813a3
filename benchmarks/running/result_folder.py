"""A folder of results that survives a killed process: finished runs are kept and not repeated."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.registry import UnknownAgentError
from benchmarks.rows import STALE, ResultsError, Row, RunKey, append_rows, key_of, read_rows, set_aside, write_rows
from benchmarks.running.run import Run
from benchmarks.suites import SUITES, Suite
from recsim_env.atomic_file import write_atomically
from recsim_env.locked_folder import locked

RESULTS, SUITE = "results.jsonl", "suite.json"


@contextmanager
def open_results(path: Path, suite: Suite, log: Callable[[str], None]) -> Iterator["ResultFolder"]:
    """The folder of a suite's rows, created if it is missing, and locked against other processes.

    `log` is called with each message for the user.

    Raises:
        ResultsError: the folder holds another suite or other sizes.
        FolderInUseError: another process is writing to it.
        OSError: it cannot be written.
    """
    with locked(path):
        _check_suite(path, {"suite": suite.name, **suite.sizes()})
        yield ResultFolder(path, suite, log)


def _check_suite(folder: Path, own: dict[str, Any]) -> None:
    """Write the suite's name and sizes into a new folder; `ResultsError` if it holds others."""
    path = folder / SUITE
    if not path.exists():
        if (folder / RESULTS).exists():
            raise ResultsError(f"{folder}: holds {RESULTS} but no {SUITE}: choose another folder")
        write_atomically(path, json.dumps(own, indent=1).encode())
        return
    try:
        present = json.loads(path.read_text())
    except (ValueError, RecursionError):
        present = None
    if not isinstance(present, dict):
        raise ResultsError(f"{path}: is damaged; choose another folder")
    if present != own:
        held, wanted = _description(present), _description(own)
        raise ResultsError(f"{folder}: holds {held}, not {wanted}; choose another folder")


@dataclass(frozen=True)
class ResultFolder:
    """The rows of one suite."""

    path: Path
    suite: Suite
    log: Callable[[str], None]

    def finished(
        self,
        runs: list[Run],
        *,
        whole: Iterable[Run] = (),
        retry_failed: bool = False,
        allow_stale: bool = False,
    ) -> list[Row]:
        """The rows of finished runs; all others are removed from the folder.

        Incomplete runs are dropped, and failed ones with `retry_failed`. Stale rows (of another version, world, size,
        setting or source) move to `stale.jsonl`, unless `allow_stale`; rows that are not requested are compared with
        the `whole` suite. So do the rows of learners whose trained agents are to be saved and have not been.
        """
        path = self.path / RESULTS
        if not path.exists():
            return []
        try:
            rows = read_rows(path, self.log)
        except ResultsError:
            if b"\n" in path.read_bytes():
                raise
            rows = []  # the very first line is incomplete
        requested, others = {run.key: run for run in runs}, {run.key: run for run in whole}
        fresh, stale = _parted(rows, lambda row: not allow_stale and _is_stale(row, requested, others))
        if stale:
            self.log(
                f"{len(stale)} stale rows (another version, world, size, setting or source) are moved to {STALE}; "
                "--allow-stale would keep them"
            )
        unsaved_keys = {run.key for run in runs if run.is_unsaved}
        kept, unsaved = _parted(fresh, lambda row: key_of(row) in unsaved_keys and row["status"] == "ok")
        if num_unsaved := sum(row["is_final"] for row in unsaved):
            self.log(f"{num_unsaved} finished runs are repeated to save their agents; their rows are moved to {STALE}")
        if moved := [*stale, *unsaved]:
            set_aside(moved, self.path)
        done = {key_of(row) for row in kept if row["is_final"] and not (retry_failed and row["status"] == "failed")}
        kept = [row for row in kept if key_of(row) in done]
        write_rows(path, kept)
        return kept

    def add(self, rows: Iterable[Row]) -> None:
        """Append the rows of finished runs."""
        append_rows(self.path / RESULTS, rows)

    def sort(self) -> list[Row]:
        """Put the rows in the order of the suite."""
        rows = read_rows(self.path / RESULTS)
        suites = (SUITES.get(self.suite.name, self.suite), self.suite)  # the second may have a user's own agents
        tasks = list(dict.fromkeys(task for suite in suites for task in suite.tasks()))
        agents = list(dict.fromkeys(agent for suite in suites for agent in suite.agents))

        def place(row: Row) -> tuple[int, ...]:
            return (
                row["seed"],
                tasks.index(row["scenario"]) if row["scenario"] in tasks else len(tasks),
                agents.index(row["agent"]) if row["agent"] in agents else len(agents),
                row["env_steps"],
            )

        rows.sort(key=place)
        write_rows(self.path / RESULTS, rows)
        return rows


def _parted(rows: Iterable[Row], is_second: Callable[[Row], bool]) -> tuple[list[Row], list[Row]]:
    """The rows that do not meet the condition, and those that do."""
    parts: tuple[list[Row], list[Row]] = [], []
    for row in rows:
        parts[is_second(row)].append(row)
    return parts


def _is_stale(row: Row, requested: Mapping[RunKey, Run], whole: Mapping[RunKey, Run]) -> bool:
    """Whether the current run of that agent, scenario and seed is known to have another digest."""
    run = requested.get(key_of(row))
    if run is None and "log" not in row and "loaded_from" not in row:  # else it depends on files that are not given
        run = whole.get(key_of(row))
    try:
        return run is not None and row["run"] != run.digest
    except UnknownAgentError:  # a package that this agent needs is not installed
        return False


def reusable_rows(runs: Iterable[Run], folders: Iterable[Path], log: Callable[[str], None]) -> list[Row]:
    """Rows in other folders of results whose runs equal these: same version, world, sizes and settings."""
    wanted = {run.digest: run for run in runs}
    by_run: dict[str, list[Row]] = {}
    for path in sorted({path for folder in folders for path in folder.rglob(RESULTS)}):
        try:
            rows = [row for row in read_rows(path) if row["run"] in wanted]
        except ResultsError as error:
            log(f"not reused: {error}")
            continue
        new: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            new[row["run"]].append({**row, "suite": wanted[row["run"]].suite.name})
        by_run |= {digest: each for digest, each in new.items() if each[-1]["is_final"] and each[-1]["status"] == "ok"}
    return [row for each in by_run.values() for row in each]


def _description(suite: dict[str, Any]) -> str:
    sizes = ", ".join(f"{name} {number}" for name, number in suite.items() if name != "suite")
    return f"suite {suite.get('suite')!r} ({sizes})"


def final_rows_in(folder: Path) -> list[Row]:
    """The final rows of all suites with results in a folder; files without rows of suites are skipped."""
    rows: list[Row] = []
    for path in sorted(folder.rglob(RESULTS)):
        try:
            rows += [row for row in read_rows(path) if row["is_final"]]
        except ResultsError:
            continue
    return rows
