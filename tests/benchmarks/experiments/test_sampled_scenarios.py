"""Agents in reserved sampled scenarios: rows, resuming, scores by hand, and the picture."""

import json

import numpy as np
import pytest

from benchmarks.experiments import sampled_scenarios
from benchmarks.experiments.sampled_scenarios import scores_of, table

SMALL = ["--family", "validation", "--scenarios", "1", "--steps", "256", "--sessions", "4"]


def rows_in(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "sampled.jsonl").read_text().splitlines()]


def test_all_agents_play_the_same_sessions_and_a_second_run_adds_nothing(tmp_path):
    assert sampled_scenarios.main(["--out", str(tmp_path), *SMALL]) == 0
    rows = rows_in(tmp_path)
    assert [row["agent"] for row in rows] == ["random", "lookahead-oracle", *sampled_scenarios.AGENTS]
    assert all({"command", "commit", "machine", "date", "version", "family"} <= set(row) for row in rows)
    assert (tmp_path / "sampled.md").read_text() == table(rows)
    assert (tmp_path / "sampled.png").stat().st_size > 0
    assert sampled_scenarios.main(["--out", str(tmp_path), *SMALL]) == 0
    assert rows_in(tmp_path) == rows


def test_more_scenarios_than_are_reserved_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        sampled_scenarios.main(["--out", str(tmp_path), "--scenarios", "65"])
    assert "64" in capsys.readouterr().err


def made_rows(returns: dict[str, tuple[float, ...]]) -> list[dict]:
    return [
        {"scenario": scenario, "agent": agent, "return_mean": value}
        for agent, values in returns.items()
        for scenario, value in enumerate(values)
    ]


RETURNS = {
    "random": (1.0, 0.0, 10.0),
    "lookahead-oracle": (5.0, 2.0, 20.0),
    "popularity": (1.0, 1.0, 15.0),
    "platform-ranking": (3.0, 0.0, 20.0),
    "eb-linucb": (2.0, 1.0, 10.0),
    "large-model-pretrained": (4.0, 0.5, 15.0),
}


def test_a_score_is_the_share_of_the_lookahead_oracles_gain():
    scores = scores_of(made_rows(RETURNS))
    np.testing.assert_allclose(scores["large-model-pretrained"], [0.75, 0.25, 0.5])
    np.testing.assert_allclose(scores["eb-linucb"], [0.25, 0.5, 0.0])


def test_the_table_counts_the_scenarios_in_which_an_agent_is_above_the_rival():
    text = table(made_rows(RETURNS))
    assert "interquartile mean of 3 scenarios" in text
    assert "| large-model-pretrained | 0.50 " in text
    assert "| 0.50 | 67% |" in text
    assert "| eb-linucb | 0.25 " in text


def test_a_scenario_in_which_the_oracle_gains_nothing_is_named_and_has_no_scores():
    rows = made_rows({**RETURNS, "lookahead-oracle": (5.0, 0.0, 20.0)})
    np.testing.assert_allclose(scores_of(rows)["large-model-pretrained"], [0.75, 0.5])
    text = table(rows)
    assert "interquartile mean of 2 scenarios" in text
    assert text.endswith("\nWithout scores, as lookahead-oracle does not return more than random: scenario 1.\n")
