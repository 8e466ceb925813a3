"""Items that arrive and retire, and the draw of candidates."""

import gymnasium
import numpy as np
import pytest
from scipy import stats
from tiny_world import CERTAIN, make_simulator, start
from trajectories import random_actions

from recsim_env.simulation.records import NO_ITEM

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


def test_candidates_and_shown_items_are_available(scenario_name):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}Slate-v0", 50)
    envs.reset(seed=4)
    items, simulator = envs.simulator.world.item_records, envs.simulator
    num_new = 0
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 60):
        sessions = simulator.sessions
        now = (sessions["start_step"] + sessions["step"])[:, None]
        offered = items[sessions["candidates"]]
        assert (sessions["candidates"] != NO_ITEM).all()
        assert (offered["release_step"] <= now).all()
        assert (now < offered["retire_step"]).all()
        num_new += (offered["release_step"] > sessions["start_step"][:, None]).sum()
        on_offer = [set(row) for row in sessions["candidates"].tolist()]
        shown_before, episodes = sessions["num_shown"].copy(), simulator.sessions["episode"].copy()
        envs.step(actions)
        for n in np.flatnonzero(simulator.sessions["episode"] == episodes):
            rows = np.arange(shown_before[n], sessions["num_shown"][n]) % sessions["history_items"].shape[1]
            assert set(sessions["history_items"][n, rows].tolist()) <= on_offer[n]
    assert num_new > 100


