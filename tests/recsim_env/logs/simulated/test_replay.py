"""Replays of logs, and the exports that are made by them."""

import dataclasses
import itertools
import json
import sys

import gymnasium
import numpy as np
import pytest

import recsim_env
from recsim_env import LogWriter, read_events, read_manifest, replay, to_minari, to_obp
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.logs.simulated.log_folder import read_shard, write_shard


class Remembers:
    """Shows random actions of the env's space, and remembers what it saw and did."""

    def __init__(self, env):
        self.space, self.steps = env.action_space, []
        self.space.seed(0)

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        actions = self.space.sample()
        self.steps.append((observations, actions, episode_start))
        return actions, state


def make_env(env_id="recsim_env/Video-v0", **arguments):
    return gymnasium.make_vec(env_id, 6, **arguments)


def write(path, env=None, policy="random", num_steps=300, **arguments):
    env = make_env() if env is None else env
    LogWriter(env, policy, path, num_steps=num_steps, rows_per_shard=60, seed=4, **arguments).write()
    return path


def assert_equal(one, other):
    if not isinstance(one, dict):
        one, other = {"": one}, {"": other}
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def check_replay(path, env, **arguments):
    policy = Remembers(env)
    write(path, env, policy)
    replayed = list(replay(path, **arguments))
    for step, (observations, actions, episode_start) in zip(replayed, policy.steps, strict=True):
        assert_equal(step.observations, observations)
        np.testing.assert_array_equal(step.actions, actions)
        np.testing.assert_array_equal(step.episode_start, episode_start)
    return replayed


# Replays


def test_a_replay_gives_the_observations_that_the_policy_had(some_env_id, tmp_path):
    check_replay(tmp_path, make_env(some_env_id, session_length=20))


@pytest.mark.parametrize(
    "arguments",
    [
        {"env_id": "recsim_env/MusicLifetime-v0", "overrides": {"lifetime": {"num_days": 2}}},
        {"env_id": "recsim_env/VideoSlateFlat-v0", "split": "train", "catalog_seed": 7},
        {"env_id": "recsim_env/News-v0", "live_platform": True, "observation": "full"},
        {"env_id": "recsim_env/Ratings-v0", "max_episode_steps": 5, "observation": "compact"},
        {"env_id": "recsim_env/Social-v0", "overrides": {"behaviour": {"rating_cuts": (-2.0, -1.0, 0.5, 1.0)}}},
    ],
)
def test_a_replay_keeps_all_arguments_of_the_env(arguments, tmp_path):
    steps = check_replay(tmp_path, make_env(**arguments))
    assert any((step.terminated | step.truncated).any() for step in steps) or "News" in arguments["env_id"]


def test_a_replay_in_a_fitted_world_finds_its_file(tmp_path):
    ratings = tmp_path / "ratings.csv"

    def rate(seed):
        pairs = np.random.default_rng(seed).permutation(30 * 40)[:600]
        rows = (f"{pair // 40},{pair % 40},{1 + pair % 5},{number}" for number, pair in enumerate(pairs))
        ratings.write_text("\n".join(["user,item,rating,timestamp", *rows, ""]))

    rate(0)
    check_replay(tmp_path / "log", make_env("recsim_env/MovieLens-v0", world=ratings))
    rate(1)
    with pytest.raises(ValueError, match="the ratings log behind its env has changed"):
        replay(tmp_path / "log")
    ratings.unlink()
    with pytest.raises(FileNotFoundError, match=r"ratings\.csv: no such file or folder"):
        replay(tmp_path / "log")


def test_the_next_observations_are_of_the_same_session(tmp_path):
    steps = list(replay(write(tmp_path, make_env(session_length=10))))
    num_ends = 0
    for step, following in itertools.pairwise(steps):
        is_over = step.terminated | step.truncated
        num_ends += is_over.sum()
        np.testing.assert_array_equal(following.episode_start, is_over)
        for name, values in step.next_observations.items():
            np.testing.assert_array_equal(values[~is_over], following.observations[name][~is_over])
        elapsed = len(recsim_env.USER_FEEDBACK)  # the column of `user` after them
        np.testing.assert_allclose(step.next_observations["user"][step.truncated, elapsed], 1.0)
        assert (following.observations["user"][is_over, elapsed] == 0.0).all()
    assert num_ends >= 12


