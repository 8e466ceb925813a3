"""Metrics beyond reward: each computed by hand on two sessions and five items, then checked in a real world."""

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import recsim_env  # noqa: F401
from agents.rollouts.evaluation import Evaluation, evaluate
from agents.rules.random_agent import RandomAgent
from benchmarks.analysis.calibration import miscalibration
from benchmarks.analysis.creators import creator_metrics, exposure_by_creator_popularity
from benchmarks.analysis.exposures import CatalogFacts, is_available
from benchmarks.analysis.metrics import (
    BIN_STARTS,
    catalog_coverage,
    click_rate,
    discovery,
    exposure_gini,
    intra_list_diversity,
    new_item_exposure,
    novelty,
    rating_per_click,
    reward_by_item_age,
    reward_by_step,
    reward_by_tenure,
    summary,
)
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.records import NO_ITEM

NUM_BINS = len(BIN_STARTS)
NEVER = np.iinfo(np.int64).max


def facts_of(content, release, retire, clicks, **others) -> CatalogFacts:
    """Items of two topics, one of which each item is of, by one creator."""
    num_items = len(content)
    values = {
        "content": content,
        "topics": np.eye(2)[np.arange(num_items) % 2],
        "creators": np.zeros(num_items, np.int64),
        "num_creators": 1,
        "release_steps": np.array(release, np.int64),
        "retire_steps": np.array(retire, np.int64),
        "clicks": clicks,
        "new_item_age": 2,
        "has_visits": False,
    }
    return CatalogFacts(**{**values, **others})


def make_facts(release=(0, 0, 12, 14, 30), retire=(100, 5, 100, 100, 100), **others) -> CatalogFacts:
    """Items 0, 2 and 3 are there for the sessions of `make_evaluation`; 1 is gone by then, 4 is yet to come."""
    clicks = np.zeros((NUM_BINS, 5))
    clicks[1:, 0] = 7.0
    clicks[1, 2], clicks[2:, 2] = 1.0, 3.0
    content = np.array([[1.0, 0.0], [9.0, 9.0], [3.0, 4.0], [0.0, 1.0], [9.0, 9.0]], np.float32)
    return facts_of(content, release, retire, clicks, **others)


def make_evaluation(start_times=(10, 11), **overrides) -> Evaluation:
    """A cold user from time 10 to 12, who leaves, and one of tenure 5 from 11 to 15; slates of one item."""
    gone = NO_ITEM
    rewards = np.array([[1.0, 2.0, 3.0, 0.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0]]).T
    whole = Evaluation(
        lengths=np.array([3, 5]),
        has_left=np.array([True, False]),
        tenures=np.array([0, 5]),
        times=np.arange(5)[:, None] + np.array(start_times),
        items=np.array([[0, 0, 0, gone, gone], [0, 0, 2, 2, 0]], np.int32).T[:, :, None],
        rewards=rewards,
        is_clicked=np.array([[1, 0, 1, 0, 0], [0, 0, 1, 0, 0]], bool).T[:, :, None],
        clicked_before=np.full((2, 3), gone, np.int32),
        num_ratings=np.array([2, 1]),
        rating_sums=np.array([4.0, 5.0]),
        num_visits=np.array([1, 1]),
        num_active_days=np.array([1, 1]),
        metric=np.array([2.0, 4.0]),
    )
    if "items" in overrides:  # of other slates, in which nothing is clicked
        overrides = {"is_clicked": np.zeros(overrides["items"].shape, bool), **overrides}
    return dataclasses.replace(whole, **overrides)


def make_empty() -> Evaluation:
    """The same sessions, in which nothing could be shown."""
    return make_evaluation(items=np.full((5, 2, 1), NO_ITEM, np.int32))


def test_session_length_and_churn_are_means_over_sessions():
    found = summary(make_evaluation(), make_facts())
    assert (found["session_length"], found["churn"]) == (4.0, 0.5)


def test_click_rate_and_stars_are_of_exposures_and_of_clicked_items():
    assert click_rate(make_evaluation(), make_facts()) == 3 / 8
    assert rating_per_click(make_evaluation()) == 3.0  # ratings that add up to 9, of three items
    assert click_rate(make_empty(), make_facts()) is None
    assert rating_per_click(make_evaluation(num_ratings=np.zeros(2, int))) is None


