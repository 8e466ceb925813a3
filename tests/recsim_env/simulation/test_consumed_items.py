"""Consumed items are no candidates again, for a number of steps that the scenario names."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import CERTAIN, SIZES, make_simulator, show
from trajectories import random_actions

from recsim_env.config import NEVER
from recsim_env.simulation.availability import forget_consumed, remember_consumed, was_consumed
from recsim_env.simulation.records import NO_ITEM, SESSION, dtypes

NUM_LANES = 64


def offered_and_consumed(scenario: str, num_steps: int = 40, **arguments):
    """In each step: the candidates [N, M], and for each lane the step at which it consumed each item last."""
    envs = gymnasium.make_vec(f"recsim_env/{scenario}-v0", NUM_LANES, observation="compact", **arguments)
    envs.reset(seed=3)
    sessions, is_shop = envs.simulator.sessions, envs.simulator.world.scenario.behaviour.is_shop
    consumed: list[dict[int, int]] = [{} for _ in range(NUM_LANES)]
    for actions in random_actions(envs.action_space, np.random.default_rng(0), num_steps):
        first = sessions["num_shown"].copy()
        episodes, steps = sessions["episode"].copy(), sessions["step"].copy()
        envs.step(actions)
        for lane in range(NUM_LANES):
            if sessions["episode"][lane] != episodes[lane]:
                consumed[lane] = {}
                continue
            for shown in range(first[lane], sessions["num_shown"][lane]):
                row = shown % sessions["history_items"].shape[1]
                feedback = sessions["history_feedback"][lane, row]
                if feedback[4 if is_shop else 1] > 0.0:
                    consumed[lane][int(sessions["history_items"][lane, row])] = int(steps[lane])
        yield sessions, consumed


@pytest.mark.parametrize("variant", ["", "Slate", "Catalog"])
@pytest.mark.parametrize("scenario", ["Video", "News", "Social", "Ratings"])
def test_consumed_items_are_not_offered_again(scenario, variant):
    num_consumed = 0
    for sessions, consumed in offered_and_consumed(scenario + variant):
        for lane in range(NUM_LANES):
            assert not set(sessions["candidates"][lane].tolist()) & set(consumed[lane])
            num_consumed += len(consumed[lane])
    assert num_consumed > 500


def test_without_the_rule_they_are_offered_again():
    overrides, repeats = {"catalog": {"repeat_after": 0, "num_items": 60, "arrivals_per_step": 0.0}}, 0
    for sessions, consumed in offered_and_consumed("Video", overrides=overrides):
        repeats += sum(len(set(sessions["candidates"][n].tolist()) & set(consumed[n])) for n in range(NUM_LANES))
    assert repeats > 500


def test_an_item_can_return_after_the_steps_that_the_scenario_names():
    few_items = {"num_items": 40, "arrivals_per_step": 0.0, "repeat_after": 5}
    overrides, waits = {"catalog": few_items, "behaviour": {"choice_intercept": 3.0}}, []
    for sessions, consumed in offered_and_consumed("Video", overrides=overrides):
        for lane in range(NUM_LANES):
            for item in set(sessions["candidates"][lane].tolist()) & set(consumed[lane]):
                waits.append(int(sessions["step"][lane]) - consumed[lane][item])
    assert min(waits) == 5


def test_candidates_stay_distinct_and_missing_where_all_items_are_consumed():
    simulator = make_simulator(repeat_after=NEVER, choice_intercept=CERTAIN)
    assert sorted(simulator.sessions["candidates"][0]) == [0, 1, 2]
    show(simulator, 1)
    assert sorted(simulator.sessions["candidates"][0]) == [NO_ITEM, 0, 2]
    show(simulator, 0)
    show(simulator, 2)
    assert (simulator.sessions["candidates"] == NO_ITEM).all()


def test_a_click_without_a_purchase_consumes_nothing_in_a_shop():
    shop = {"is_shop": True, "choice_intercept": CERTAIN, "budget": 1.0}
    looking = make_simulator(repeat_after=NEVER, purchase_intercept=-CERTAIN, **shop)
    buying = make_simulator(repeat_after=NEVER, purchase_intercept=CERTAIN, **shop)
    for simulator, num_left in ((looking, 3), (buying, 2)):
        show(simulator, 1)
        assert (simulator.sessions["candidates"] != NO_ITEM).sum() == num_left


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 50))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_table_of_consumed_items_is_a_dict_of_items_and_times(items, repeat_after):
    p = make_simulator(repeat_after=repeat_after).parameters.view(np.recarray)[0]
    session = np.zeros(1, dtypes(SIZES, num_entries=64)[SESSION]).view(np.recarray)[0]
    forget, remember, was = forget_consumed.py_func, remember_consumed.py_func, was_consumed.py_func
    forget(session)
    times: dict[int, int] = {}
    for step, item in enumerate(items):
        session.step = step
        remember(session, item)
        times[item] = step
    assert session.num_remembered == len(times)
    for item in range(41):
        assert bool(was(session, item, p)) == (item in times and session.step - times[item] < repeat_after)
    forget(session)
    assert not any(was(session, item, p) for item in range(41))
