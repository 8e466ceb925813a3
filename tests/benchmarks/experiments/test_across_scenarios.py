"""What a history in one scenario is worth in another."""

import json

import numpy as np
import pytest

from benchmarks.experiments import across_scenarios
from benchmarks.experiments.across_scenarios import FILTER, MODEL, Tastes, table, updated_interests
from benchmarks.suites import HELD_OUT, TUNING
from recsim_env.envs.vector import RecommenderVectorEnv

SMALL = ["--env", "Video", "--history-from", "Music", "--sessions", "8", "--particles", "16", "--history", "3"]


def tastes_of(means, variance: float) -> Tastes:
    means = np.asarray(means, np.float64)
    return Tastes(means, np.tile(variance * np.eye(means.shape[1]), (len(means), 1, 1)), spread=2.0)


def test_a_belief_moves_as_far_as_tastes_agree():
    generator = np.random.default_rng(0)
    interests, noise = generator.standard_normal((2, 20_000, 3)), generator.standard_normal((2, 20_000, 3))
    known = tastes_of([[2.0, -2.0, 0.0], [0.0, 0.0, 4.0]], variance=1.0)
    for correlation in (0.0, 0.5, 0.9):
        updated = updated_interests(interests, known, correlation, 1.0, noise)
        slope = 2.0 * correlation  # interests there, per unit of interests here
        gain = slope / (slope**2 + 1.0 + 4.0 * (1.0 - correlation**2))
        np.testing.assert_allclose(updated.mean(1), gain * known.means, atol=0.05)
        np.testing.assert_allclose(updated.var(1), 1.0 - gain * slope, atol=0.05)
    np.testing.assert_array_equal(updated_interests(interests, known, 0.0, 1.0, noise), interests)


def test_topics_that_one_scenario_lacks_stay_as_they_are():
    interests = np.random.default_rng(0).standard_normal((1, 5_000, 3))
    known = tastes_of([[3.0, 0.0]], variance=0.01)
    updated = updated_interests(interests, known, 1.0, 1.0, np.zeros_like(interests))
    assert updated[0, :, 0].mean() == pytest.approx(1.5, abs=0.1)
    assert updated[0, :, 2].mean() == pytest.approx(interests[0, :, 2].mean(), abs=0.1)


def test_a_row_for_each_correlation_and_the_same_command_adds_none(tmp_path):
    arguments = ["--out", str(tmp_path), *SMALL, "--correlation", "0", "--correlation", "0.8"]
    for _ in range(2):
        assert across_scenarios.main(arguments) == 0
        rows = [json.loads(line) for line in (tmp_path / "across_scenarios.jsonl").read_text().splitlines()]
        assert [row["correlation"] for row in rows] == [0.0, 0.8]
    assert rows[0]["gains"][FILTER] == [0.0, 0.0, 0.0]  # tastes that do not agree say nothing
    assert all(low <= mean <= high for row in rows for mean, low, high in row["gains"].values())
    assert all((row["similarity"] is None) == (row["gains"][MODEL] == [0.0, 0.0, 0.0]) for row in rows)
    assert (tmp_path / "across_scenarios.md").read_text() == table(rows)


def test_selection_and_test_share_no_sessions(monkeypatch):
    envs: list[tuple[str, RecommenderVectorEnv]] = []
    seeds: dict[str, set[int]] = {"validation": set(), "test": set()}
    make, reset = across_scenarios._env, RecommenderVectorEnv.reset

    def made(scenario, correlation, num_sessions, worlds):
        envs.append((worlds.split, make(scenario, correlation, num_sessions, worlds)))
        return envs[-1][1]

    def recorded(env, *, seed=None, options=None):
        for split in (split for split, each in envs if each is env):
            seeds[split].add(seed)
        return reset(env, seed=seed, options=options)

    monkeypatch.setattr(across_scenarios, "_env", made)
    monkeypatch.setattr(RecommenderVectorEnv, "reset", recorded)
    across_scenarios.gains("Music", "Video", 0.8, 2, 4, 16)
    assert seeds == {"validation": {TUNING.sessions_seed}, "test": {HELD_OUT.sessions_seed}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Video", "--history-from", "Video"], "--history-from: must be another scenario than --env"),
        (
            ["--env", "Video", "--env", "News", "--history-from", "Music"],
            "--history-from: must be given as often as --env",
        ),
    ],
)
def test_pairs_are_checked(tmp_path, capsys, arguments, message):
    assert across_scenarios.main(["--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
