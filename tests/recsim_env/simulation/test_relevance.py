"""The platform's ranking: predicted answers, the order of the candidates, and the scale of rewards."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import CERTAIN, make_simulator, show

from recsim_env.config import CANDIDATE_ORDERS
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import relevance_after

RELEVANCE, DEVIATION, EVIDENCE = range(len(RELEVANCE_COLUMNS))


def candidate_columns(simulator) -> np.ndarray:
    """[N, M, 3]: the columns of the candidates."""
    return simulator.observe("dict")["candidates"].reshape(len(simulator), -1, len(RELEVANCE_COLUMNS))


FACTORS = np.array([[1.0, 0.5, 0.0, 0.0], [0.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def planted(**arguments):
    """Three items whose mean answers are 1, 2 and 3, with `FACTORS`; the variance of an answer is 2."""
    simulator = make_simulator(rating_probability=1.0, patience_gain=0.0, receptiveness=0.0, **arguments)
    records = simulator.world.item_records
    records["mean_answers"], records["answer_factors"] = [[1.0], [2.0], [3.0]], FACTORS[:, None]
    return simulator


def test_relevance_is_the_posterior_mean_of_a_linear_regression_on_the_factors():
    four_stars = {"choice_intercept": CERTAIN, "rating_cuts": (-102.0, -101.0, -100.0, 100.0)}
    simulator = planted(**four_stars)
    show(simulator, 0)  # answer 16 / 5 = 3.2, deviation 2.2
    show(simulator, 1)  # answer 3.2, deviation 1.2
    shown = FACTORS[:2]
    covariance = np.linalg.inv(np.eye(4) + shown.T @ shown / 2.0)
    tastes = covariance @ shown.T @ np.array([2.2, 1.2]) / 2.0
    rows = candidate_columns(simulator)[0]
    for place, item in enumerate(simulator.sessions["candidates"][0]):
        phi = FACTORS[item]
        assert rows[place, RELEVANCE] == pytest.approx((1.0 + item + phi @ tastes) / 5.0, abs=1e-6)
        assert rows[place, DEVIATION] == pytest.approx(np.clip(phi @ tastes, -1.0, 1.0), abs=1e-6)
        explained = 1.0 - phi @ covariance @ phi / (phi @ phi) if phi.any() else 0.0
        assert rows[place, EVIDENCE] == pytest.approx(explained, abs=1e-6)


def test_an_impression_without_a_rating_is_an_answer_of_zero():
    simulator = planted(choice_intercept=-CERTAIN)
    show(simulator, 0)  # deviation -1: with |phi|^2 = 1.25, m = phi * -1 / (1.25 + 2)
    assert simulator.sessions["tastes"][0] == pytest.approx(-FACTORS[0] / 3.25)


def test_slots_below_a_click_tell_nothing():
    simulator = planted(choice_intercept=CERTAIN, slate_size=2, num_sessions=200)
    places = np.argsort(simulator.sessions["candidates"], 1)[:, :2]  # items 0 and 1
    simulator.step(places)
    is_top = simulator.sessions["history_feedback"][:, 0, 1] > 0.0  # clicked, else the slot below it
    assert 20 < is_top.sum() < 180
    assert not simulator.sessions["tastes"][is_top, 2].any()  # only item 1 has a factor for this taste
    assert simulator.sessions["tastes"][~is_top, 2].all()


def test_feedback_of_earlier_users_is_forgotten():
    simulator = planted(choice_intercept=-CERTAIN)
    show(simulator, 1)
    simulator.start(np.arange(len(simulator)))
    assert not simulator.sessions["tastes"].any()
    assert (simulator.sessions["taste_covariance"] == np.eye(4)).all()


def test_candidates_are_arranged_in_the_chosen_order(env_id):
    for order in CANDIDATE_ORDERS[:3]:
        envs = gymnasium.make_vec(env_id, 32, candidate_order=order, num_candidates=30, observation="dict")
        simulator = envs.unwrapped.simulator
        observations, _ = envs.reset(seed=0)
        for _ in range(12):
            columns = observations["candidates"].reshape(32, 30, len(RELEVANCE_COLUMNS)).astype(np.float64)
            candidates = np.array(simulator.sessions["candidates"])
            keys = columns[:, :, RELEVANCE] * 5.0
            if order == "popularity":
                keys = keys - columns[:, :, DEVIATION]
            if order == "category":
                keys -= 100.0 * simulator.world.item_records["category"][candidates]
            is_clipped = np.abs(columns[:, :, RELEVANCE : RELEVANCE + 2]).max(2) == 1.0
            keys = np.where(candidates == NO_ITEM, -1e9, keys)
            pairs = ~(is_clipped[:, 1:] | is_clipped[:, :-1])
            assert (np.diff(keys)[pairs] < 2e-5).all()
            observations, *_ = envs.step(envs.action_space.sample())


@given(
    answers=st.lists(st.floats(0.0, 5.0, width=32), min_size=1, max_size=40),
    num_candidates=st.integers(2, 60),
    order=st.sampled_from(CANDIDATE_ORDERS[:3]),
)
@settings(deadline=None)
def test_any_answers_are_sorted_and_missing_candidates_come_last(answers, num_candidates, order):
    zeros = np.zeros(len(answers))
    items = {"quality": zeros, "appeal": zeros, "factors": np.zeros((len(answers), 3)), "topics": 0.5}
    simulator = make_simulator(**items, num_candidates=num_candidates, candidate_order=order)
    simulator.world.item_records["mean_answers"] = np.array(answers)[:, None]
    simulator.world.item_records["answer_factors"], simulator.world.item_records["category"] = 0.0, 0
    simulator.start(np.arange(len(simulator)))
    candidates = np.array(simulator.sessions["candidates"])
    num_missing = max(num_candidates - len(answers), 0)
    assert (candidates[:, num_candidates - num_missing :] == NO_ITEM).all()
    present = candidates[:, : num_candidates - num_missing]
    assert all(len(set(row)) == len(row) for row in present.tolist())
    resolution = (max(answers) - min(answers)) / 2**31 + 1e-12
    assert (np.diff(np.float64(answers)[present]) <= resolution).all()


def test_an_order_changes_positions_and_nothing_else():
    outcomes = {}
    for order in CANDIDATE_ORDERS:
        envs = gymnasium.make_vec("recsim_env/Music-v0", 16, candidate_order=order, observation="compact")
        observations, _ = envs.reset(seed=3)
        outcomes[order] = []
        for _ in range(60):
            items = observations["candidate_items"]
            observations, rewards, *_ = envs.step(items.argmax(axis=1))
            outcomes[order] += [np.sort(items, axis=1), rewards]
    for order in CANDIDATE_ORDERS[:3]:
        for one, other in zip(outcomes[order], outcomes["random"], strict=True):
            np.testing.assert_array_equal(one, other)


def first_slot_return(env_id: str, order: str) -> float:
    envs = gymnasium.make_vec(env_id, 500, candidate_order=order, split="train")
    envs.reset(seed=0)
    is_running, total = np.ones(500, bool), 0.0
    while is_running.any():
        _, rewards, terminated, truncated, _ = envs.step(np.zeros(500, np.int64))
        total += rewards[is_running].mean() * is_running.mean()
        is_running &= ~(terminated | truncated)
    return total


def test_the_most_relevant_candidate_is_better_than_the_most_popular_one(scenario_name):
    returns = {order: first_slot_return(f"recsim_env/{scenario_name}-v0", order) for order in CANDIDATE_ORDERS}
    margin = 0.9 if scenario_name == "Ecommerce" else 1.0  # purchases are rare: little is learned about a user
    assert returns["relevance"] > margin * returns["popularity"] > returns["random"]


def test_rewards_are_scaled_and_infos_are_not():
    scaled, stars = (gymnasium.make("recsim_env/Video-v0", reward_scale=scale) for scale in (0.25, 1.0))
    default = gymnasium.make("recsim_env/Video-v0")
    for env in (scaled, stars, default):
        env.reset(seed=1)
    for _ in range(10):
        results = [env.step(0) for env in (scaled, stars, default)]
        rating = results[1][4]["reward_rating"]
        assert results[1][1] == (rating - 2.0 if rating > 0.0 else 0.0)
        assert results[0][1] == 0.25 * results[1][1]
        assert results[2][1] == results[1][1]
        assert results[0][4] == results[1][4] == results[2][4]
        if results[0][2]:
            break


@pytest.mark.parametrize("argument", [{"candidate_order": "best"}, {"reward_scale": 0.0}, {"reward_scale": "1"}])
def test_unknown_orders_and_scales_are_refused(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=name):
        gymnasium.make("recsim_env/Video-v0", **argument)


def test_the_relevance_of_a_known_history_equals_that_of_the_env_that_played_it():
    env = RecommenderVectorEnv(3, "News", observation="compact", history_length=30, split="train")
    observations, _ = env.reset(seed=4)
    env.action_space.seed(0)
    world, shown, times = env.simulator.world, [[], [], []], []
    for _ in range(12):
        actions = env.action_space.sample()
        times.append(observations["time"][:, 0])
        for lane in range(3):
            shown[lane].append(int(observations["candidate_items"][lane, actions[lane]]))
        observations, _, terminated, *_ = env.step(actions)
        if terminated.any():
            break
    num_compared = 0
    for lane in range(3):
        number = int((observations["history_items"][lane] >= 0).sum())
        ratings = 5.0 * observations["history_feedback"][lane].reshape(-1, len(FEEDBACK))[:number, 4][::-1]
        history = observations["history_items"][lane, :number][::-1].tolist()
        if history != shown[lane]:
            continue  # a new session has started in this lane
        num_compared += 1
        columns = relevance_after(
            world.item_records,
            world.answer_variance,
            history,
            ratings.tolist(),
            [int(each[lane]) for each in times],
            observations["candidate_items"][lane].tolist(),
            int(observations["time"][lane, 0]),
        )
        expected = observations["candidate_relevance"][lane].reshape(-1, 3)
        np.testing.assert_allclose(columns, expected, atol=1e-5)
        assert np.abs(expected[:, 1]).max() > 0.0
    assert num_compared > 0
