"""Checkpoints are restored exactly, survive killed writers, and are refused if damaged."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CHECKOUT
from small_large_models import env_of, network_for

from agents.large_model.checkpoint import (
    SAVED_BY,
    Checkpoint,
    checkpoints_in,
    load_checkpoint,
    load_latest,
    load_network,
    save_checkpoint,
    save_network,
)
from agents.saved_tensors import save_tensors
from recsim_env import atomic_file


def checkpoint_of(num_steps: int, size: int = 3) -> Checkpoint:
    """One in which every number tells its steps."""
    return Checkpoint(
        model={"weight": torch.full((size, 2), float(num_steps)), "scalar": torch.tensor(0.5)},
        optimizer={
            "state.weight.exp_avg": torch.full((size, 2), -float(num_steps)),
            "state.weight.step": torch.tensor(7.0),
        },
        state={"num_steps": num_steps, "config": {"seed": 3}, "nothing": None},
    )


def load(path: Path) -> Checkpoint:
    return load_checkpoint(path, lambda checkpoint: checkpoint)


def refused(path: Path) -> str:
    """Why a checkpoint is, in one line that names it."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the reason is what is tested)
        load(path)
    reason = str(raised.value)
    assert "\n" not in reason
    assert reason.startswith(str(path))
    return reason.removeprefix(f"{path}: ")


def steps_of(folder: Path) -> list[int]:
    return [int(path.stem.removeprefix("steps-")) for path in checkpoints_in(folder)]


def test_a_checkpoint_is_restored_to_the_bit(tmp_path):
    saved = checkpoint_of(12)
    saved.model["bits"] = torch.randn(5, dtype=torch.float16)
    saved.model["turned"] = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    path = save_checkpoint(tmp_path / "new" / "folder", saved)
    found = load(path)
    assert found.state == saved.state
    for ours, theirs in ((found.model, saved.model), (found.optimizer, saved.optimizer)):
        assert set(ours) == set(theirs)
        for name, tensor in theirs.items():
            assert ours[name].dtype == tensor.dtype
            assert torch.equal(ours[name], tensor)


def latest(folder: Path, tell: Any) -> Checkpoint | None:
    return load_latest(folder, tell, lambda checkpoint: checkpoint)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    for num_steps in (5, 90, 1_000, 200_000):
        save_checkpoint(tmp_path, checkpoint_of(num_steps))
    assert steps_of(tmp_path) == [1_000, 200_000]
    assert {path.name for path in tmp_path.iterdir()} == {
        "steps-000000001000.safetensors",
        "steps-000000200000.safetensors",
    }
    assert latest(tmp_path, print).state["num_steps"] == 200_000


def test_a_checkpoint_of_the_same_steps_is_replaced(tmp_path):
    save_checkpoint(tmp_path, checkpoint_of(7))
    again = checkpoint_of(7)
    again.model["weight"][:] = 1.0
    save_checkpoint(tmp_path, again)
    assert torch.equal(latest(tmp_path, print).model["weight"], again.model["weight"])


def test_a_folder_without_checkpoints_has_none(tmp_path):
    (tmp_path / "steps-12.safetensors").write_text("not a name of ours")
    (tmp_path / "steps-000000000012.safetensors").mkdir()
    (tmp_path / ".steps-000000000012.safetensors.abcd.tmp").write_text("half")
    assert latest(tmp_path, pytest.fail) is None
    assert latest(tmp_path / "elsewhere", pytest.fail) is None


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_while_saving_leaves_earlier_checkpoints_intact(tmp_path, monkeypatch, call):
    for num_steps in (1, 2):
        save_checkpoint(tmp_path, checkpoint_of(num_steps))

    def fails(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_file.os, call, fails)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, checkpoint_of(3))
    monkeypatch.undo()
    assert steps_of(tmp_path) == [1, 2]
    assert len(list(tmp_path.iterdir())) == 2
    assert latest(tmp_path, pytest.fail).state["num_steps"] == 2


_SAVES_FOREVER = """
import itertools, sys
from pathlib import Path
sys.path += ["tests", "tests/agents/large_model"]
from test_checkpoint import checkpoint_of
from agents.large_model.checkpoint import save_checkpoint
for num_steps in itertools.count(1):
    save_checkpoint(Path(sys.argv[1]), checkpoint_of(num_steps, size=20_000))
    print(num_steps, flush=True)
"""


