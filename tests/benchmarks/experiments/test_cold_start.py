"""The cold-start experiment: its claims, and the same sessions for all policies."""

import json
from functools import partial

import numpy as np
import pytest
from small_large_models import env_of, small_config

from agents.large_model.agent import LargeModel
from agents.large_model.model import LargeModelNetwork
from agents.networks.schema import Schema
from agents.references.bayes_filter_observed import BayesFilterObserved
from agents.references.lookahead import HistoryBlindPolicy
from benchmarks.experiments import cold_start
from benchmarks.experiments.cold_start import RIVALS, claims
from benchmarks.report.figures.experiments import first_steps as first_steps_figure
from benchmarks.report.figures.experiments import step_rewards


def row(policy: str, returns: list[float], rewards: list[float], seed: int = 0, num_sessions: int = 40) -> dict:
    squares = [num_sessions * (reward**2 + 4.0) for reward in rewards]
    sums = [num_sessions * reward for reward in rewards]
    running = [num_sessions] * len(rewards)
    kept = {"rewards": sums, "squares": squares, "num_running": running}
    return {"policy": policy, "seed": seed, "returns": returns, **kept}


def rows_of(new: list[float], known: list[float]) -> list[dict]:
    return [
        row("cold-start users", [1.0, 2.0], new),
        row("warm users", [1.0, 2.0], known),
        row("without history", [5.0, 7.0, 9.0], new),
        row(RIVALS[0], [6.0, 6.0, 9.0], new),
        row(RIVALS[1], [4.0, 4.0, 4.0], new),
    ]


def test_differences_are_paired_and_caught_up_means_not_behind_any_more():
    known = [2.0] * 12
    found = claims(rows_of([1.0, 1.9, 1.7, *[1.9] * 8, 0.1], known))
    half = 4.30265 * 2.0 / np.sqrt(3.0)  # t with 2 degrees of freedom
    minus = found["without_history_minus"]
    assert minus[RIVALS[1]] == pytest.approx([3.0, 3.0 - half, 3.0 + half], abs=1e-4)
    half = 4.30265 * 1.0 / np.sqrt(3.0)  # -1, 1, 0
    assert minus[RIVALS[0]] == pytest.approx([0.0, -half, half], abs=1e-4)
    assert found["share_of_warm_reward_by_step"][:3] == [0.5, 0.95, 0.85]
    assert found["caught_up_at_step"] == 4
    assert claims(rows_of(known, known))["caught_up_at_step"] == 1
    assert claims(rows_of([*[2.0] * 9, 1.0, 2.0, 2.0], known))["caught_up_at_step"] is None


def test_rewards_of_a_step_are_means_over_running_sessions_of_all_seeds():
    first, second = row("cold-start users", [], [1.0, 3.0]), row("cold-start users", [], [2.0, 3.0], seed=1)
    second["num_running"][1], second["rewards"][1], second["squares"][1] = 0, 0.0, 0.0
    mean, error = step_rewards([first, second])
    assert mean.tolist() == [1.5, 3.0]
    assert error == pytest.approx([np.sqrt(4.25 / 80.0), np.sqrt(4.0 / 40.0)])  # deviation 2, and .5 between seeds


def test_the_picture_names_all_policies():
    axes = first_steps_figure(rows_of([1.0, 1.5], [2.0, 2.0])).axes[0]
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels == {"cold-start users", "warm users", "without history", *RIVALS}


def test_all_policies_play_the_same_sessions_and_the_claims_are_written(tmp_path, monkeypatch):
    quick = partial(
        HistoryBlindPolicy, weight_candidates=(2.0,), num_tuning_sessions=8, temperatures=(0.3,), num_users=8
    )
    monkeypatch.setattr("agents.references.lookahead.HistoryBlindPolicy", quick)
    filter_ = partial(
        BayesFilterObserved, weight_candidates=(2.0,), num_tuning_sessions=8, num_catalogs=2, num_epochs=2
    )
    observed = "agents.references.bayes_filter_observed.BayesFilterObserved"
    monkeypatch.setattr(observed, partial(filter_, num_particles=16))
    schema = Schema.of([env_of("single items", 1).simulator], False, False)
    agent = LargeModel.from_network(LargeModelNetwork(small_config(), schema))
    agent.save(tmp_path / "kept")
    out = tmp_path / "out"
    assert cold_start.main(["--model", str(tmp_path / "kept"), "--out", str(out), "--sessions", "40"]) == 0
    rows = [json.loads(line) for line in (out / "first_steps.jsonl").read_text().splitlines()]
    assert [each["policy"] for each in rows] == [
        "cold-start users",
        "warm users",
        "without history",
        *RIVALS,
    ]
    for each in rows:
        assert each["num_running"][0] == 40
        assert sum(each["rewards"]) == pytest.approx(sum(each["returns"]), abs=0.1)
    assert "caught_up_at_step" in json.loads((out / "first_steps.json").read_text())
    assert (out / "first_steps.svg").exists()


def test_a_missing_model_is_refused_in_one_line(tmp_path, capsys):
    assert cold_start.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cold_start: ")
    assert len(error.splitlines()) == 1
