"""A training by several processes, each of which runs this program: `python large_model_ranks.py FOLDER`.

They train with a copy of the model in each (DDP) and with a shard of it in each (FSDP2). The first one writes what that
comes to: gradients of the first update, metrics, and a checkpoint.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from conftest import CHECKOUT
from safetensors.torch import save_file

from agents.large_model import distributed
from agents.large_model.checkpoint import load_latest, save_checkpoint
from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import ProcessGroup, process_group
from agents.large_model.rollout import Sessions
from agents.large_model.training import Training

KINDS = {"copies": False, "shards": True}
"""How the model is spread, and what `is_sharded` says to that."""

NUM_STEPS = 4

NUM_EARLIER_ROWS = 300
"""So many that sessions without them are read apart."""

CONFIG = TrainingConfig(
    env_arguments={
        "session_length": NUM_STEPS,
        "overrides": {  # some leave early: one process has more steps than the other, and each step counts alike
            "population": {"patience_mean": 1.5},
            "behaviour": {"patience_skip": 1.0},
        },
        "split": "train",
    },
    model_overrides={"width": 16, "num_layers": 2, "hidden_width": 24, "item_width": 16, "candidate_width": 16},
    num_steps=10 * NUM_STEPS,
    supervised_share=0.5,
    num_envs=8,
    batch_sessions=8,
    num_catalogs=1,
    warm_up_updates=0,
    stage_overrides={  # slates are not random
        "supervised": {"first_exploration": 0.0, "last_exploration": 0.0, "num_epochs": 1},
        "reinforcement": {"selection": "greedy", "num_epochs": 1, "weights": {"policy": 1.0}},
    },
)

IMPATIENT = replace(
    CONFIG,
    env_arguments={
        "session_length": 12,
        "overrides": {"population": {"patience_mean": 0.5}, "behaviour": {"patience_skip": 1.0}},
        "split": "train",
    },
)
"""People who leave at once, or after some steps, so that one process plays more of them than another."""


def whole(tensor: Any) -> torch.Tensor:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def train(folder: Path, group: ProcessGroup, is_sharded: bool = False) -> Training:
    """Train, and write down what it comes to."""
    training = Training(CONFIG, group, is_sharded=is_sharded)
    lines = [training.iterate()]
    learned = {name: weight for name, weight in training.network.named_parameters() if weight.grad is not None}
    gradients = {name: whole(weight.grad) for name, weight in learned.items()}
    while not training.is_over:
        lines.append(training.iterate())
    content = training.checkpoint()
    if group.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(gradients, folder / "gradients.safetensors")
        (folder / "lines.json").write_text(json.dumps(lines))
        save_checkpoint(folder / "checkpoints", content)
    return training


def check_restores(folder: Path, group: ProcessGroup, is_sharded: bool) -> None:
    """What one process has saved comes back in these."""
    found = load_latest(folder / "checkpoints", print, lambda checkpoint: checkpoint)
    assert found is not None
    training = Training(CONFIG, group, is_sharded=is_sharded)
    training.restore(found)
    again = training.checkpoint()
    if group.is_first:
        for ours, theirs in ((again.model, found.model), (again.optimizer, found.optimizer)):
            assert set(ours) == set(theirs)
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert training.is_over


def check_goes_on_while_sessions_differ(group: ProcessGroup, is_sharded: bool) -> None:
    """Whichever process has the longest session, all of them come to the same weights."""
    training = Training(IMPATIENT, group, is_sharded=is_sharded)
    for _ in range(2):
        (world,) = training.worlds.at(0, training.network)
        with training.acting():
            sessions = training._play(training.config.stages()[0][0], 0.0, world, world.content)
        lengths = group.sum(torch.eye(group.size)[group.rank] * sessions.rewards.shape[1])
        training.iterate()
    assert lengths[0] != lengths[1], lengths  # or else this shows nothing
    check_same_weights(training)


def with_earlier_rows(sessions: Sessions, numbers: torch.Tensor) -> Sessions:
    """Sessions of users with so many more rows [B] in their histories."""
    num_rows, width = (sessions.row_items >= 0).sum(1), int(numbers.max()) + sessions.row_items.shape[1]
    place = (torch.arange(width) - numbers[:, None]).clamp(min=0)  # [B, R], of each new row among the old ones
    is_row, place = (
        torch.arange(width) < (num_rows + numbers)[:, None],
        place.clamp(max=sessions.row_items.shape[1] - 1),
    )
    return replace(
        sessions,
        row_items=sessions.row_items.gather(1, place).where(is_row, -1),
        row_feedback=sessions.row_feedback[torch.arange(len(sessions))[:, None], place] * is_row[:, :, None],
        num_rows=sessions.num_rows + numbers[:, None],
    )


def check_learns_from_sessions_of_other_lengths(group: ProcessGroup, is_sharded: bool) -> None:
    """Short and long sessions in one process, short ones alone in the other: they come to the same weights."""
    training = Training(CONFIG, group, is_sharded=is_sharded)
    (world,) = training.worlds.at(0, training.network)
    stage = training.config.stages()[0][0]
    with training.acting():
        sessions = training._play(stage, 0.0, world, world.content)
    numbers = torch.zeros(len(sessions), dtype=torch.int64)
    numbers[0] = 0 if group.is_first else NUM_EARLIER_ROWS
    training._update(stage, [with_earlier_rows(sessions, numbers)], [world.content])
    check_same_weights(training)


def check_same_weights(training: Training) -> None:
    group = training.group
    for weight in training.network.parameters():
        own = whole(weight).double()
        torch.testing.assert_close(group.sum(own) / group.size, own)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed._TIMEOUT = timedelta(seconds=60)  # where one process waits for the other in vain
    with process_group("cpu") as group:
        for kind, is_sharded in KINDS.items():
            train(folder / kind, group, is_sharded)
            check_restores(folder / "one", group, is_sharded)
            check_goes_on_while_sessions_differ(group, is_sharded)
            check_learns_from_sessions_of_other_lengths(group, is_sharded)


def begin(folder: Path, number: int) -> list[subprocess.Popen]:
    """Start the processes, as `torchrun` would."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(number), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    others = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT), **group}
    return [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env={**others, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(number)
    ]


def end(ranks: list[subprocess.Popen]) -> None:
    """Wait for them; if one fails, what they have said is the error."""
    try:
        said = [process.communicate(timeout=120)[0] for process in ranks]
        assert all(process.returncode == 0 for process in ranks), "\n".join(said)
    finally:
        for process in ranks:
            process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