def test_return_visits_and_active_days_are_defined_in_lifetimes_only():
    lives = make_evaluation(num_visits=np.array([4, 1]), num_active_days=np.array([3, 1]))
    found = summary(lives, make_facts(has_visits=True))
    assert (found["return_visits"], found["active_days"]) == (1.5, 2.0)
    found = summary(lives, make_facts())
    assert (found["return_visits"], found["active_days"]) == (None, None)


def test_calibrated_exposure_has_the_topics_of_the_clicked_items():
    topics = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]])
    # The first user is shown and clicks topic 0 alone. The second clicks topic 1 alone, and is shown it 2 times in 5.
    off = np.log(1.0 / (0.99 * 0.4 + 0.01))
    assert miscalibration(make_evaluation(), make_facts(topics=topics)) == pytest.approx((0.0 + off) / 2)
    # A history with a click on topic 0 makes the second user's clicks half and half, in 3 of 5 and 2 of 5 exposures.
    history = np.array([[NO_ITEM] * 3, [NO_ITEM, 0, NO_ITEM]], np.int32)
    off = 0.5 * np.log(0.5 / (0.99 * 0.6 + 0.005)) + 0.5 * np.log(0.5 / (0.99 * 0.4 + 0.005))
    known = make_evaluation(clicked_before=history)
    assert miscalibration(known, make_facts(topics=topics)) == pytest.approx((0.0 + off) / 2)


def test_users_without_clicks_have_no_miscalibration():
    is_clicked = make_evaluation().is_clicked.copy()
    is_clicked[:, 1] = False
    assert miscalibration(make_evaluation(is_clicked=is_clicked), make_facts()) == 0.0  # of the first user alone
    assert miscalibration(make_evaluation(is_clicked=is_clicked[:, ::-1] & False), make_facts()) is None
    assert miscalibration(make_empty(), make_facts()) is None


def test_creators_are_compared_by_exposures_and_clicks():
    # Of items 0, 2 and 3, which are available, creators 1, 0 and 2 have one each; creator 3 has retired items alone.
    facts = make_facts(creators=np.array([1, 3, 0, 2, 3]), num_creators=5)
    found = creator_metrics(make_evaluation(), facts)
    assert found["creator_coverage"] == pytest.approx(2 / 3)
    assert found["creator_exposure_gini"] == pytest.approx((0 * -2 + 2 * 0 + 6 * 2) / (3 * 8))
    assert found["creator_click_gini"] == pytest.approx((0 * -2 + 1 * 0 + 2 * 2) / (3 * 3))
    # By clicks elsewhere the creators are 2 (none), 0 (three) and 1 (seven).
    assert (found["tail_creator_exposure"], found["tail_creator_clicks"]) == (0.0, 0.0)
    assert exposure_by_creator_popularity(make_evaluation(), facts) == {
        "num_creators": [1, 1, 1],
        "num_exposures": [0, 2, 6],
        "num_clicks": [0, 1, 2],
        "clicks_per_creator": [0.0, 1.0, 2.0],
    }


def test_without_creators_exposures_or_clicks_creators_have_no_metrics():
    assert set(creator_metrics(make_evaluation(), make_facts()).values()) == {None}
    assert "by_creator_popularity" not in summary(make_evaluation(), make_facts())
    facts = make_facts(creators=np.array([1, 1, 0, 1, 0]), num_creators=2)
    assert set(creator_metrics(make_empty(), facts).values()) == {None}
    unclicked = creator_metrics(make_evaluation(is_clicked=np.zeros((5, 2, 1), bool)), facts)
    assert unclicked["creator_click_gini"] is unclicked["tail_creator_clicks"] is None
    assert unclicked["creator_coverage"] == 1.0


def test_available_items_are_those_of_any_step_of_any_session():
    np.testing.assert_array_equal(is_available(make_evaluation(), make_facts()), [1, 0, 1, 1, 0])


def test_an_item_is_there_from_its_release_until_just_before_it_retires():
    apart = make_evaluation(start_times=(20, 10))  # steps 20 to 22, and 10 to 14
    facts = make_facts(release=(0, 0, 14, 15, 22), retire=(10, 11, 15, 20, 23))
    np.testing.assert_array_equal(is_available(apart, facts), [0, 1, 1, 0, 1])


