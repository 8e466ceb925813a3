"""Items that come and go, and what is drawn from the shelf."""

import gymnasium
import numpy as np
from scipy import stats
from tiny_world import make_simulator, start
from trajectories import random_actions

from recsim_env.user_model import NO_ITEM

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


def test_candidates_are_always_on_the_shelf_and_so_was_all_that_was_shown(scenario_name):
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
        shown_before, episodes = sessions["num_shown"].copy(), simulator.episodes.copy()
        envs.step(actions)
        for n in np.flatnonzero(simulator.episodes == episodes):
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
    simulator.sessions["start_step"] = 0  # platform time 0, before the shelf is full
    simulator.sessions["first_item"], simulator.sessions["end_item"] = 0, 2
    available = []
    for _ in range(5):
        simulator.step(np.zeros((1, 1), np.int64))
        candidates = simulator.sessions["candidates"][0]
        available.append(sorted(candidates[candidates != NO_ITEM].tolist()))
    assert available == [[1], [1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def test_ordered_candidates_are_drawn_uniformly_and_without_repeats():
    num_items, num_sessions = 5, 30_000
    simulator = make_simulator(
        num_sessions=num_sessions,
        quality=[0.0] * num_items,
        appeal=[0.0] * num_items,
        factors=np.zeros((num_items, 3)),
        topics=np.full((num_items, 2), 0.5),
    )
    start(simulator, world_seed=np.arange(num_sessions))
    for _ in range(2):  # at the beginning and after a step
        drawn = simulator.sessions["candidates"]
        assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
        _, counts = np.unique(drawn @ [25, 5, 1], return_counts=True)
        assert len(counts) == 5 * 4 * 3
        assert stats.chisquare(counts).pvalue > UNLIKELY
        simulator.step(np.zeros((num_sessions, 1), np.int64))


def test_people_and_moments_are_drawn_uniformly():
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
