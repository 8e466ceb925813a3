"""A training in a folder: resumed from its last checkpoint, with metrics, checkpoints and evaluations on the way."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agents.large_model.checkpoint import FOLDER, load_latest, save_checkpoint
from agents.large_model.config import RunConfig
from agents.large_model.training import Training
from agents.networks.item_content import ItemContent
from agents.provenance import provenance
from agents.tracking import Tracker, tracked_run

EVALUATION_SEED = 700_000_001
"""Seed of the first session of evaluations during training; not used by the benchmark."""


def run_training(
    training: Training,
    folder: Path,
    config: RunConfig,
    log: Callable[[str], None] = lambda words: None,
    show: Callable[[dict[str, Any]], None] = lambda metrics: None,
    command: Sequence[str] = (),
) -> dict[str, float]:
    """Train to the end, or for `config.minutes`; returns the results of the last evaluation, empty if there was none.

    `log` is called with messages for the user, `show` with the metrics of each iteration; `command` contains the
    arguments of `python -m agents.large_model`, which the trackers record.

    Raises:
        ValueError: the folder has checkpoints of another training or no usable one, or the processes do not share the
            folder.
    """
    checkpoints, is_first = folder / FOLDER, training.group.is_first
    load_latest(checkpoints, log, training.restore)
    steps = training.group.of_each(training.num_steps)
    if len(set(steps)) > 1:
        raise ValueError(f"{folder}: must be one folder that all nodes share; their checkpoints are of {steps} steps")
    if training.num_steps > 0:
        log(f"{'finished' if training.is_over else 'continuing'} after {training.num_steps:,} steps")
    if training.is_over:
        with _tracker(training, folder, config, log, command):
            return {}  # opening a new tracker copies the whole run to it
    if training.num_steps == 0:
        training.train_reader()
    network = training.network
    held_out = training.worlds.held_out(config.evaluation_sessions)
    worlds = {name: (env, network.content_of(env)) for name, env in held_out.items()}
    started = saved = time.monotonic()
    results: dict[str, float] = {}
    is_late = False
    with _tracker(training, folder, config, log, command) as tracker:
        while not (training.is_over or is_late):
            before = training.num_steps
            metrics = training.iterate()
            if training.is_over or _is_due(before, training.num_steps, config.evaluate_every):
                results = _evaluate(training, worlds)
                metrics |= results
            if tracker:
                tracker.log(training.num_steps, {name: x for name, x in metrics.items() if name != "num_steps"})
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


def _tracker(
    training: Training, folder: Path, config: RunConfig, log: Callable[[str], None], command: Sequence[str]
) -> AbstractContextManager[Tracker | None]:
    """The tracker of the run, without records after the checkpoint; None in all processes but the first."""
    if not training.group.is_first:
        return nullcontext()
    sizes = {f"effective_{name}": size for name, size in training.effective_sizes.items()}
    settings = {**asdict(training.config), **sizes, "num_parameters": training.network.num_parameters}
    origin = provenance(command, "agents.large_model")
    return tracked_run(folder, config.track, config=settings, origin=origin, last_step=training.num_steps, log=log)


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