def test_ages_of_items_in_a_lifetime_are_of_the_platforms_time():
    env = gymnasium.make_vec("recsim_env/VideoLifetime-v0", 20, split="validation", observation="full")
    agent = RandomAgent()
    evaluation = evaluate(agent, env, seed=3)
    assert (np.diff(evaluation.times, axis=0)[evaluation.is_running[1:]] > 1).any()  # absences
    found = reward_by_item_age(evaluation, CatalogFacts.of(env.unwrapped))
    assert sum(found["num_exposures"]) == evaluation.lengths.sum()


def test_coverage_is_the_share_of_available_items_that_were_shown():
    assert catalog_coverage(make_evaluation(), make_facts()) == pytest.approx(2 / 3)
    assert catalog_coverage(make_empty(), make_facts()) == 0.0


def test_gini_includes_items_never_shown_and_excludes_unavailable_ones():
    # Showings 0, 2, 6 of items 3, 2, 0: (-2 * 0 + 0 * 2 + 2 * 6) / (3 * 8)
    assert exposure_gini(make_evaluation(), make_facts()) == pytest.approx(0.5)
    assert exposure_gini(make_empty(), make_facts()) is None


def test_gini_is_0_for_equal_exposure_and_largest_for_a_single_item():
    equal = make_evaluation(items=np.array([[0, 2, 3, NO_ITEM, NO_ITEM], [0, 2, 3, 0, 2]], np.int32).T[:, :, None])
    equal = dataclasses.replace(equal, lengths=np.array([3, 3]))
    assert exposure_gini(equal, make_facts(release=(0, 0, 0, 0, 30))) == pytest.approx(0.0)
    one = make_evaluation(items=np.array([[0, 0, 0, NO_ITEM, NO_ITEM], [0] * 5], np.int32).T[:, :, None])
    assert exposure_gini(one, make_facts()) == pytest.approx(1 - 1 / 3)


def test_diversity_is_the_mean_pairwise_distance_of_shown_items():
    # Session 0 repeats one item: 0. Session 1: 6 of 10 pairs at 1 - 3/5.
    assert intra_list_diversity(make_evaluation(), make_facts()) == pytest.approx((0.0 + 0.24) / 2)
    slates = make_evaluation(lengths=np.array([1, 1]), items=np.array([[[0, 2], [0, 3]]], np.int32))
    slates = dataclasses.replace(slates, rewards=np.ones((1, 2)))
    assert intra_list_diversity(slates, make_facts()) == pytest.approx((0.4 + 1.0) / 2)


def test_diversity_leaves_out_sessions_with_one_item():
    short = make_evaluation(lengths=np.array([1, 5]))
    assert intra_list_diversity(short, make_facts()) == pytest.approx(0.24)
    assert intra_list_diversity(make_empty(), make_facts()) is None


def test_novelty_is_the_self_information_of_shown_items():
    # With one added: item 0 has 8; item 2 has 1, 2, 4 at ages 0, 1, 2; item 3 has 1. Item 0 alone says nothing.
    of_first = [0.0, 0.0, np.log2(9 / 8)]
    of_second = [0.0, np.log2(9 / 8), np.log2(10 / 2), np.log2(13 / 4), np.log2(13 / 8)]
    assert novelty(make_evaluation(), make_facts()) == pytest.approx(np.mean(of_first + of_second))
    assert novelty(make_empty(), make_facts()) is None


def test_novelty_equals_the_sum_over_available_items_at_each_step():
    generator = np.random.default_rng(0)
    release = np.sort(generator.integers(0, 60, 40))
    clicks = np.cumsum(generator.poisson(3.0, (NUM_BINS, 40)), 0).astype(np.float64)
    facts = facts_of(np.ones((40, 2)), release, release + 9, clicks)
    starts, lengths = np.array([5, 30, 31]), np.array([20, 6, 20])
    items, bits = np.full((20, 3, 1), NO_ITEM, np.int32), []
    for n in range(3):
        for step in range(lengths[n]):
            now = starts[n] + step
            available = np.flatnonzero((release <= now) & (now < release + 9))
            counts = {i: facts.clicks[int(now - release[i]).bit_length(), i] + 1 for i in available.tolist()}
            items[step, n] = item = int(generator.choice(available))
            bits.append(-np.log2(counts[item] / sum(counts.values())))
    of_users = ("tenures", "has_left", "num_ratings", "rating_sums", "num_visits", "num_active_days", "metric")
    frame = {
        "times": starts + np.arange(20)[:, None],
        "clicked_before": items[0],
        **dict.fromkeys(of_users, np.zeros(3)),
    }
    rewards, is_clicked = np.ones((20, 3)), np.zeros(items.shape, bool)
    played = Evaluation(lengths=lengths, items=items, rewards=rewards, is_clicked=is_clicked, **frame)
    assert novelty(played, facts) == pytest.approx(np.mean(bits))