def test_killed_savers_leave_a_complete_checkpoint(tmp_path):
    saver = subprocess.Popen(
        [sys.executable, "-c", _SAVES_FOREVER, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    finished = 0
    try:
        while finished < 3:
            finished = int(saver.stdout.readline())
        for pause in (0.0, 0.003, 0.01, 0.02, 0.001, 0.006):  # in the middle of whatever it does
            saver.send_signal(signal.SIGSTOP)
            check_usable(tmp_path, finished)
            saver.send_signal(signal.SIGCONT)
            time.sleep(pause)
    finally:
        saver.kill()
        rest = saver.communicate()[0].split()
    finished = int(rest[-1]) if rest else finished
    check_usable(tmp_path, finished)
    save_checkpoint(tmp_path, checkpoint_of(10**9))
    assert not list(tmp_path.glob(".steps-*"))  # what the killed one has left
    assert len(steps_of(tmp_path)) == 2


def check_usable(folder: Path, least: int) -> None:
    """The last checkpoint is whole, and of no fewer steps than were said to be saved."""
    found = latest(folder, pytest.fail)
    num_steps = found.state["num_steps"]
    assert num_steps >= least
    assert (found.model["weight"] == num_steps).all()
    assert (found.optimizer["state.weight.exp_avg"] == -num_steps).all()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: flipped(content, 10),
        lambda content: flipped(content, content.index(b"exp_avg")),
        lambda content: flipped(content, content.index(b"config")),
        lambda content: flipped(content, len(content) - 3),
        lambda content: content[:-1],
        lambda content: b"",
    ],
    ids=["first bytes", "name of a tensor", "state", "numbers", "cut off", "empty"],
)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(tmp_path, damage):
    save_checkpoint(tmp_path, checkpoint_of(1))
    path = save_checkpoint(tmp_path, checkpoint_of(2))
    path.write_bytes(damage(path.read_bytes()))
    assert refused(path)
    told: list[str] = []
    assert latest(tmp_path, told.append).state["num_steps"] == 1
    assert len(told) == 1
    assert "\n" not in told[0]
    assert told[0].startswith(str(path))
    assert told[0].endswith("using the checkpoint before it")


def test_a_network_from_an_older_checkpoint_comes_with_a_warning(tmp_path):
    network = network_for(env_of("single items", 1))
    save_network(tmp_path / "steps-000000000001.safetensors", network)
    (tmp_path / "steps-000000000002.safetensors").write_bytes(b"?")
    with pytest.warns(UserWarning, match="steps-000000000002.*: using the checkpoint before it"):
        found = load_network(tmp_path)
    assert torch.equal(found.profile.weight, network.profile.weight)


@pytest.mark.parametrize("learned", [None, [], 7, {"num_steps": 1}])
def test_an_invalid_state_is_refused(tmp_path, learned):
    path = tmp_path / "steps-000000000001.safetensors"
    save_tensors(path, SAVED_BY, {}, {"learned": learned})
    with pytest.raises(ValueError, match="steps-000000000001") as raised:
        load_checkpoint(path, lambda checkpoint: checkpoint.state["network"])
    assert "\n" not in str(raised.value)


def test_unusable_checkpoints_are_an_error_not_a_new_start(tmp_path):
    for num_steps in (1, 2):
        save_checkpoint(tmp_path, checkpoint_of(num_steps)).write_bytes(b"?")
    with pytest.raises(ValueError, match="not a file of saved tensors") as raised:
        latest(tmp_path, pytest.fail)
    assert str(raised.value).startswith(str(tmp_path / "steps-000000000002"))
    assert str(raised.value).endswith("(and 1 older ones cannot be used either)")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("sizes"), "not of this version ('sizes' is missing)"),
        (RuntimeError("sizes do not match:\n weight"), "sizes do not match: weight"),
        (TypeError("unknown argument"), "unknown argument"),
        (ValueError("of another training"), "of another training"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_refused_with_the_reason(tmp_path, error, reason):
    for num_steps in (1, 2):
        save_checkpoint(tmp_path, checkpoint_of(num_steps))

    def use(checkpoint: Checkpoint) -> int:
        if checkpoint.state["num_steps"] == 2:
            raise error
        return checkpoint.state["num_steps"]

    told: list[str] = []
    assert load_latest(tmp_path, told.append, use) == 1
    assert told == [f"{tmp_path / 'steps-000000000002.safetensors'}: {reason}: using the checkpoint before it"]


def test_refused_checkpoints_do_not_displace_usable_ones(tmp_path):
    save_checkpoint(tmp_path, checkpoint_of(1_000))
    for num_steps in (8_000, 9_000):
        save_checkpoint(tmp_path, checkpoint_of(num_steps)).write_bytes(b"?")
    save_checkpoint(tmp_path / "good", checkpoint_of(1_000)).rename(tmp_path / "steps-000000001000.safetensors")
    assert latest(tmp_path, lambda words: None).state["num_steps"] == 1_000
    for num_steps, kept in ((1_500, [1_000, 1_500]), (2_000, [1_500, 2_000])):
        save_checkpoint(tmp_path, checkpoint_of(num_steps))
        assert steps_of(tmp_path) == kept
    assert (tmp_path / "refused-steps-000000009000.safetensors").is_file()


class Bomb:
    """What a pickle can do to who reads it."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["BOMB"],)


def test_pickles_are_never_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    path = save_checkpoint(tmp_path, checkpoint_of(1))
    path.write_bytes(pickle.dumps(Bomb()))
    assert "not a file of saved tensors" in refused(path)
    assert not (tmp_path / "exploded").exists()