def test_a_replay_has_the_rows_of_the_log(tmp_path):
    events = read_events(write(tmp_path))
    steps = list(replay(tmp_path))
    for name in events.columns:
        logged = np.concatenate([step.events[name] for step in steps])
        np.testing.assert_array_equal(logged, events[name].to_numpy())
    np.testing.assert_array_equal(np.concatenate([step.rewards for step in steps]), events["reward"])
    np.testing.assert_allclose(np.exp(steps[0].log_propensities), 1 / 20)


def test_another_kind_of_observation_is_that_of_the_same_sessions(tmp_path):
    write(tmp_path)
    for step, full in zip(replay(tmp_path), replay(tmp_path, observation="full"), strict=True):
        assert "history" in full.observations
        np.testing.assert_array_equal(step.rewards, full.rewards)
        np.testing.assert_array_equal(step.observations["candidate_mask"], full.observations["candidate_mask"])


def rewrite_manifest(path, **changes):
    """As an older version could have written it."""
    manifest = dataclasses.replace(read_manifest(path), **changes)
    for number in range(len(manifest.shard_lengths)):
        write_shard(path, number, read_shard(path, number, read_manifest(path)), manifest)
    (path / "manifest.json").write_text(manifest.as_json())


def test_a_version_that_plays_differently_is_found_out_in_one_line(tmp_path):
    manifest = read_manifest(write(tmp_path))
    other = {**manifest.env_arguments, "overrides": {"behaviour": {"choice_appeal": 1.4}}}
    rewrite_manifest(tmp_path, versions={**manifest.versions, "recsim_env": "0.1.0"}, env_arguments=other)
    with pytest.raises(
        ValueError,
        match=r"step \d+ of session \d+ is not reproduced \(.*\); it was written by recsim_env 0\.1\.0",
    ) as error:
        list(replay(tmp_path))
    assert "\n" not in str(error.value)


def test_a_scenario_of_ones_own_is_replayed_in_an_env_that_is_given(tmp_path):
    own = dataclasses.replace(recsim_env.SCENARIOS["Video"], name="Own")
    env = RecommenderVectorEnv(6, own, session_length=12)
    policy = Remembers(env)
    write(tmp_path, env, policy)
    with pytest.raises(ValueError, match="has a custom scenario or user model; make its env and pass it as env="):
        replay(tmp_path)
    with pytest.raises(ValueError, match="is not reproduced"):
        list(replay(tmp_path, env=make_env(session_length=12)))
    for step, (observations, *_) in zip(replay(tmp_path, env=env), policy.steps, strict=True):
        assert_equal(step.observations, observations)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slate_size": 2}, "has slate_size=2; that of .* has 1"),
        ({"num_candidates": 5}, "has num_candidates=5; that of .* has 20"),
        ({"catalog_seed": 3}, "is not reproduced"),
    ],
)
def test_an_env_of_other_sizes_or_sessions_is_refused(tmp_path, arguments, message):
    write(tmp_path)
    with pytest.raises(ValueError, match=message):
        list(replay(tmp_path, env=make_env(**arguments)))


def test_a_log_whose_env_this_version_does_not_have_is_refused(tmp_path):
    manifest = read_manifest(write(tmp_path))
    for changes, message in (
        ({"env_id": "recsim_env/Radio-v0"}, "its env cannot be made by this version .*Radio"),
        ({"env_arguments": {"weather": "rain"}}, "its env cannot be made by this version .*'weather': unknown"),
    ):
        (tmp_path / "manifest.json").write_text(dataclasses.replace(manifest, **changes).as_json())
        with pytest.raises(ValueError, match=message):
            replay(tmp_path)


def test_the_kind_of_observation_is_that_of_an_env_that_is_given(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match="observation='full': must be None if env is given"):
        replay(tmp_path, observation="full", env=make_env())


def test_a_log_of_another_schema_is_refused(tmp_path):
    file = write(tmp_path) / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 99}))
    with pytest.raises(ValueError, match="has schema version 99; this version reads 1"):
        replay(tmp_path)


# Exports


class Greedy:
    """Shows the first candidate."""

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        return np.zeros(6, np.int64), state


