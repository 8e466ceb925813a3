"""Contents of trackers, read with their own libraries: metrics by name, as steps, values and times."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agents.tracking.metrics_log import read_metrics

Curves = dict[str, list[tuple[int, float, float]]]
"""Points by name: step, value and seconds since 1970, to the millisecond."""


def pairs(curve: list[tuple[int, float, float]]) -> list[tuple[int, float]]:
    """Steps and values."""
    return [(step, value) for step, value, _ in curve]


def read_tensorboard(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: [(each.step, each.value, round(each.wall_time, 3)) for each in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def read_wandb(folder: Path) -> Curves:
    """The history, as uploaded by `wandb sync`, of the only offline run in the folder."""
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    curves: Curves = {}
    for record in wandb_records(path):
        if record.WhichOneof("record_type") == "history":
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = items.get("_step", record.history.step.num)
            for name, value in items.items():
                if not name.startswith("_"):
                    curves.setdefault(name, []).append((step, value, round(items["_timestamp"], 3)))
    return curves


def wandb_records(path: Path) -> Iterator:
    """The records of a `.wandb` file, which is a LevelDB log with a different header."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        left = 32_768 - position % 32_768
        if left < 7:  # the end of a block
            position += left
            continue
        length, kind = struct.unpack("<HB", content[position + 4 : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def read_mlflow(folder: Path) -> Curves:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return {
        name: sorted(
            (each.step, each.value, each.timestamp / 1_000) for each in client.get_metric_history(run.info.run_id, name)
        )
        for name in run.data.metrics
    }


READERS = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}


def curves_in(folder: Path) -> Curves:
    """The curves of the numbers in `metrics.jsonl`."""
    curves: Curves = {}
    for line in read_metrics(folder / "metrics.jsonl"):
        for name, value in line.items():
            if name not in ("num_steps", "time") and isinstance(value, int | float):
                curves.setdefault(name, []).append((line["num_steps"], value, round(line["time"], 3)))
    return curves


def in_single_precision(curves: Curves) -> Curves:
    return {
        name: [(step, float(np.float32(value)), time) for step, value, time in curve] for name, curve in curves.items()
    }


def check_copy(folder: Path, name: str) -> None:
    """Check that the tracker holds the numbers in `metrics.jsonl` and no others."""
    expected = curves_in(folder)
    found = READERS[name](folder / "tensorboard" if name == "tensorboard" else folder)
    assert found == (in_single_precision(expected) if name == "tensorboard" else expected)