def test_new_item_exposure_is_the_share_of_impressions_below_the_age():
    assert new_item_exposure(make_evaluation(), make_facts()) == 1 / 8  # item 2 at age 1, no more at age 2
    assert new_item_exposure(make_empty(), make_facts()) is None


def test_discovery_is_the_share_and_median_age_of_new_items_first_shown():
    assert discovery(make_evaluation(), make_facts()) == (0.5, 1.0)  # item 2 at age 1, item 3 never
    later = make_evaluation(items=np.array([[0, 0, 0, NO_ITEM, NO_ITEM], [0, 0, 0, 2, 3]], np.int32).T[:, :, None])
    assert discovery(later, make_facts()) == (1.0, 1.5)  # ages 2 and 1
    assert discovery(make_empty(), make_facts()) == (0.0, None)
    all_three = make_evaluation(items=np.array([[0, 0, 0, NO_ITEM, NO_ITEM], [2, 3, 0, 0, 4]], np.int32).T[:, :, None])
    assert discovery(all_three, make_facts(release=(0, 0, 11, 12, 13))) == (1.0, 0.0)  # ages 0, 0 and 2


def test_discovery_is_undefined_where_nothing_arrives():
    static = make_facts(release=(10,) * 5, retire=(NEVER,) * 5)
    assert discovery(make_evaluation(), static) == (None, None)


def test_reward_by_step_is_the_mean_over_sessions_that_reach_the_step():
    assert reward_by_step(make_evaluation()) == {"reward": [3.0, 3.0, 3.0, 2.0, 1.0], "num_sessions": [2, 2, 2, 1, 1]}
    cold = summary(make_evaluation(), make_facts())["by_step_cold"]
    assert cold == {"reward": [1.0, 2.0, 3.0, None, None], "num_sessions": [1, 1, 1, 0, 0]}


def test_reward_by_item_age_has_bins_of_powers_of_two():
    found = reward_by_item_age(make_evaluation(), make_facts())
    assert found["starts"][:6] == [0, 1, 2, 4, 8, 16]
    assert found["reward"][:6] == [None, 3.0, 2.0, None, pytest.approx(16 / 6), None]
    assert found["num_exposures"] == [0, 1, 1, 0, 6] + [0] * (NUM_BINS - 5)


def test_every_slot_counts_with_the_reward_of_its_slate():
    slates = make_evaluation(lengths=np.array([1, 1]), items=np.array([[[0, 2], [0, NO_ITEM]]], np.int32))
    slates = dataclasses.replace(slates, times=np.array([[12, 12]]), rewards=np.array([[2.0, 5.0]]))
    found = reward_by_item_age(slates, make_facts())
    assert (found["reward"][0], found["reward"][4]) == (2.0, 3.5)
    assert sum(found["num_exposures"]) == 3


def test_reward_by_tenure_keeps_cold_users_apart():
    found = reward_by_tenure(make_evaluation())
    assert (found["reward"][0], found["return"][0], found["num_sessions"][0]) == (2.0, 6.0, 1)
    assert (found["reward"][3], found["return"][3], found["num_sessions"][3]) == (3.0, 15.0, 1)  # tenures 4 to 7
    assert found["reward"].count(None) == NUM_BINS - 2