def test_items_arrive_and_retire_while_the_session_runs():
    simulator = make_simulator(
        quality=[0.0] * 4,
        appeal=[0.0] * 4,
        factors=np.eye(3)[[0, 1, 2, 0]],
        topics=np.eye(2)[[0, 1, 0, 1]],
        release=[0, 0, 2, 3],
        retire=[1, 10, 12, 13],
        patience_gain=0.0,
        patience_skip=0.0,
    )
    simulator.sessions["start_step"] = 0  # platform time 0, before the first items retire
    simulator.sessions["first_item"], simulator.sessions["end_item"] = 0, 2
    available = []
    for _ in range(5):
        simulator.step(np.zeros((1, 1), np.int64))
        candidates = simulator.sessions["candidates"][0]
        available.append(sorted(candidates[candidates != NO_ITEM].tolist()))
    assert available == [[1], [1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def candidates_of(num_items: int, num_sessions: int, **options):
    """Sessions in which each has drawn its candidates of `num_items` available items by a world seed of its own."""
    simulator = make_simulator(
        num_sessions=num_sessions,
        quality=[0.0] * num_items,
        appeal=[0.0] * num_items,
        factors=np.zeros((num_items, 3)),
        topics=np.full((num_items, 2), 0.5),
        **options,
    )
    start(simulator, candidate_seed=np.arange(num_sessions))
    return simulator


@pytest.mark.parametrize("num_items", [1, 2, 3, 4, 5, 7, 50])
def test_candidates_are_distinct_and_uniform_in_every_position(num_items):
    simulator = candidates_of(num_items, 30_000)
    for _ in range(2):  # at the beginning and after a step
        drawn = np.sort(simulator.sessions["candidates"], 1)
        assert ((np.diff(drawn, axis=1) > 0) | (drawn[:, 1:] == NO_ITEM)).all()
        assert ((drawn != NO_ITEM).sum(1) == min(num_items, 3)).all()
        for place in range(3):
            there = simulator.sessions["candidates"][:, place]
            if place >= num_items:
                assert (there == NO_ITEM).all()  # what is missing is missing at the end
                continue
            counts = np.bincount(there, minlength=num_items)
            assert num_items == 1 or stats.chisquare(counts).pvalue > UNLIKELY
        simulator.step(np.zeros((len(simulator), 1), np.int64))


def test_many_candidates_of_many_available_items_are_uniform():
    overrides = {"catalog": {"num_items": 90, "arrivals_per_step": 0.0}}
    envs = gymnasium.make_vec("recsim_env/Video-v0", 20_000, overrides=overrides, candidate_order="random")
    envs.reset(seed=0)
    drawn = envs.simulator.sessions["candidates"]
    before = np.zeros((20_000, 90), bool)
    np.put_along_axis(before, drawn, True, 1)
    assert (before.sum(1) == 20).all()
    # An item is there or not: Bernoulli draws, which 90 items share. Strata make the counts no more regular than that.
    deviation = (before.sum(0) - 20_000 * 20 / 90) / np.sqrt(20_000 * 20 / 90 * (1.0 - 20 / 90))
    assert stats.chi2.sf((deviation**2).sum(), 89) > UNLIKELY
    for place in (0, 7, 19):
        assert stats.chisquare(np.bincount(drawn[:, place], minlength=90)).pvalue > UNLIKELY
    simulator = envs.simulator
    simulator.sessions["patience"] = 5.0
    simulator.step(np.zeros((20_000, 1), np.int64))
    after = np.zeros((20_000, 90), bool)
    np.put_along_axis(after, simulator.sessions["candidates"], True, 1)
    both = (before & after).mean(0)
    np.testing.assert_allclose(both, (20 / 90) ** 2, atol=5.0 * np.sqrt((20 / 90) ** 2 / 20_000))


# New items and repeats


@pytest.mark.parametrize(("share", "expected"), [(0.0, None), (0.3, 6), (0.5, 10), (1.0, 20)])
def test_a_share_of_the_candidates_is_new_when_enough_new_items_are_there(share, expected):
    overrides = {"catalog": {"new_item_share": share, "new_item_age": 60, "repeat_after": 0}}
    envs = gymnasium.make_vec("recsim_env/Video-v0", 200, overrides=overrides)
    envs.reset(seed=0)
    items, sessions = envs.simulator.world.item_records, envs.simulator.sessions
    all_numbers = []
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 30):
        now = (sessions["start_step"] + sessions["step"])[:, None]
        released = items["release_step"][sessions["candidates"]]
        num_new = (now - released < 60).sum(1)
        all_numbers.append(num_new)
        available = (items["release_step"] <= now) & (now - items["release_step"] < 60)
        if expected is not None:
            assert (num_new == np.minimum(expected, available.sum(1))).all()
        assert (sessions["candidates"] != NO_ITEM).all()
        assert all(len(set(row)) == 20 for row in sessions["candidates"].tolist())
        envs.step(actions)
    if expected is None:  # as many as there are in the catalogue, with a lifetime of 800 steps
        assert np.mean(all_numbers) == pytest.approx(20 * 60 / 800, abs=0.2)


@pytest.mark.parametrize(
    ("ages", "share", "num_new"),
    [
        ((9, 9, 9, 9, 1, 1), 0.67, 2),
        ((9, 9, 9, 9, 9, 1), 0.67, 1),  # no more new ones are there: the rest is old
        ((9, 9, 9, 9, 9, 9), 0.67, 0),
        ((9, 1, 1, 1, 1, 1), 0.34, 2),  # no more old ones are there: the rest is new
        ((1, 1, 1, 1, 1, 1), 0.0, 3),
    ],
)
def test_new_and_old_items_replace_missing_ones_of_the_other_kind_uniformly(ages, share, num_new):
    ages = np.array(ages)
    simulator = candidates_of(6, 30_000, release=10 - ages, new_item_share=share, new_item_age=5)
    sessions = simulator.sessions
    assert (sessions["start_step"] + sessions["step"] <= 10).all()
    sessions["start_step"] = 9
    sessions["end_item"], sessions["first_new_item"] = 0, 0
    simulator.step(np.zeros((30_000, 1), np.int64))  # at step 10 the ages are as given
    drawn = sessions["candidates"]
    assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
    assert ((ages[drawn] == 1).sum(1) == num_new).all()
    for place in range(3):
        assert (ages[drawn[:, place]] == 1).mean() == pytest.approx(num_new / 3, abs=0.015)
    counts = np.bincount(drawn.ravel(), minlength=6)
    for kind in (counts[ages == 1], counts[ages == 9]):
        if len(kind) > 1 and kind.sum():
            assert stats.chisquare(kind).pvalue > UNLIKELY


def test_repeats_are_recently_consumed_items_that_are_still_available():
    simulator = candidates_of(40, 20_000, repeat_share=0.67, choice_intercept=-CERTAIN)  # two of three
    recent_items = np.full(16, NO_ITEM)
    recent_items[:6] = [3, 9, 3, 14, 20, 31]
    simulator.sessions["recent_items"] = recent_items
    simulator.sessions["first_item"] = 5  # item 3 is not available any more
    simulator.step(np.zeros((20_000, 1), np.int64))
    drawn = simulator.sessions["candidates"]
    assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
    assert drawn.min() >= 5
    is_repeat = np.isin(drawn, [9, 14, 20, 31])
    assert (is_repeat.sum(1) >= 2).all()
    assert is_repeat.mean() < 0.75  # the rest is drawn from all available items
    for place in range(3):
        assert is_repeat[:, place].mean() == pytest.approx(is_repeat.mean(), abs=0.015)
    other = drawn[~is_repeat]
    counts = np.bincount(other, minlength=40)[5:]
    assert stats.chisquare(counts[counts > 0]).pvalue > UNLIKELY
    assert (counts > 0).sum() == 31


def test_without_consumed_items_there_are_no_repeats():
    simulator = candidates_of(40, 5_000, repeat_share=1.0)
    counts = np.bincount(simulator.sessions["candidates"].ravel(), minlength=40)
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_users_and_start_times_are_uniform():
    envs = gymnasium.make_vec("recsim_env/Video-v0", 30_000)
    envs.reset(seed=0)
    sessions, world = envs.simulator.sessions, envs.simulator.world
    users, _ = np.histogram(sessions["user"], bins=20, range=(0, len(world.users)))
    assert stats.chisquare(users).pvalue > UNLIKELY
    first, number = world.session_starts(envs.simulator.config.session_length)
    assert first <= sessions["start_step"].min()
    assert sessions["start_step"].max() < first + number
    edges = first + np.linspace(0, number, 21).astype(int)
    moments = np.histogram(sessions["start_step"], bins=edges - 0.5)[0]
    assert stats.chisquare(moments, 30_000 * np.diff(edges) / number).pvalue > UNLIKELY
    assert abs(stats.spearmanr(sessions["user"], sessions["start_step"]).statistic) < 0.03
