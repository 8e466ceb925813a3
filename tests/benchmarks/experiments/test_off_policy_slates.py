"""Errors of off-policy estimators of slates: probabilities of slates by enumeration, rows and resuming."""

import json
from itertools import permutations

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401  (registers the ids)
from benchmarks.experiments import off_policy_slates
from benchmarks.experiments.off_policy import table
from benchmarks.experiments.plackett_luce_slates import marginals, remaining, show
from benchmarks.experiments.softmax_sessions import LinearSoftmax

SMALL = ["--size", "100", "--size", "200", "--logs", "2", "--truth-rows", "200", "--blocks", "1"]


def test_probabilities_of_slots_add_up_over_all_slates():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    slates = np.array(list(permutations(range(4), 3)))
    everywhere = np.tile(p, (len(slates), 1))
    conditional = np.take_along_axis(remaining(everywhere, slates), slates[:, :, None], 2)[:, :, 0]
    whole = conditional.prod(1)
    assert whole.sum() == pytest.approx(1.0)
    assert whole[0] == pytest.approx(0.4 * 0.3 / 0.6 * 0.2 / 0.3)  # items 0, 1 and 2
    found = marginals(everywhere, slates)
    for row, slate in enumerate(slates):
        for slot, item in enumerate(slate):
            assert found[row, slot] == pytest.approx(whole[slates[:, slot] == item].sum())


def test_probabilities_below_a_policy_that_is_almost_sure_keep_their_digits():
    p = np.array([[1.0, 1e-18, 2e-18, 4e-18]])
    found = marginals(np.tile(p, (2, 1)), np.array([[0, 1, 2], [1, 2, 0]]))
    assert found[0] == pytest.approx([1.0, 1 / 7, 1 / 7 * 2 / 6 + 4 / 7 * 2 / 3])
    assert found[1, 2] == pytest.approx(2.0 * (1 * 2 + 1 * 4 + 2 * 4) * 1e-36)  # the sure item below two others


def test_clicks_of_the_slots_add_up_to_the_reward():
    env = gymnasium.make_vec(
        "recsim_env/VideoSlate-v0",
        50,
        vectorization_mode="vector_entry_point",
        observation="full",
        slate_size=3,
        overrides={"population": {"warm_share": 1.0}, "reward": {"rating": 0.0, "click": 1.0}},
        max_episode_steps=1,
        autoreset_mode="Disabled",
    )
    shown = show(env, LinearSoftmax(popularity=2.0), 50, seed=3)
    env.reset(seed=3)
    _, rewards, *_ = env.step(shown.slates)
    assert shown.clicks.mean(1) == pytest.approx(rewards)
    assert shown.clicks.sum() > 0


def test_a_run_writes_rows_and_a_table_and_a_second_one_resumes(tmp_path):
    assert off_policy_slates.main(["--out", str(tmp_path), *SMALL]) == 0
    file = tmp_path / "off_policy_slates.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["truth"] + ["errors"] * 2 * 7
    assert {row["estimator"] for row in rows[1:]} >= {"item-position", "RIPS", "cascade DR"}
    assert (tmp_path / "off_policy_slates.md").read_text() == table(rows)
    assert off_policy_slates.main(["--out", str(tmp_path), *SMALL]) == 0
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows
