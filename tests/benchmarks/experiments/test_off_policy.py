"""Errors of off-policy estimators: the sessions behind them, the rows, resuming, and the table."""

import json

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401  (registers the ids)
from agents.off_policy.estimate import OffPolicyEstimate
from benchmarks.experiments import off_policy
from benchmarks.experiments.off_policy import POLICIES, mean_errors, summaries, table
from benchmarks.experiments.softmax_sessions import LinearSoftmax, play, returns
from benchmarks.report.figures.experiments import off_policy_errors

SMALL = ["--horizon", "1", "--horizon", "3", "--size", "100", "--size", "400", "--logs", "2", "--truth-rows", "300"]


def test_probabilities_of_a_linear_softmax_by_hand():
    candidates = np.array([[[0.2, 0.5, 0.0], [0.6, 0.5, 1.0], [0.9, 0.0, 0.0]]])
    policy = LinearSoftmax(popularity=2.0, deviation=1.0, evidence=0.5)
    found = np.exp(policy.log_probabilities(candidates, np.array([[1.0, 1.0, 0.0]])))
    weights = np.exp([2.0 * 0.5 + 0.5, 2.0 * 2.5 + 0.5 + 0.5])
    assert found[0] == pytest.approx([*weights / weights.sum(), 0.0])


def env_of(num_envs: int):
    return gymnasium.make_vec(
        off_policy.ENV_ID,
        num_envs,
        vectorization_mode="vector_entry_point",
        observation="dict",
        max_episode_steps=4,
        autoreset_mode="Disabled",
    )


def test_all_sessions_are_played_to_their_end():
    played = play(env_of(8), LinearSoftmax(popularity=1.0), 20, seed=5)
    assert np.unique(played.sessions).tolist() == list(range(20))
    lengths = np.bincount(played.sessions)
    assert lengths.max() == 4
    assert played.steps.tolist() == np.concatenate([np.arange(length) for length in lengths]).tolist()
    assert (np.exp(played.log_probabilities) > 0.0).all()
    total = returns(env_of(8), LinearSoftmax(popularity=1.0), 20, seed=5)
    assert np.bincount(played.sessions, played.rewards) == pytest.approx(total)


def test_the_policy_draws_actions_as_often_as_its_log_probabilities_say():
    played = play(env_of(500), LinearSoftmax(popularity=3.0), 2_000, seed=0)
    probabilities = np.exp(LinearSoftmax(popularity=3.0).log_probabilities(played.candidates, played.masks))
    expected, drawn = probabilities.sum(0), np.bincount(played.actions, minlength=probabilities.shape[1])
    error = np.sqrt((probabilities * (1.0 - probabilities)).sum(0))
    assert (np.abs(drawn - expected) < 4.0 * error).all()


def rows_in(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "off_policy.jsonl").read_text().splitlines()]


def test_a_run_writes_rows_a_table_and_a_figure_and_a_second_one_resumes(tmp_path):
    assert off_policy.main(["--out", str(tmp_path), *SMALL]) == 0
    rows = rows_in(tmp_path)
    assert [row["horizon"] for row in rows if row["kind"] == "truth"] == [1, 3]
    errors = [row for row in rows if row["kind"] == "errors"]
    assert len(errors) == 2 * 2 * 11  # horizons, sizes, estimators
    for row in errors:
        assert row["num_logs"] == (2 if row["size"] == 100 else 1)
        assert len(row["mean_error"]) == len(POLICIES)
        assert {"command", "commit", "machine", "date", "version"} <= set(row)
    assert (tmp_path / "off_policy.md").read_text() == table(rows)
    assert (tmp_path / "off_policy.png").is_file()
    file = tmp_path / "off_policy.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[: 1 + 2 * 11]))  # killed after the first horizon
    assert off_policy.main(["--out", str(tmp_path), *SMALL]) == 0
    resumed = rows_in(tmp_path)
    assert resumed[: 1 + 2 * 11] == rows[: 1 + 2 * 11]
    different = ("command", "date", "commit")
    for before, after in zip(rows, resumed, strict=True):
        assert {k: v for k, v in before.items() if k not in different} == {
            k: v for k, v in after.items() if k not in different
        }


