"""Training by several processes gives the result of one process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from large_model_ranks import CONFIG, KINDS, begin, end, train
from safetensors.torch import load_file

from agents.large_model.checkpoint import load_latest
from agents.large_model.distributed import ProcessGroup
from agents.large_model.training import Training

ALONE = ProcessGroup(device=torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What one process has come to, and two."""
    folder = tmp_path_factory.mktemp("ranks")
    train(folder / "one", ALONE)
    end(begin(folder, 2))
    return folder


def lines_of(folder: Path) -> list[dict[str, Any]]:
    clock = {"steps_per_s", "tokens_per_s", "mfu", "share_env", "share_rollout", "share_update"}
    lines = json.loads((folder / "lines.json").read_text())
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_two_processes_are_those_of_one(folder, kind):
    one, two = (load_file(folder / name / "gradients.safetensors") for name in ("one", kind))
    assert sum(gradient.abs().max() > 1e-4 for gradient in one.values()) > 10
    for name, gradient in two.items():
        torch.testing.assert_close(gradient, one.get(name, torch.zeros_like(gradient)), atol=1e-5, rtol=1e-4)
    assert set(one) <= set(two)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_returns_of_two_processes_are_those_of_one(folder, kind):
    one, two = (lines_of(folder / name) for name in ("one", kind))
    assert [line["stage"] for line in one] == ["supervised", "supervised", "reinforcement"]
    for ours, alone in zip(two, one, strict=True):
        assert set(ours) == set(alone)
        words = {name: value for name, value in alone.items() if isinstance(value, str | int)}
        assert {name: ours[name] for name in words} == words
        for name in set(alone) - set(words) - {"explained_variance"}:  # each of the two has a variance of its own
            assert ours[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_resumes_the_checkpoint_of_two(folder, kind):
    found = load_latest(folder / kind / "checkpoints", pytest.fail, lambda checkpoint: checkpoint)
    alone = load_latest(folder / "one" / "checkpoints", pytest.fail, lambda checkpoint: checkpoint)
    assert set(found.model) == set(alone.model)
    training = Training(CONFIG, ALONE)
    training.restore(found)
    assert training.is_over
    again = training.checkpoint()
    for ours, theirs in ((again.model, found.model), (again.optimizer, found.optimizer)):
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert training.iterate()["gradient_norm"] > 0.0


def test_totals_that_cannot_be_divided_are_refused():
    group = ProcessGroup(device=torch.device("cpu"), rank=1, size=3)
    assert group.share(12, "num_envs") == 4
    assert not group.is_first
    with pytest.raises(ValueError, match=r"^num_envs=8: must be a multiple of the number of processes, 3$"):
        group.share(8, "num_envs")
