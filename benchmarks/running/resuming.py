"""A folder of results that survives being killed: what is finished in it stays, and is not done again."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from agents.locked_folder import FolderInUseError, locked
from agents.registry import UnknownAgentError
from benchmarks.running.rows import ResultsError, Row, append_rows, read_rows, write_rows
from benchmarks.running.run import Cell
from benchmarks.suites import SUITES, Suite
from recsim_env.atomic_file import write_atomically

RESULTS, APART, SUITE = "results.jsonl", "kept_apart.jsonl", "suite.json"


class ResultFolder:
    """The rows of one suite; a context manager that lets no second run write into the folder.

    On entering, what a killed run has left is put in order: a line that was cut off and rows of a cell that was not
    finished are dropped, rows of another version, of other settings or, where cells are asked for, of other source code
    are moved to `kept_apart.jsonl`.

    Raises:
        ResultsError: the folder holds another suite or other sizes of it, or another run is writing into it.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, suite_name: str, suite: Suite, tell: Callable[[str], None]) -> None:
        self.path, self._suite_name, self._suite, self._tell = path, suite_name, suite, tell
        self._open = ExitStack()

    def __enter__(self) -> "ResultFolder":
        try:
            self._open.enter_context(locked(self.path))
        except FolderInUseError as error:
            raise ResultsError(str(error)) from None
        try:
            self._check_suite()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _check_suite(self) -> None:
        path, own = self.path / SUITE, {"suite": self._suite_name, **self._suite.sizes()}
        if not path.exists():
            if (self.path / RESULTS).exists():
                raise ResultsError(f"{self.path}: holds {RESULTS} but no {SUITE}: choose another folder")
            write_atomically(path, json.dumps(own, indent=1).encode())
            return
        try:
            found = json.loads(path.read_text())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ResultsError(f"{path}: is damaged; choose another folder")
        if found != own:
            raise ResultsError(f"{self.path}: holds {_in_words(found)}, not {_in_words(own)}; choose another folder")

    def finished(
        self,
        cells: list[Cell],
        *,
        whole: Iterable[Cell] = (),
        is_retrying: bool = False,
        is_any_code: bool = False,
    ) -> list[Row]:
        """The rows of finished cells, once the folder is in order.

        Args:
            cells: what is asked for.
            whole: the cells of the whole suite, whose agents and scenarios are known although not asked for.
            is_retrying: failed cells are not finished.
            is_any_code: cells that other source code has finished are finished.
        """
        path, present = self.path / RESULTS, _Present(cells, whole)  # before workers start, and code can change
        if not path.exists():
            return []
        try:
            rows = read_rows(path, self._tell)
        except ResultsError:
            if path.read_bytes().count(b"\n") > 0:
                raise
            rows = []  # the very first line was cut off
        kept: list[Row] = []
        others: list[Row] = []
        coded: list[Row] = []
        for row in rows:
            is_coded = not is_any_code and present.is_of_other_code(row)
            (others if present.is_other_than(row) else coded if is_coded else kept).append(row)
        for apart, words in (
            (others, f"of another version or other settings are kept apart in {APART}"),
            (coded, f"of other or unknown source code are kept apart in {APART}; --any-code lets such rows stand"),
        ):
            if apart:
                self._tell(f"{len(apart)} rows {words}")
                append_rows(self.path / APART, apart)
        done = {row["cell"] for row in kept if row["is_final"] and not (is_retrying and row["status"] == "failed")}
        kept = [row for row in kept if row["cell"] in done]
        write_rows(path, kept)
        return kept

    def add(self, rows: list[Row]) -> None:
        """Append the rows of a finished cell."""
        append_rows(self.path / RESULTS, rows)

    def sort(self) -> list[Row]:
        """Put the rows in the order of the suite, whatever the order in which they were asked for and finished."""
        rows = read_rows(self.path / RESULTS)
        suites = (SUITES.get(self._suite_name, self._suite), self._suite)  # the second may have agents of one's own
        tasks, agents = (
            {name: place for place, name in enumerate(dict.fromkeys(names))}
            for names in (
                [task for suite in suites for task in suite.tasks()],
                [agent for suite in suites for agent in suite.agents],
            )
        )

        def place(row: Row) -> tuple[int, ...]:
            where = tasks.get(row["scenario"], len(tasks)), agents.get(row["agent"], len(agents))
            return row["seed"], *where, row["env_steps"]

        rows.sort(key=place)
        write_rows(self.path / RESULTS, rows)
        return rows


class _Present:
    """What cells are now, asked for or not, so that rows of other settings or other code can be told."""

    def __init__(self, asked_for: list[Cell], whole: Iterable[Cell]) -> None:
        self._codes = {cell.digest: cell.identity()["code"] for cell in asked_for}
        self._asked_for = {(cell.agent, cell.task, cell.seed) for cell in asked_for}
        self._tasks = {cell.task for cell in asked_for}
        self._any_seed = {(cell.agent, cell.task): cell for cell in (*whole, *asked_for)}
        self._found: dict[tuple[str, str, int, bool], str | None] = {}

    def is_other_than(self, row: Row) -> bool:
        """Whether a row is not of the present cell; cells that nobody knows here may be of the next run, and are."""
        if row["cell"] in self._codes:
            return False
        if (row["agent"], row["scenario"], row["seed"]) in self._asked_for:
            return True
        if "log" in row and row["scenario"] not in self._tasks:
            return False  # this run has not been told the log
        place = row["agent"], row["scenario"], row["seed"], "trained" in row
        if place not in self._found:
            self._found[place] = self._digest(*place)
        return self._found[place] not in (None, row["cell"])

    def is_of_other_code(self, row: Row) -> bool:
        """Whether a row is of a cell that is asked for, and its code is not the present one."""
        return row["cell"] in self._codes and row.get("code") != self._codes[row["cell"]]

    def _digest(self, agent: str, task: str, seed: int, is_trained_elsewhere: bool) -> str | None:
        """Of a cell that is not asked for; None if what it depends on is not known here."""
        cell = self._any_seed.get((agent, task))
        if cell is None or (is_trained_elsewhere and cell.trained is None):
            return None
        cell = dataclasses.replace(cell, seed=seed, trained=cell.trained if is_trained_elsewhere else None)
        if cell.log and task not in self._tasks:
            return None
        try:
            return cell.digest
        except UnknownAgentError:  # a package that this agent needs is not installed here
            return None


def _in_words(suite: dict) -> str:
    sizes = ", ".join(f"{name} {number}" for name, number in suite.items() if name != "suite")
    return f"suite {suite.get('suite')!r} ({sizes})"