def test_a_summary_pools_blocks_by_their_number_of_logs():
    truth = {"kind": "truth", "horizon": 1, "values": {"a": 1.0, "b": 3.0}}
    place = {"kind": "errors", "horizon": 1, "size": 100, "estimator": "IPS"}
    same = {"effective_sample_size": [50.0, 70.0], "warned": [0.0, 1.0], "regret": 2.0, "rank_correlation": 1.0}
    first = {"mean_error": [0.2, -0.4], "mean_squared_error": [1.0, 1.0], "coverage": [1.0, 0.8], "num_logs": 3}
    second = {"mean_error": [-0.6, -0.4], "mean_squared_error": [5.0, 1.0], "coverage": [0.6, 0.8], "num_logs": 1}
    (found,) = summaries([truth, {**place, **same, **first}, {**place, **same, **second}])
    assert found["bias"] == pytest.approx((0.0 + 0.4) / 2)
    assert found["rmse"] == pytest.approx(np.sqrt((2.0 + 1.0) / 2))
    assert found["coverage"] == pytest.approx((0.9 + 0.8) / 2)
    assert found["spread"] == pytest.approx(1.0)
    text = table([truth, {**place, **same, **first}, {**place, **same, **second}])
    assert "| 1 | 100 | IPS | 0.200 | 1.225 | 0.85 | 1.00 | 2.000 | 60 | 50% | 4 |" in text


def test_the_figure_has_a_panel_for_each_horizon_and_the_intervals_that_are_known():
    point = {"size": 100, "estimator": "IPS", "rmse": 0.5, "rmse_low": 0.4, "rmse_high": 0.7, "spread": 1.0}
    unknown = {"rmse_low": np.nan, "rmse_high": np.nan}
    figure = off_policy_errors([{**point, "horizon": 1}, {**point, "horizon": 50, **unknown}])
    assert [axes.get_title() for axes in figure.axes] == ["Sessions of 1 step", "Sessions of 50 steps"]
    known, none = (axes.containers[0].lines[2][0].get_segments()[0] for axes in figure.axes)
    np.testing.assert_allclose(known, [[100, 0.4], [100, 0.7]])
    assert len(none) == 0


def summary_of_normal_errors(num_logs: int, seed: int) -> dict:
    """Of two policies whose estimates have errors of standard deviation 2."""
    truth = np.array([1.0, 3.0])
    values = truth[:, None] + 2.0 * np.random.default_rng(seed).standard_normal((2, num_logs))
    found = [
        [
            OffPolicyEstimate(value=value, low=0.0, high=2.0, effective_sample_size=9.0, contributions=np.zeros(2))
            for value in row
        ]
        for row in values
    ]
    rows = [
        {"kind": "truth", "horizon": 1, "values": {"a": 1.0, "b": 3.0}},
        {"kind": "errors", "horizon": 1, "size": 100, "estimator": "IPS", **mean_errors(found, truth)},
    ]
    return summaries(rows)[0]


def test_intervals_of_an_rmse_cover_the_true_one_nearly_as_often_as_they_should():
    found = [summary_of_normal_errors(50, seed) for seed in range(400)]
    assert all(each["rmse_low"] < each["rmse"] < each["rmse_high"] for each in found)
    coverage = np.mean([each["rmse_low"] <= 2.0 <= each["rmse_high"] for each in found])
    assert coverage == pytest.approx(0.92, abs=4.0 * np.sqrt(0.92 * 0.08 / 400))  # 0.92 in 2,000 repetitions


def test_an_rmse_of_few_logs_has_no_interval():
    assert np.isnan(summary_of_normal_errors(19, seed=0)["rmse_low"])
    assert summary_of_normal_errors(20, seed=0)["rmse_low"] > 0.0