def test_metrics_do_not_depend_on_ids_nor_on_the_order_of_sessions():
    small, evaluation = make_facts(), make_evaluation()
    gone, shift = np.zeros(5_995, np.int64), 5_995  # items that retired before all sessions
    large = facts_of(
        content=np.concatenate([np.ones((shift, 2), np.float32), small.content]),
        release=np.concatenate([gone, small.release_steps]),
        retire=np.concatenate([gone + 3, small.retire_steps]),
        clicks=np.concatenate([np.full((NUM_BINS, shift), 50.0), small.clicks], 1),
    )
    items = np.where(evaluation.items == NO_ITEM, NO_ITEM, evaluation.items + shift)
    reversed_ones = ("lengths", "has_left", "tenures", "num_ratings", "rating_sums")
    overrides = {name: getattr(evaluation, name)[::-1] for name in reversed_ones}
    other = make_evaluation(
        items=items[:, ::-1],
        rewards=evaluation.rewards[:, ::-1],
        is_clicked=evaluation.is_clicked[:, ::-1],
        start_times=(11, 10),
        **overrides,
    )
    found, expected = summary(other, large), summary(evaluation, small)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


@pytest.mark.parametrize("slate_size", [1, 3])
def test_summaries_of_a_real_world_are_json_in_their_ranges(slate_size):
    env = gymnasium.make_vec(
        "recsim_env/News-v0",
        24,
        slate_size=slate_size,
        session_length=12,  # some users leave, some stay
        split="test",
        catalog_seed=1,
        observation="full",
    )
    evaluation, facts = evaluate(RandomAgent(), env, seed=5), CatalogFacts.of(env)
    scaled_impressions, click_rates, _ = np.moveaxis(env.catalog_statistics.astype(np.float64), 2, 0)
    np.testing.assert_allclose(facts.clicks, (2.0 ** (32.0 * scaled_impressions) - 1.0) * click_rates, atol=0.51)
    assert (facts.clicks == np.round(facts.clicks)).all()
    shown = np.unique(evaluation.items[evaluation.items != NO_ITEM])
    assert is_available(evaluation, facts)[shown].all()
    found = json.loads(json.dumps(summary(evaluation, facts), allow_nan=False))
    for name in ("churn", "catalog_coverage", "exposure_gini", "new_item_exposure", "share_discovered", "click_rate"):
        assert 0.0 < found[name] < 1.0
    assert 0.0 < found["intra_list_diversity"] < 2.0
    assert 1.0 <= found["rating_per_click"] <= 5.0
    assert 0.0 < found["miscalibration"] < np.log(100.0)
    assert 0.0 <= found["steps_to_discovery"] < 25.0  # the life of an item in News
    assert 7.0 < found["novelty"] < 10.0  # log2 of the 200 items available is 7.6
    by_step, by_age, by_tenure = found["by_step"], found["by_item_age"], found["by_tenure"]
    assert sum(by_step["num_sessions"]) == evaluation.lengths.sum()
    assert sum(by_age["num_exposures"]) == evaluation.lengths.sum() * slate_size
    assert sum(by_tenure["num_sessions"]) == 24
    assert by_tenure["return"][0] == pytest.approx(evaluation.returns.mean())


def test_feedback_of_an_evaluation_is_that_of_the_simulator_in_every_autoreset_mode():
    played = []
    for mode in AutoresetMode:
        env = RecommenderVectorEnv(
            12, "Social", slate_size=3, session_length=8, observation="full", autoreset_mode=mode, split="test"
        )
        played.append(evaluate(RandomAgent(), env, seed=5))
        assert env.autoreset_mode == mode
    for other in played[1:]:
        for field in dataclasses.fields(Evaluation):
            np.testing.assert_array_equal(getattr(other, field.name), getattr(played[0], field.name))
    first, warm = played[0], played[0].tenures > 0
    assert first.metric.sum() == pytest.approx(first.is_clicked.sum() / 3)  # the metric of Social is clicks
    assert (first.is_clicked <= (first.items != NO_ITEM)).all()
    assert first.num_ratings.sum() == first.is_clicked.sum()  # without a shop, users rate what they click
    assert (first.clicked_before[~warm] == NO_ITEM).all()
    assert (first.clicked_before[warm] != NO_ITEM).any()
    facts = CatalogFacts.of(env)
    np.testing.assert_allclose(facts.topics.sum(1), 1.0)
    found = summary(first, facts)
    assert found["creator_coverage"] == 1.0
    assert sum(found["by_creator_popularity"]["num_clicks"]) == first.is_clicked.sum()
    assert sum(found["by_creator_popularity"]["num_creators"]) == facts.num_creators == 24
