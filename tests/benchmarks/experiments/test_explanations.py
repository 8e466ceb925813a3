"""Explanations are judged by deletion and insertion, and by the latent state of the user."""

import json

import numpy as np

from benchmarks.experiments import explanations
from benchmarks.experiments.explanations import EXPLAINED, RIVALS, TERMS, tables

SMALL = ["--scenario", "Music", "--agent", "eb-linucb", "--sessions", "12", "--steps", "2000", "--after", "6"]


class Additive:
    """Scores candidate 0 by the weights of the rows of the history, and all others by 0."""

    layout = type("Layout", (), {"history_length": 5, "num_content_features": 1})()

    def __init__(self, weights):
        self.weights = np.array(weights)  # of the rows, the oldest first

    def candidate_scores(self, observations):
        history = observations["history"].reshape(-1, 5, 8)
        scores = np.zeros((len(history), 3))
        scores[:, 0] = (self.weights[history[:, :, 0].astype(int) - 1] * history[:, :, 1]).sum(1)
        return scores


def observation(num_rows: int):
    """One session whose rows, the newest first, have their place among the oldest, from 1, as content."""
    history = np.zeros((1, 5, 8), np.float32)
    history[0, :num_rows, 0] = np.arange(num_rows, 0, -1)
    history[0, :num_rows, 1] = 1.0
    return {"history": history.reshape(1, -1), "candidate_mask": np.ones((1, 3), np.float32)}


def test_deletion_is_fastest_and_insertion_highest_in_the_order_of_the_weights(monkeypatch):
    agent, own = Additive([3.0, 1.0, -2.0]), observation(3)
    monkeypatch.setattr(explanations, "_standard_scores", lambda agent, batch: agent.candidate_scores(batch))
    best = explanations._areas(agent, own, np.array([0, 1, 2]), 0)
    worst = explanations._areas(agent, own, np.array([2, 1, 0]), 0)
    np.testing.assert_allclose(best, [(2 - 1 - 2 + 0) / 4, (0 + 3 + 4 + 2) / 4])
    np.testing.assert_allclose(worst, [(2 + 4 + 3 + 0) / 4, (0 - 2 - 1 + 2) / 4])


def test_the_gradient_of_a_sum_is_its_terms():
    agent, own = Additive([3.0, 1.0, -2.0]), observation(3)
    content = agent.candidate_scores
    agent.candidate_scores = lambda batch: content({**batch, "history": _rounded(batch["history"])})
    found = explanations._gradients(agent, own, 3, 0)
    np.testing.assert_allclose(found, np.array([3.0, 1.0, -2.0]) * 2.0 / 3.0, rtol=1e-4)  # less the mean of all three


def _rounded(history):
    """With whole numbers as content, so that only the feedback varies."""
    rows = history.reshape(-1, 5, 8).copy()
    rows[:, :, 0] = rows[:, :, 0].round()
    return rows.reshape(len(rows), -1)


def test_a_row_for_each_agent_and_the_same_command_adds_none(tmp_path):
    for _ in range(2):
        assert explanations.main(["--out", str(tmp_path), *SMALL]) == 0
        (row,) = [json.loads(line) for line in (tmp_path / "explanations.jsonl").read_text().splitlines()]
    assert (row["scenario"], row["agent"], row["num_explained"]) == ("Music", "eb-linucb", 12)
    for curve in ("deletion", "insertion"):
        assert set(row["curves"][curve]) == {EXPLAINED, *RIVALS}
        assert row["curves"][curve]["random"][0] > 0.0  # an explanation is better than none
    assert set(row["agreement"]) == set(TERMS)
    assert (tmp_path / "explanations.md").read_text() == tables([row])
    assert (tmp_path / "explanations.png").is_file()