def test_bandit_feedback_is_that_of_the_open_bandit_pipeline(tmp_path):
    env = make_env()
    events = read_events(write(tmp_path, env, Greedy(), epsilon=0.5))
    feedback = to_obp(tmp_path)
    assert (feedback["n_rounds"], feedback["n_actions"]) == (300, 20)
    flat = [step.observations for step in replay(tmp_path, observation="flat")]
    np.testing.assert_array_equal(feedback["context"], np.concatenate(flat))
    np.testing.assert_array_equal(feedback["action"], events["action"].to_numpy()[:, 0])
    np.testing.assert_array_equal(feedback["reward"], events["reward"])
    by_hand = np.where(feedback["action"] == 0, 0.5 + 0.5 / 20, 0.5 / 20)
    np.testing.assert_allclose(feedback["pscore"], by_hand)
    np.testing.assert_array_equal(feedback["action_context"], np.eye(20))
    assert feedback["position"].tolist() == [0] * 300


def test_inverse_propensity_scores_recover_the_value_of_another_policy(tmp_path):
    env = gymnasium.make_vec("recsim_env/Video-v0", 20_000)
    write(tmp_path / "log", env, num_steps=20_000)  # the first step of each session
    feedback = to_obp(tmp_path / "log")
    weighted = (feedback["action"] == 0) / feedback["pscore"] * feedback["reward"]
    env.reset(seed=10**6)
    truth = env.step(np.zeros(20_000, int))[1]
    error = np.sqrt((weighted.var() + truth.var()) / 20_000)
    assert weighted.mean() == pytest.approx(truth.mean(), abs=4.0 * error)
    assert feedback["reward"].mean() < truth.mean() - 4.0 * error


@pytest.mark.parametrize(
    ("env_id", "policy", "message"),
    [
        (
            "recsim_env/VideoSlate-v0",
            "random",
            "shows slates of 5 items; bandit feedback has one candidate in each step",
        ),
        ("recsim_env/VideoContent-v0", "random", "shows points in content space; bandit feedback has one candidate"),
        ("recsim_env/Video-v0", Greedy(), "has unknown propensities, but bandit feedback needs them"),
    ],
)
def test_logs_that_are_no_bandit_feedback_are_refused(tmp_path, env_id, policy, message):
    write(tmp_path, make_env(env_id), policy)
    with pytest.raises(ValueError, match=message):
        to_obp(tmp_path)


def test_a_minari_data_set_has_an_episode_for_each_session(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    events = read_events(write(tmp_path / "log", make_env(session_length=20)))
    dataset = to_minari(tmp_path / "log", "recsim/video/random-v0", author="me")
    assert dataset.total_episodes == events["session"].n_unique()
    assert dataset.total_steps == len(events)
    rewards = sorted(tuple(rows["reward"]) for _, rows in events.group_by("session"))
    episodes = list(minari.load_dataset("recsim/video/random-v0").iterate_episodes())
    assert sorted(tuple(episode.rewards) for episode in episodes) == rewards
    for episode in episodes:
        assert len(episode.observations["user"]) == len(episode.rewards) + 1
        assert episode.terminations[-1] or episode.truncations[-1]
        assert not episode.truncations[:-1].any()
        np.testing.assert_allclose(np.exp(episode.infos["log_propensity"][1:]), 1 / 20)
    env = dataset.recover_environment()
    assert env.observation_space == dataset.observation_space
    env.reset(seed=4)
    first = next(each for each in episodes if each.rewards[:3].tolist() == events["reward"].to_list()[0:18:6])
    np.testing.assert_array_equal(env.step(int(first.actions[0]))[0]["user"], first.observations["user"][1])
    with pytest.raises(ValueError, match="exists already; delete it or choose another name"):
        to_minari(tmp_path / "log", "recsim/video/random-v0")


def test_a_minari_data_set_of_an_own_scenario_has_its_spaces(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env = RecommenderVectorEnv(6, dataclasses.replace(recsim_env.SCENARIOS["Video"], name="Own"), observation="flat")
    write(tmp_path / "log", env)
    dataset = to_minari(tmp_path / "log", "recsim/own/random-v0", env=env)
    assert dataset.observation_space == env.single_observation_space
    assert minari.load_dataset("recsim/own/random-v0").total_steps == 300


def test_a_failed_export_leaves_no_minari_data_set(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    write(tmp_path / "log")
    (tmp_path / "log" / "events-00003.parquet").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"events-00003\.parquet: damaged"):
        to_minari(tmp_path / "log", "recsim/video/random-v0")
    assert minari.list_local_datasets() == {}


def test_minari_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match="to_minari needs Minari: pip install"):
        to_minari(write(tmp_path), "recsim/video/random-v0")
