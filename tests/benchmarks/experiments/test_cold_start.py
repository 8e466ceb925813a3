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


def test_intervals_of_several_models_are_over_models_however_many_sessions_they_play():
    def rows(num_copies: int) -> list[dict]:
        seeds = enumerate((1.0, 2.0, 6.0))
        return [
            {**each, "seed": seed, "returns": (np.array(each["returns"]) + shift).tolist() * num_copies}
            for seed, lead in seeds
            for each in rows_of([1.0, 1.0], [2.0, 2.0])
            for shift in [lead if each["policy"] == "without history" else 0.0]
        ]

    mean, low, high = claims(rows(1))["without_history_minus"][RIVALS[1]]
    half = 4.30265 * np.std([1.0, 2.0, 6.0], ddof=1) / np.sqrt(3.0)  # t with 2 degrees of freedom
    assert (mean, low, high) == pytest.approx((6.0, 6.0 - half, 6.0 + half), abs=1e-3)
    assert claims(rows(50))["without_history_minus"][RIVALS[1]] == [mean, low, high]


def test_rewards_of_a_step_are_means_over_running_sessions_with_an_interval_over_seeds():
    first, second = row("cold-start users", [], [1.0, 3.0]), row("cold-start users", [], [2.0, 3.0], seed=1)
    second["num_running"][1], second["rewards"][1], second["squares"][1] = 0, 0.0, 0.0
    mean, half = step_rewards([first, second])
    assert mean.tolist() == [1.5, 3.0]
    assert half == pytest.approx(
        [12.7062 * 0.5, 0.0], abs=1e-4
    )  # t with 1 degree of freedom; one seed is still running
    mean, half = step_rewards([first])
    assert mean.tolist() == [1.0, 3.0]
    assert half == pytest.approx(2.02269 * 2.0 / np.sqrt(39.0), abs=1e-4)  # over its 40 sessions, with a deviation of 2


def test_intervals_of_steps_cover_the_true_reward_with_few_models():
    generator, is_covered = np.random.default_rng(0), []
    for _ in range(400):
        rows = []
        for level in generator.normal(2.0, 0.3, 3):
            num_running = generator.integers(50, 150)
            rewards = level + generator.normal(0.0, 1.0, num_running)
            rows.append({"rewards": [rewards.sum()], "squares": [(rewards**2).sum()], "num_running": [num_running]})
        (mean,), (half,) = step_rewards(rows)
        is_covered.append(abs(mean - 2.0) <= half)
    assert np.mean(is_covered) >= 0.9


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
    written = {name: (out / name).read_bytes() for name in ("first_steps.json", "first_steps.png")}
    for name in written:
        (out / name).unlink()
    assert cold_start.main(["--out", str(out)]) == 0
    assert {name: (out / name).read_bytes() for name in written} == written, "the rows are enough"


@pytest.mark.parametrize("model", [["--model", "none"], []])
def test_a_missing_model_is_refused_in_one_line(tmp_path, capsys, model):
    assert cold_start.main([*model, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cold_start: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
