"""Slates that are drawn from the model's policy, with exact propensities."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from stand_in_model import DATABASE, begin, catalog_of, client_with, recommend, respond

from agents.large_model.serving.served_log import write_served_log
from agents.large_model.serving.slates import BestSlate, PlackettLuce, draw_slate
from agents.networks.plackett_luce import slate_log_probabilities
from recsim_env import read_events
from recsim_env.logs.simulated.log_folder import read_manifest

LOGITS = np.array([0.0, math.log(3.0), math.log(2.0)], np.float32)  # weights 1, 3 and 2


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


def test_the_probability_of_a_slate_by_hand():
    policy = PlackettLuce(LOGITS)
    for slate, expected in {
        (1,): 3 / 6,
        (1, 0): 3 / 6 * 1 / 3,
        (2, 1): 2 / 6 * 3 / 4,
        (0, 1, 2): 1 / 6 * 3 / 5,
    }.items():
        assert policy.probability(np.array(slate)) == pytest.approx(expected)


def test_probabilities_are_those_of_pytorch_far_from_zero_too():
    logits = np.random.default_rng(0).normal(0.0, 60.0, 40).astype(np.float32)
    best = np.argsort(-logits)
    for slate in (best[:3], best[[1, 0, 2, 3]], best[2:9], best):
        expected = slate_log_probabilities(torch.tensor(logits, dtype=torch.float64), torch.tensor(slate)).sum()
        assert math.log(PlackettLuce(logits).probability(slate)) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("num_slots", [1, 2, 3])
@pytest.mark.parametrize("is_blind", [False, True])
def test_drawn_slates_have_their_propensities_which_sum_to_one(num_slots, is_blind):
    policies = [PlackettLuce(LOGITS), *([BestSlate(np.array([9.0, 8.0, 7.0]))] if is_blind else [])]
    slates = [draw_slate(policies, num_slots, 0.3, 0, "session", step) for step in range(6_000)]
    found = {tuple(each.places.tolist()): math.exp(each.log_propensity) for each in slates}
    orders = list(itertools.permutations(range(3), num_slots))
    assert sorted(found) == sorted(orders)
    assert sum(found.values()) == pytest.approx(1.0)
    for slate, propensity in found.items():
        of_model = PlackettLuce(LOGITS).probability(np.array(slate))
        of_agents = (of_model + (slate == tuple(range(num_slots)))) / 2 if is_blind else of_model
        assert propensity == pytest.approx(0.7 * of_agents + 0.3 / len(orders))
    for slate, count in Counter(tuple(each.places.tolist()) for each in slates).items():
        assert count / len(slates) == pytest.approx(found[slate], abs=0.03)
    assert {each.agent for each in slates} == set(range(len(policies)))


def test_a_drawn_slate_is_a_function_of_seed_session_and_step():
    policy = PlackettLuce(np.zeros(50))

    def places(*key) -> tuple[int, ...]:
        return tuple(draw_slate([policy], 3, 0.0, *key).places.tolist())

    assert places(0, "one", 4) == places(0, "one", 4)
    assert len({places(*key) for key in ((0, "one", 4), (1, "one", 4), (0, "two", 4), (0, "one", 5))}) == 4


def test_a_server_draws_slates_and_stores_their_propensities(tmp_path, catalog):
    candidates = [3, 70, 41]
    with client_with(tmp_path, catalog, selection="softmax", exploration=0.0) as client:
        session = begin(client)
        shown = [recommend(client, session, candidates=candidates, num_items=3) for _ in range(12)]
        stored = client.get(f"/sessions/{session}").json()["recommendations"]
        assert respond(client, session, shown[0], click=1).status_code == 200
    assert len({tuple(each["item"] for each in one["items"]) for one in shown}) > 1
    for recommendation, row in zip(shown, stored, strict=True):
        first, second, _ = (each["probability"] for each in recommendation["items"])
        assert row["log_propensity"] == pytest.approx(math.log(first * second / (1.0 - first)), abs=1e-4)
        assert row["selection"] == "softmax"
    write_served_log(tmp_path / DATABASE, tmp_path / "log")
    assert "softmax slates" in read_manifest(tmp_path / "log").policy
    assert read_events(tmp_path / "log")["log_propensity"].to_list() == [stored[0]["log_propensity"]]


def test_the_ranking_of_the_platform_is_not_drawn(tmp_path, catalog):
    with client_with(tmp_path, catalog, selection="softmax", exploration=0.0) as client:
        session = begin(client, agent="platform")
        assert len({str(recommend(client, session, num_items=3)["items"]) for _ in range(3)}) == 1
        rows = client.get(f"/sessions/{session}").json()["recommendations"]
    assert [(row["log_propensity"], row["selection"]) for row in rows] == [(0.0, "greedy")] * 3
