"""The platform's ranking: predicted answers, the order of the candidates, and the scale of rewards."""

import gymnasium
import numpy as np
import pytest
from tiny_world import CERTAIN, make_simulator, show

from recsim_env.config import CANDIDATE_ORDERS
from recsim_env.simulation.observation import CANDIDATE_COLUMNS
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import set_categories, set_mean_answers

RELEVANCE, AFFINITY, EVIDENCE = (
    CANDIDATE_COLUMNS.index(name) - len(CANDIDATE_COLUMNS) for name in ("relevance", "affinity", "evidence")
)


def candidate_columns(simulator) -> np.ndarray:
    """[N, M, columns] of the candidates."""
    shape = simulator.layout.candidates_shape
    return simulator.observe("dict")["candidates"].reshape(len(simulator), *shape)


def planted(**arguments):
    """Three items whose mean answers are 1, 2 and 3; the first two share a category."""
    simulator = make_simulator(rating_probability=1.0, patience_gain=0.0, receptiveness=0.0, **arguments)
    records = simulator.world.item_records
    set_categories(records, np.array([[0.6, 0.2], [0.9, 0.1], [0.0, 0.7]]))
    records["mean_answers"] = np.array([[1.0], [2.0], [3.0]])
    return simulator


def test_relevance_is_the_mean_answer_plus_the_shrunk_deviation_by_hand():
    four_stars = {"choice_intercept": CERTAIN, "rating_cuts": (-102.0, -101.0, -100.0, 100.0)}
    simulator = planted(**four_stars)
    show(simulator, 0)  # answer 16 / 5 = 3.2, deviation 2.2, categories with weights 0.75 and 0.25
    show(simulator, 1)  # answer 3.2, deviation 1.2, weights 0.9 and 0.1
    deviations = 0.75 * 2.2 + 0.9 * 1.2, 0.25 * 2.2 + 0.1 * 1.2
    counts = 0.75 + 0.9, 0.25 + 0.1
    rows = candidate_columns(simulator)[0]
    for place, item in enumerate(simulator.sessions["candidates"][0]):
        first, second = {0: (0.75, 0.25), 1: (0.9, 0.1), 2: (0.0, 1.0)}[int(item)]
        evidence = first * counts[0] + second * counts[1]
        affinity = (first * deviations[0] + second * deviations[1]) / (evidence + 4.0)
        assert rows[place, RELEVANCE] == pytest.approx((1.0 + item + affinity) / 5.0, abs=1e-6)
        assert rows[place, AFFINITY] == pytest.approx(affinity, abs=1e-6)
        assert rows[place, EVIDENCE] == pytest.approx(evidence / (evidence + 4.0), abs=1e-6)


def test_an_impression_without_a_rating_is_an_answer_of_zero():
    simulator = planted(choice_intercept=-CERTAIN)
    show(simulator, 2)
    assert simulator.sessions["category_deviations"][0].tolist() == [0.0, -3.0]
    assert simulator.sessions["category_counts"][0].tolist() == [0.0, 1.0]


def test_feedback_of_earlier_users_is_forgotten():
    simulator = planted(choice_intercept=-CERTAIN)
    show(simulator, 2)
    simulator.start(np.arange(len(simulator)))
    assert not simulator.sessions["category_counts"].any()


def test_mean_answers_are_shrunk_to_the_mean_of_the_catalogue():
    records = np.zeros(2, [("mean_answers", "f4", (2,))])
    statistics = np.zeros((2, 2, 4), np.float32)
    statistics[1, :, 0] = np.log2(1.0 + np.array([1000.0, 100.0])) / 32.0
    statistics[1, :, 1:] = [0.5, 0.8, 400.0], [0.2, 0.6, 16.0]
    set_mean_answers(records, statistics, rating_variance=0.5)
    rate = np.array([(400 + 50 * 416 / 520) / 550, (16 + 50 * 416 / 520) / 70])  # ratings per click
    answers = np.array([500.0, 20.0]) * rate * (np.array([16.0, 9.0]) + 0.5) / 5.0
    mean = answers.sum() / 1100.0
    assert records["mean_answers"][:, 0] == pytest.approx(mean, rel=1e-5)  # not shown yet
    assert records["mean_answers"][:, 1] == pytest.approx(
        (answers + 20.0 * mean) / (np.array([1000.0, 100.0]) + 20.0), rel=1e-5
    )


def test_items_without_topics_are_in_one_category():
    records = np.zeros(3, [("categories", "i4", (2,)), ("category_weight", "f8")])
    set_categories(records, np.zeros((3, 2)))
    assert records["category_weight"].tolist() == [1.0, 1.0, 1.0]
    assert len(np.unique(records["categories"][:, 0])) == 1


def test_candidates_are_arranged_in_the_chosen_order(env_id):
    for order in CANDIDATE_ORDERS[:3]:
        envs = gymnasium.make_vec(env_id, 32, candidate_order=order, num_candidates=30)
        simulator = envs.unwrapped.simulator
        observations, _ = envs.reset(seed=0)
        for _ in range(12):
            columns = observations["candidates"].reshape(32, *simulator.layout.candidates_shape).astype(np.float64)
            candidates = np.array(simulator.sessions["candidates"])
            keys = columns[:, :, RELEVANCE] * 5.0
            if order == "popularity":
                keys = keys - columns[:, :, AFFINITY]
            if order == "category":
                keys -= 100.0 * simulator.world.item_records["categories"][candidates, 0]
            is_clipped = np.abs(columns[:, :, RELEVANCE : RELEVANCE + 2]).max(2) == 1.0
            keys = np.where(candidates == NO_ITEM, -1e9, keys)
            pairs = ~(is_clipped[:, 1:] | is_clipped[:, :-1])
            assert (np.diff(keys)[pairs] < 2e-5).all()
            observations, *_ = envs.step(envs.action_space.sample())


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
    envs = gymnasium.make_vec(env_id, 500, candidate_order=order, split="test")
    envs.reset(seed=0)
    is_running, total = np.ones(500, bool), 0.0
    while is_running.any():
        _, rewards, terminated, truncated, _ = envs.step(np.zeros(500, np.int64))
        total += rewards[is_running].mean() * is_running.mean()
        is_running &= ~(terminated | truncated)
    return total


def test_the_most_relevant_candidate_is_better_than_the_most_popular_one(scenario_name):
    returns = {order: first_slot_return(f"recsim_env/{scenario_name}-v0", order) for order in CANDIDATE_ORDERS}
    assert returns["relevance"] > returns["popularity"] > returns["random"]


def test_rewards_are_scaled_and_infos_are_not():
    scaled, stars = (gymnasium.make("recsim_env/Video-v0", reward_scale=scale) for scale in (0.25, 1.0))
    default = gymnasium.make("recsim_env/Video-v0")
    for env in (scaled, stars, default):
        env.reset(seed=1)
    for _ in range(10):
        results = [env.step(0) for env in (scaled, stars, default)]
        assert results[1][1] == results[1][4]["reward_rating"]
        assert results[0][1] == 0.25 * results[1][1]
        assert results[2][1] == results[1][1] / 32.0
        assert results[0][4] == results[1][4] == results[2][4]
        if results[0][2]:
            break


@pytest.mark.parametrize("argument", [{"candidate_order": "best"}, {"reward_scale": 0.0}, {"reward_scale": "1"}])
def test_unknown_orders_and_scales_are_refused(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=name):
        gymnasium.make("recsim_env/Video-v0", **argument)
