"""Points in content space: matched to the nearest candidate, or to the nearest available item."""

import time

import gymnasium
import numpy as np
import pytest
from tiny_world import CERTAIN, make_simulator
from trajectories import random_actions, same

import recsim_env.world.world
from recsim_env.simulation.records import NO_ITEM


def distances(features: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[..., n]: squared distances of points [..., F] to the rows of features [n, F]."""
    return ((features.astype(np.float64) - points[..., None, :]) ** 2).sum(-1)


# Among the candidates


def test_a_point_is_matched_to_the_nearest_candidates_each_taken_once(scenario_name):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}Content-v0", 30, slate_size=3)
    envs.reset(seed=1)
    simulator, rng = envs.simulator, np.random.default_rng(0)
    features = envs.catalog_features[simulator.sessions["candidates"]].astype(np.float64)
    points = rng.uniform(-1, 1, (30, 3, features.shape[-1]))
    slates = simulator.nearest_candidates(points)
    for n in range(30):
        distance = distances(features[n], points[n])
        for slot in range(3):
            assert slates[n, slot] == np.argmin(distance[slot])
            distance[:, slates[n, slot]] = np.inf


@pytest.mark.parametrize("variant", ["Content", "Catalog"])
def test_the_content_of_a_candidate_picks_that_candidate(scenario_name, variant):
    by_content = gymnasium.make(f"recsim_env/{scenario_name}{variant}-v0", observation="compact").unwrapped
    by_index = gymnasium.make(f"recsim_env/{scenario_name}-v0", observation="compact").unwrapped
    by_content.reset(seed=3)
    by_index.reset(seed=3)
    features = by_content.catalog_features
    candidates = by_content.simulator.sessions["candidates"][0]
    rivals = candidates if variant == "Content" else np.arange(len(features))
    is_alone = [(features[rivals] == features[item]).all(1).sum() == 1 for item in candidates]  # films may be alike
    place = int(np.flatnonzero(is_alone)[-1]) if any(is_alone) else pytest.skip("every candidate has a double")
    assert same(by_content.step(features[candidates[place]]), by_index.step(place))


# Among all available items


def available_in(simulator, n: int) -> np.ndarray:
    session, items = simulator.sessions[n], simulator.world.item_records
    now = session["start_step"] + session["step"]
    return np.flatnonzero((items["release_step"] <= now) & (now < items["retire_step"]))


def consumed_by(simulator, n: int) -> np.ndarray:
    """Items that the user consumed, which are not shown again (before `repeat_after` steps are over)."""
    session, repeat_after = simulator.sessions[n], simulator.world.scenario.catalog.repeat_after
    recent = session["start_step"] + session["step"] - session["consumed_times"] < repeat_after
    return session["consumed_items"][recent & (session["consumed_items"] >= 0)]


@pytest.mark.parametrize("slate_size", [1, 4])
def test_each_point_shows_the_nearest_available_item_not_shown_yet(scenario_name, slate_size):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}Catalog-v0", 20, slate_size=slate_size)
    envs.reset(seed=1)
    simulator, features, num_far = envs.simulator, envs.catalog_features, 0
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 15):
        points = actions.reshape(20, slate_size, -1).astype(np.float64)
        available_items = [np.setdiff1d(available_in(simulator, n), consumed_by(simulator, n)) for n in range(20)]
        offered = simulator.sessions["candidates"].copy()
        shown_before, episodes = simulator.sessions["num_shown"].copy(), simulator.sessions["episode"].copy()
        envs.step(actions)
        for n in np.flatnonzero(simulator.sessions["episode"] == episodes):
            rows = np.arange(shown_before[n], shown_before[n] + slate_size) % simulator.config.history_length
            shown = simulator.sessions["history_items"][n, rows]
            assert simulator.sessions["num_shown"][n] == shown_before[n] + slate_size
            assert len(set(shown.tolist())) == slate_size
            distance = distances(features[available_items[n]], points[n])
            for slot, item in enumerate(shown):
                (place,) = np.flatnonzero(available_items[n] == item)
                assert distance[slot, place] == pytest.approx(distance[slot].min(), abs=1e-12)
                distance[:, place] = np.inf
            num_far += (~np.isin(shown, offered[n])).sum()
    assert num_far > 100  # mostly items that were no candidates


@pytest.mark.parametrize(("quality", "ratings"), [(50.0, 5.0), (-50.0, 1.0)])
def test_the_item_that_is_shown_is_the_one_that_is_rated_and_paid_for(quality, ratings):
    num_items, rng = 40, np.random.default_rng(0)
    simulator = make_simulator(
        num_sessions=50,
        quality=quality * (np.arange(num_items) == 17),  # all others are so-so
        appeal=np.zeros(num_items),
        factors=rng.dirichlet(np.ones(3), num_items),
        topics=rng.dirichlet(np.ones(2), num_items),
        choice_intercept=CERTAIN,
        rating_noise=0.01,
    )
    assert (simulator.sessions["candidates"] != 17).any(1).sum() > 40
    point = simulator.world.items.features[17].astype(np.float64)
    slates = simulator.show_nearest_items(np.tile(point, (50, 1, 1)))
    assert (slates == 0).all()
    assert (simulator.sessions["candidates"][:, 0] == 17).all()
    outcomes = simulator.step(slates)
    assert (outcomes["reward"] == ratings).all()
    assert (simulator.sessions["history_items"][:, 0] == 17).all()


def test_no_item_is_twice_among_the_candidates_after_a_point():
    envs = gymnasium.make_vec("recsim_env/VideoCatalog-v0", 40, slate_size=3)
    envs.reset(seed=0)
    simulator = envs.simulator
    own = envs.catalog_features[simulator.sessions["candidates"][:, [9, 4, 9]]].astype(np.float64)
    simulator.show_nearest_items(own)  # the items in places 9 and 4 come to the places 0 and 1
    for row in simulator.sessions["candidates"]:
        there = row[row != NO_ITEM]
        assert len(set(there.tolist())) == len(there)
        assert 17 <= len(there) <= 20


def test_slots_stay_empty_where_too_few_items_are_available():
    simulator = make_simulator(
        quality=(0.0, 0.0),
        appeal=(0.0, 0.0),
        factors=np.eye(3)[:2],
        topics=np.eye(2),
        slate_size=3,
        choice_intercept=CERTAIN,
        continue_probability=1.0,
    )
    slates = simulator.show_nearest_items(np.zeros((1, 3, 4)))
    assert sorted(simulator.sessions["candidates"][0].tolist()) == [NO_ITEM, 0, 1]
    assert simulator.step(slates)["click"][0] == pytest.approx(1 / 3)
    assert simulator.sessions["num_shown"][0] == 2


def test_a_point_of_the_catalogue_depends_on_neither_the_batch_nor_its_threads():
    options = {"overrides": {"catalog": {"num_items": 10_000, "arrivals_per_step": 5.0, "item_lifetime": 1_500}}}
    wide = gymnasium.make_vec("recsim_env/VideoCatalog-v0", 6, num_threads=2, autoreset_mode="SameStep", **options)
    single = gymnasium.make("recsim_env/VideoCatalog-v0", **options).unwrapped
    observations, _ = wide.reset(seed=0)
    expected, _ = single.reset(seed=5)
    assert len(available_in(wide.simulator, 5)) > 6_000
    for actions in random_actions(wide.action_space, np.random.default_rng(0), 60):
        assert same({name: values[5] for name, values in observations.items()}, expected)
        observations, rewards, terminated, truncated, _ = wide.step(actions)
        expected, *answer, _ = single.step(actions[5])
        assert answer == [rewards[5], terminated[5], truncated[5]]
        if terminated[5] or truncated[5]:
            expected, _ = single.reset()
    wide.close()


def test_a_million_items_can_be_shown_and_are_found_in_a_fraction_of_a_second():
    # The other sizes are those of `test_any_scenario`, which are compiled already.
    catalog = {"num_items": 1_000_000, "arrivals_per_step": 0.0, "num_topics": 2, "num_creators": 2}
    overrides = {"catalog": catalog, "population": {"num_moods": 2, "num_users": 1_000}}
    sizes = {"num_candidates": 3, "history_length": 4}
    envs = gymnasium.make_vec("recsim_env/VideoCatalog-v0", 4, overrides=overrides, **sizes)
    try:
        observations, _ = envs.reset(seed=0)
        simulator, features = envs.simulator, envs.catalog_features
        held = sum(array.nbytes for array in (features, simulator.world.item_records, simulator.world.item_statistics))
        assert held < 600e6
        seconds, shown = [], set()
        for actions in random_actions(envs.action_space, np.random.default_rng(0), 8):
            assert observations in envs.observation_space
            began = time.perf_counter()
            observations, rewards, *_ = envs.step(actions)
            seconds.append(time.perf_counter() - began)
            assert np.isfinite(rewards).all()
            item = int(simulator.sessions["history_items"][0, (simulator.sessions["num_shown"][0] - 1) % 4])
            distance = distances(features, actions[0].astype(np.float64))
            assert distance[item] == pytest.approx(distance.min(), abs=1e-12)
            shown.add(item)
        assert len(shown) == 8
        assert min(seconds) < 1.0  # four sessions; some .02 s on an idle core
    finally:
        recsim_env.world.world._draw_world.cache_clear()  # half a gigabyte
