"""A training in a folder: resumed from its last checkpoint, with metrics, checkpoints and evaluations on the way."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.large_model.checkpoint import FOLDER, load_latest, save_checkpoint
from agents.large_model.config import RunConfig
from agents.large_model.training import Training
from agents.networks.item_content import ItemContent
from recsim_env.atomic_file import write_atomically

EVALUATION_SEED = 700_000_001
"""Seed of the first session of evaluations during training; not used by the benchmark."""


def run_training(
    training: Training,
    folder: Path,
    config: RunConfig,
    log: Callable[[str], None] = lambda words: None,
    show: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> dict[str, float]:
    """Train to the end, or for `config.minutes`; returns the results of the last evaluation, empty if there was none.

    `log` is called with lines for the user, `show` with the metrics of each iteration.

    Raises:
        ValueError: the folder has checkpoints of another training, or none that can be used; or processes do not share
            it.
    """
    checkpoints, is_first = folder / FOLDER, training.group.is_first
    load_latest(checkpoints, log, training.restore)
    steps = training.group.of_each(training.num_steps)
    if len(set(steps)) > 1:
        raise ValueError(f"{folder}: must be one folder that all nodes share; their checkpoints are of {steps} steps")
    if training.num_steps > 0:
        log(f"{'finished' if training.is_over else 'continuing'} after {training.num_steps:,} steps")
    if training.is_over:
        return {}
    if training.num_steps == 0:
        training.train_reader()
    metrics_log = MetricsLog(folder, training.num_steps, config.tensorboard) if is_first else None
    network = training.network
    held_out = training.worlds.held_out(config.evaluation_sessions)
    worlds = {name: (env, network.content_of(env)) for name, env in held_out.items()}
    started = saved = time.monotonic()
    results: dict[str, float] = {}
    is_late = False
    while not (training.is_over or is_late):
        before = training.num_steps
        metrics = training.iterate()
        if training.is_over or _is_due(before, training.num_steps, config.evaluate_every):
            results = _evaluate(training, worlds)
            metrics |= results
        if metrics_log:
            metrics_log.add(metrics)
            show(metrics)
        now = time.monotonic()
        is_late = config.minutes > 0.0 and training.group.any(now - started > 60.0 * config.minutes)
        is_due = training.group.any(now - saved > 60.0 * config.checkpoint_minutes)
        if training.is_over or is_late or is_due:
            checkpoint = training.checkpoint()
            if is_first:
                save_checkpoint(checkpoints, checkpoint)
            saved = time.monotonic()
    return results


def _is_due(before: int, after: int, interval: int) -> bool:
    """Whether a multiple of `interval` has been passed; the same after a restart."""
    return interval > 0 and after // interval > before // interval


def _evaluate(training: Training, worlds: dict[str, tuple[Any, ItemContent]]) -> dict[str, float]:
    """Mean returns of the policy, of the supervised heads alone and of a teacher that is a network, in the same
    sessions: `evaluation`, `evaluation_supervised` and `evaluation_teacher`, means over scenarios; and of each scenario
    if there are several."""
    results: dict[str, float] = {}
    players = {
        "evaluation": (training.network, "greedy"),
        "evaluation_supervised": (training.network, "supervised"),
        **({} if training.teacher is None else {"evaluation_teacher": (training.teacher, "greedy")}),
    }
    for name, (network, selection) in players.items():
        means = {}
        for scenario, (env, content) in worlds.items():
            means[scenario] = training.mean_return(env, content, EVALUATION_SEED, selection, network)
        results[name] = float(np.mean(list(means.values())))
        if len(means) > 1:
            results |= {f"{name}/{scenario}": mean for scenario, mean in means.items()}
    return results


class MetricsLog:
    """Appends to `metrics.jsonl`, a line for each iteration, and to TensorBoard event files on demand.

    Lines after the `num_steps` of the checkpoint are removed: a resumed training writes them again.
    """

    def __init__(self, folder: Path, num_steps: int, has_tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        lines = [line for line in read_metrics(self.path) if line["num_steps"] <= num_steps]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())
        self._events: Any = None
        if has_tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("--tensorboard: needs the package tensorboard (pip install tensorboard)") from None
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=num_steps + 1)

    def add(self, metrics: dict[str, Any]) -> None:
        """Write a line; `num_steps` is among the metrics."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written ({error.strerror})") from None
        if self._events:
            for name, value in metrics.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    self._events.add_scalar(name, value, metrics["num_steps"])
            self._events.flush()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines with `num_steps`, without incomplete ones; empty if there is no file."""
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("num_steps"), int):
            lines.append(line)
    return lines
