"""Metrics as an MLflow run, by default in an SQLite file."""

import itertools
import logging
import os
import re
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.tracking.run_description import RunDescription
from agents.tracking.tracker import Metrics, Record, numbers_in

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
"""Names in the folder of a run."""

_TAG = "recsim_env.run"
_MAX_METRICS, _MAX_PARAMS, _MAX_LENGTH = 1_000, 100, 6_000  # limits of a request, and of the text of a parameter


class MLflowRun:
    """A tracker that writes a run of the experiment `recsim_env`; see `copies.open_copy`.

    The environment variables `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` select another store and experiment.
    MLflow cannot delete single records: a run with surplus records is deleted and replaced by a new one.
    """

    def __init__(self, folder: Path, run: RunDescription, records: Sequence[Record] = ()) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it on import
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(tracking_uri=uri or _database(folder))
        experiment = self._experiment(None if uri else (folder.resolve() / ARTIFACTS).as_uri())
        params = {_valid(name): text[:_MAX_LENGTH] for name, text in run.flat().items()}
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{run.id}'")
        kept = [each for each in found if each.data.params == params and self._holds_only(each, records)]
        for each in found:
            if each not in kept[:1]:
                self._client.delete_run(each.info.run_id)
        if kept:
            self._id = kept[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._new_run(experiment, run, params)
        present = self._pairs(kept[0]) if kept else set()
        entries = (each for record in records for each in _entries(record) if each[:3] not in present)
        for batch in _batched(entries, _MAX_METRICS):
            self._send(batch)

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`."""
        record = Record(step, dict(metrics), clock.time() if time is None else time)
        for batch in _batched(_entries(record), _MAX_METRICS):
            self._send(batch)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._client.set_terminated(self._id)

    def _experiment(self, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "recsim_env")
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name, artifact_location=artifacts)

    def _new_run(self, experiment: str, run: RunDescription, params: dict[str, str]) -> str:
        from mlflow.entities import Param

        tags = {_TAG: run.id, "mlflow.source.name": str(run.provenance.get("command", ""))}
        tags["mlflow.source.git.commit"] = str(run.provenance.get("commit", ""))
        own = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        for batch in _batched(params.items(), _MAX_PARAMS):
            self._client.log_batch(own, params=[Param(name, text) for name, text in batch], synchronous=True)
        return own

    def _pairs(self, run: Any) -> set[tuple[str, int, float]]:
        """Name, step and value of all metrics in a run."""
        histories = (self._client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
        return {(each.key, each.step, each.value) for history in histories for each in history}

    def _holds_only(self, run: Any, records: Sequence[Record]) -> bool:
        return self._pairs(run) <= {each[:3] for record in records for each in _entries(record)}

    def _send(self, entries: Sequence[tuple[str, int, float, int]]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, milliseconds, step) for name, step, value, milliseconds in entries]
        self._client.log_batch(self._id, metrics=metrics, synchronous=True)


def _database(folder: Path) -> str:
    from sqlalchemy import URL

    folder.mkdir(parents=True, exist_ok=True)
    return URL.create("sqlite", database=str(folder.resolve() / DATABASE)).render_as_string()


def _entries(record: Record) -> list[tuple[str, int, float, int]]:
    """Name, step, value and milliseconds since 1970 of each number in a record."""
    milliseconds = round(1_000 * record.time)
    return [(_valid(name), record.step, x, milliseconds) for name, x in numbers_in(record.metrics).items()]


def _valid(name: str) -> str:
    """The name, with underscores in place of characters that MLflow rejects."""
    return re.sub(r"[^\w.\-:/ ]", "_", name)


def _batched(entries: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(entries)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
