"""Files of submitted agents: what they may be, and what their runs record."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest
from small_suite import SUITE

from agents.registry import UnknownAgentError
from agents.reinforcement.sb3 import SB3Model
from agents.saved_tensors import load_tensors, save_tensors
from benchmarks.rows import ResultsError
from benchmarks.submission.agent_file import check_name, copied
from benchmarks.submission.submitted_run import submission_runs

SPIES = """
import copy

import numpy as np

from agents.agent import Agent, Learner


class InPlay(Agent):
    def act(self, observations, state, episode_start, deterministic):
        return self.env.simulator.latent_state()["expected_rewards"].argmax(1)


class Lookahead(Agent):
    def act(self, observations, state, episode_start, deterministic):
        actions, simulator = np.zeros(len(episode_start), np.int64), self.env.simulator
        before = simulator.state()
        simulator.step(actions[:, None])
        simulator.restore(before)
        return actions


class Copier(Agent):
    def act(self, observations, state, episode_start, deterministic):
        actions = np.zeros(len(episode_start), np.int64)
        copy.deepcopy(self.env).step(actions)
        return actions


class InTraining(Learner):
    def train(self, total_timesteps, update):
        self.env.reset(seed=0)
        self.env.latent_state()
        update(total_timesteps)

    def act(self, observations, state, episode_start, deterministic):
        return np.zeros(len(episode_start), np.int64)


class Honest(InTraining):
    def train(self, total_timesteps, update):
        update(total_timesteps)
"""


@pytest.mark.parametrize(
    ("class_name", "reads"),
    [
        ("InPlay", ["play"]),
        ("Lookahead", ["play"]),
        ("Copier", ["play"]),
        ("InTraining", ["training"]),
        ("Honest", []),
    ],
)
def test_rows_record_where_an_agent_reads_the_latent_state(tmp_path, class_name, reads):
    (tmp_path / "spies.py").write_text(SPIES)
    agent = copied(f"{tmp_path / 'spies.py'}:{class_name}", None, tmp_path / "agent")
    own, _ = submission_runs(SUITE, "spy", agent)
    assert own[0].execute()[-1]["latent_reads"] == reads


def test_weights_are_loaded_instead_of_training(tmp_path):
    (tmp_path / "spies.py").write_text(SPIES)
    target, weights = f"{tmp_path / 'spies.py'}:InTraining", tmp_path / "trained.safetensors"
    trained = copied(target, None, tmp_path / "first").entry().agent_class()("recsim_env/Video-v0").learn(1)
    trained.save(weights)
    agent = copied(target, weights, tmp_path / "second")
    last = submission_runs(SUITE, "spy", agent)[0][0].execute()[-1]
    assert last["loaded_from"] == "weights.safetensors"
    assert (last["env_steps"], last["latent_reads"]) == (0, [])
    with pytest.raises(ResultsError, match="was written by 'spies:InTraining', must be by 'spies:Honest'"):
        copied(target.replace("InTraining", "Honest"), weights, tmp_path / "third").entry()
    with pytest.raises(ResultsError, match="is not a Learner"):
        copied(target.replace("InTraining", "InPlay"), weights, tmp_path / "third").entry()


def test_weights_that_are_also_a_zip_file_are_refused_and_never_read_as_one(tmp_path, monkeypatch):
    (tmp_path / "spies.py").write_text(SPIES)
    target, weights = f"{tmp_path / 'spies.py'}:Honest", tmp_path / "trained.safetensors"
    own, _ = submission_runs(SUITE, "spy", copied(target, None, tmp_path / "first"))
    own[0].agent_class("recsim_env/Video-v0").learn(1).save(weights)
    _, settings = load_tensors(weights, "spies:Honest")
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        archive.writestr("data", "{}")
    save_tensors(weights, "spies:Honest", {"zip": np.frombuffer(content.getvalue(), np.uint8)}, settings)
    assert zipfile.is_zipfile(weights)
    with pytest.raises(ResultsError, match="can be read as a zip file"):
        copied(target, weights, tmp_path / "second").entry()
    monkeypatch.setattr(SB3Model, "from_zip", lambda *_: pytest.fail("was loaded as a zip file"))
    assert dataclasses.replace(own[0], load_from=weights).execute()[-1]["status"] == "ok"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import helper", "imports .*helper.py; a submission is one self-contained file"),
        ("from . import helper", "relative import"),
        ("import no_such_package", "imports no_such_package, which is not installed"),
        ("class Broken(:", "is not valid Python"),
    ],
)
def test_a_file_that_is_not_self_contained_is_refused(tmp_path, source, message):
    (tmp_path / "helper.py").touch()
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ResultsError, match=message):
        copied(f"{tmp_path / 'mine.py'}:Mine", None, tmp_path / "agent")
    assert not (tmp_path / "agent").exists()


def test_a_class_that_is_not_an_agent_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("class Mine: pass")
    agent = copied(f"{tmp_path / 'mine.py'}:Mine", None, tmp_path / "agent")
    with pytest.raises(UnknownAgentError, match="is not a class that extends"):
        submission_runs(SUITE, "mine", agent)


def test_a_file_with_the_name_of_a_package_is_refused(tmp_path):
    (tmp_path / "torch.py").write_text("")
    with pytest.raises(ResultsError, match="a package is named 'torch'"):
        copied(f"{tmp_path / 'torch.py'}:Mine", None, tmp_path / "agent")


@pytest.mark.parametrize("name", ["popularity", "Mine", "-mine", "m", "a/b", "ä-b", "x" * 41, "my_agent"])
def test_a_name_that_is_taken_or_invalid_is_refused(name):
    with pytest.raises(ResultsError, match="--name"):
        check_name(name)
