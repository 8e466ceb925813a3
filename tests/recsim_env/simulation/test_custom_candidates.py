"""Candidates chosen by a function of one's own, which may depend on the user."""

import re

import gymnasium
import numpy as np
import pytest
from test_custom_user_model import with_custom_user_models
from tiny_world import make_simulator
from trajectories import same

from recsim_env import UserModel
from recsim_env.simulation import availability
from recsim_env.simulation.records import NO_ITEM, NUM_RECENT_ITEMS

VIDEO_ID = "recsim_env/Video-v0"
NUM_CANDIDATES = 6


def newest_or_neighbours(session, items, p):
    """The newest items; once an item was consumed, its neighbours in the catalogue as well."""
    for m in range(len(session.candidates)):
        session.candidates[m] = session.end_item - 1 - m
    if session.num_consumed > 0:
        last = session.recent_items[(session.num_consumed - 1) % NUM_RECENT_ITEMS]
        for item in range(last - 1, last + 2):
            is_available = session.first_item <= item < session.end_item
            if is_available and not availability.is_candidate(session, item):
                session.candidates[item - last + 1] = item


@pytest.fixture(scope="module")
def retrieval():
    return UserModel(draw_candidates=newest_or_neighbours)


def make_vec(num_envs, retrieval, **arguments):
    return gymnasium.make_vec(VIDEO_ID, num_envs, num_candidates=NUM_CANDIDATES, user_model=retrieval, **arguments)


def candidates_by_hand(session) -> list[int]:
    candidates = [int(session["end_item"]) - 1 - m for m in range(NUM_CANDIDATES)]
    if session["num_consumed"]:
        last = int(session["recent_items"][(session["num_consumed"] - 1) % NUM_RECENT_ITEMS])
        for place, item in enumerate((last - 1, last, last + 1)):
            if session["first_item"] <= item < session["end_item"] and item not in candidates:
                candidates[place] = item
    return candidates


def test_candidates_depend_on_the_user_from_the_first_step_on(retrieval):
    envs = make_vec(40, retrieval, overrides={"population": {"warm_share": 0.5}})
    envs.reset(seed=0)
    depends = 0
    for step in range(30):
        sessions = envs.simulator.sessions
        for session in sessions:
            assert sorted(session["candidates"].tolist()) == sorted(candidates_by_hand(session))
            depends += session["num_consumed"] > 0
        envs.step(np.full(40, step % NUM_CANDIDATES))
    assert depends > 400


def test_lanes_equal_single_envs(retrieval):
    envs = make_vec(3, retrieval)
    single = gymnasium.make(VIDEO_ID, num_candidates=NUM_CANDIDATES, user_model=retrieval)
    observations = envs.reset(seed=4)[0]
    observation, is_over = single.reset(seed=6)[0], False
    while not is_over:
        assert same({name: part[2] for name, part in observations.items()}, observation)
        observation, _, terminated, truncated, _ = single.step(1)
        observations = envs.step(np.ones(3, int))[0]
        is_over = terminated or truncated


def test_oracles_and_masks_see_the_candidates(retrieval):
    envs = make_vec(3, retrieval)
    envs.reset(seed=4)
    latent = envs.latent_state()
    assert same(latent["candidate_items"], envs.simulator.sessions["candidates"])
    assert (latent["expected_rewards"] != 0.0).all()
    assert envs.action_masks().all()


# Functions with a dial: `session.custom[0]` says which slip it makes.

TWICE, RETIRED, FUTURE, BEYOND, MISSING = range(1, 6)


def dialled_candidates(session, items, p):
    availability.draw_candidates(session, items, p)
    dial = session.custom[0]
    if dial == TWICE:
        session.candidates[1] = session.candidates[0]
    elif dial == RETIRED:
        session.candidates[0] = session.first_item - 2
    elif dial == FUTURE:
        session.candidates[0] = session.end_item
    elif dial == BEYOND:
        session.candidates[0] = items[len(items)].index
    elif dial == MISSING:
        session.candidates[0] = NO_ITEM


@pytest.fixture(scope="module")
def simulator():
    return with_custom_user_models(make_simulator(num_sessions=2), UserModel(draw_candidates=dialled_candidates))


@pytest.mark.parametrize("dial", [TWICE, RETIRED, FUTURE, BEYOND])
def test_candidates_that_cannot_be_shown_end_the_step(simulator, dial):
    state = simulator.state()
    simulator.sessions["custom"][:, 0] = dial
    rule = "distinct candidates from first_item to end_item - 1, or -1 for a missing one"
    expected = "index is out of bounds; session" if dial == BEYOND else f"must leave {rule}"
    with pytest.raises(
        (ValueError, IndexError),
        match=re.escape(f"UserModel(draw_candidates=dialled_candidates): {expected}"),
    ):
        simulator.step(np.zeros((2, 1), np.int64))
    simulator.restore(state)


def test_a_candidate_may_be_missing(simulator):
    simulator.sessions["custom"][:, 0] = MISSING
    simulator.step(np.zeros((2, 1), np.int64))
    assert (simulator.sessions["candidates"] == NO_ITEM).sum(1).tolist() == [1, 1]
    is_missing = np.array(simulator.sessions["candidates"]) == NO_ITEM
    simulator.step(is_missing.argmax(1)[:, None])
    assert not simulator.outcomes["click"].any()
