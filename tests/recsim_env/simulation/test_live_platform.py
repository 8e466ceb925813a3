"""A live platform: sessions share a clock and item statistics."""

import gymnasium
import numpy as np
import pytest
from tiny_world import CERTAIN, make_simulator, start
from trajectories import digest, lane_of, random_actions, record, same

from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK

VIDEO_ID = "recsim_env/Video-v0"
SHORT_ERA = {"catalog": {"num_items": 120, "item_lifetime": 30}}
"""Overrides with about ninety steps until the restart."""


def make_vec(num_envs: int, env_id: str = VIDEO_ID, **options):
    return gymnasium.make_vec(env_id, num_envs, live_platform=True, autoreset_mode="SameStep", **options)


def test_lanes_share_a_clock_that_goes_on_when_sessions_end():
    envs = make_vec(40, observation="compact")
    observations, _ = envs.reset(seed=0)
    began, _ = envs.simulator.world.session_starts(50)
    num_ends = 0
    for step, actions in enumerate(random_actions(envs.action_space, np.random.default_rng(0), 80)):
        assert (observations["time"] == began + step).all()
        observations, _, terminated, truncated, infos = envs.step(actions)
        is_over = terminated | truncated
        for lane in np.flatnonzero(is_over):
            assert infos["final_obs"][lane]["time"] == began + step + 1
        num_ends += is_over.sum()
        starts = envs.simulator.sessions["start_step"]
        assert (starts[is_over] == began + step + 1).all()  # the next user comes now
    assert num_ends > 40


def test_lanes_have_users_and_candidates_of_their_own():
    envs = make_vec(40)
    envs.reset(seed=0)
    assert len(set(envs.simulator.sessions["user"].tolist())) > 35
    assert len({row.tobytes() for row in envs.simulator.sessions["candidates"]}) == 40


@pytest.mark.parametrize("env_id", [VIDEO_ID, "recsim_env/EcommerceSlate-v0", "recsim_env/MusicCatalog-v0"])
def test_counts_are_those_of_impressions_and_feedback_of_all_lanes(env_id):
    envs = make_vec(20, env_id, observation="compact")
    envs.reset(seed=3)
    slate_size, tally = envs.simulator.config.slate_size, np.zeros((len(envs.simulator.world.items), 4))
    num_ends = 0
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 70):
        shown_before = envs.simulator.sessions["num_shown"].copy()
        observations, _, terminated, truncated, infos = envs.step(actions)
        for lane in range(20):
            is_over = terminated[lane] or truncated[lane]
            last = infos["final_obs"][lane] if is_over else lane_of(observations, lane)
            if is_over:
                num_new = len(set(np.atleast_1d(actions[lane]).tolist())) if "Slate" in env_id else 1
            else:
                num_new = int(envs.simulator.sessions["num_shown"][lane] - shown_before[lane])
            assert num_new <= slate_size
            feedback = last["history_feedback"].reshape(-1, len(FEEDBACK))
            for row in range(num_new):
                answer = dict(zip(FEEDBACK, feedback[row], strict=True))
                ratings = round(5.0 * float(answer["rating"]))
                tally[last["history_items"][row]] += [1.0, answer["click"], ratings > 0, ratings]
        num_ends += (terminated | truncated).sum()
        np.testing.assert_array_equal(envs.simulator.live_platform.counts, tally)
    assert num_ends > 10
    assert tally[:, 0].sum() > 1_000
    assert 0 < tally[:, 2].sum() < tally[:, 1].sum() < tally[:, 0].sum()


def statistics_of(simulator, lane: int, item: int) -> list[float]:
    """Impressions, click rate and mean rating of a candidate, as a lane sees them."""
    rows = simulator.observe("full")["candidates"][lane].reshape(simulator.layout.candidates_shape)
    row = rows[simulator.sessions["candidates"][lane].tolist().index(item)].astype(np.float64)
    known = dict(zip(CANDIDATE_COLUMNS, row[-len(CANDIDATE_COLUMNS) :], strict=True))
    return [2.0 ** (32.0 * known["impressions"]) - 1.0, known["click_rate"], 5.0 * known["mean_rating"]]


def test_each_lane_sees_the_feedback_of_the_others_and_its_own_once():
    four_stars = {"choice_intercept": CERTAIN, "rating_cuts": (-102.0, -101.0, -100.0, 100.0), "patience_gain": 0.0}
    simulator = make_simulator(
        num_sessions=3, is_live=True, **four_stars, rating_probability=1.0, num_ratings=10.0, receptiveness=0.0
    )
    simulator.world.item_statistics[:, :, 0] = np.log2(1.0 + 6.0) / 32.0
    simulator.sessions["start_step"] = 5
    item_of = [1, 1, 2]  # what each lane shows
    places = [simulator.sessions["candidates"][n].tolist().index(item) for n, item in enumerate(item_of)]
    simulator.step(np.array(places)[:, None])
    for lane in range(3):  # of the items 0, 1, 2 the background says .1, .5, .9, from 6 impressions and 10 ratings
        assert statistics_of(simulator, lane, 0) == pytest.approx([6.0, 0.1, 0.5], rel=1e-5)
        assert statistics_of(simulator, lane, 1) == pytest.approx([8.0, (0.5 * 6 + 2) / 8, (25.0 + 8) / 12], rel=1e-5)
        assert statistics_of(simulator, lane, 2) == pytest.approx([7.0, (0.9 * 6 + 1) / 7, (45.0 + 4) / 11], rel=1e-5)
    for _ in range(6):  # longer than a history of four rows: what is shared is kept
        places = [simulator.sessions["candidates"][n].tolist().index(0) for n in range(3)]
        simulator.step(np.array(places)[:, None])
    assert statistics_of(simulator, 0, 2) == pytest.approx([7.0, (0.9 * 6 + 1) / 7, (45.0 + 4) / 11], rel=1e-5)
    assert statistics_of(simulator, 2, 0)[0] == pytest.approx(6.0 + 18.0, rel=1e-5)


def test_sessions_that_are_not_live_see_nothing_of_each_other():
    simulator = make_simulator(num_sessions=2, choice_intercept=CERTAIN)
    before = statistics_of(simulator, 0, 2)
    place = simulator.sessions["candidates"][1].tolist().index(2)
    other = simulator.sessions["candidates"][0].tolist().index(1)
    simulator.step(np.array([[other], [place]]))
    assert simulator.live_platform is None
    simulator.sessions["start_step"] -= 1  # as old as before
    assert statistics_of(simulator, 0, 2) == before
    assert statistics_of(simulator, 1, 2) != before


# Eras


def test_the_last_step_truncates_all_sessions_and_a_restart_has_no_counts():
    envs = make_vec(12, overrides=SHORT_ERA, observation="compact")
    observations, _ = envs.reset(seed=0)
    world = envs.simulator.world
    first, number = world.session_starts(50)
    eras, clocks = [], []
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 250):
        clocks.append(int(observations["time"][0, 0]))
        counted = envs.simulator.live_platform.counts.sum()
        observations, _, terminated, truncated, infos = envs.step(actions)
        if observations["time"][0, 0] != clocks[-1] + 1:  # the platform has restarted
            assert (terminated ^ truncated).all()
            assert truncated.any()
            assert infos["_final_obs"].all()
            assert clocks[-1] + 1 == first + number - 1 + 50 <= world.item_records["release_step"][-1]
            assert (observations["time"] == first).all()
            assert counted > 100
            assert not envs.simulator.live_platform.counts.any()
            assert not envs.simulator.sessions["step"].any()
            assert (observations["history_items"] == -1).all()
            eras.append(len(clocks))
    assert len(eras) >= 2
    assert np.diff(eras).tolist() == [first + number - 1 + 50 - first] * (len(eras) - 1)


def test_a_single_env_on_a_live_platform_is_truncated_at_the_last_step():
    env = gymnasium.make(VIDEO_ID, live_platform=True, overrides=SHORT_ERA, observation="compact").unwrapped
    observation, _ = env.reset(seed=0)
    first = int(observation["time"][0])
    while True:
        observation, _, terminated, truncated, _ = env.step(0)
        if env.simulator.live_platform.is_over:
            break
        if terminated or truncated:
            before = int(observation["time"][0])
            observation, _ = env.reset()
            assert observation["time"][0] == before  # time goes on
    assert terminated or truncated
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    observation, _ = env.reset()
    assert observation["time"][0] == first
    assert not env.simulator.live_platform.counts.any()


def test_seeds_for_all_lanes_restart_the_platform_and_other_resets_do_not():
    envs = make_vec(4, observation="compact")
    first, _ = envs.reset(seed=0)
    for _ in range(7):
        envs.step(np.zeros(4, int))
    counted = envs.simulator.live_platform.counts.copy()
    assert counted.any()
    for options in ({"options": {"reset_mask": np.array([True, False, True, False])}}, {}):
        observations, _ = envs.reset(**options)
        assert (observations["time"] == first["time"] + 7).all()
        np.testing.assert_array_equal(envs.simulator.live_platform.counts, counted)
    observations, _ = envs.reset(seed=5, options={"reset_mask": np.array([True, False, False, False])})
    assert (observations["time"] == first["time"] + 7).all()
    observations, _ = envs.reset(seed=0)
    assert same(observations, first)
    assert not envs.simulator.live_platform.counts.any()


# State and determinism


def test_a_restored_live_platform_continues_identically_counts_and_clock_included():
    envs = make_vec(6, overrides=SHORT_ERA)
    envs.reset(seed=1)
    actions = random_actions(envs.action_space, np.random.default_rng(0), 180)
    for action in actions[:40]:
        envs.step(action)
    state = envs.simulator.state()
    assert {"counts", "clock"} <= state.keys()
    kept = {name: array.copy() for name, array in state.items()}
    outcomes = [envs.step(action) for action in actions[40:]]
    assert same(state, kept)
    fresh = make_vec(6, overrides=SHORT_ERA)
    for env in (envs, fresh):
        env.simulator.restore(state)
        assert same([env.step(action) for action in actions[40:]], outcomes)


def test_a_state_of_a_platform_that_is_not_live_is_refused_and_the_other_way_round():
    live, other = make_vec(2), gymnasium.make_vec(VIDEO_ID, 2)
    for env in (live, other):
        env.reset(seed=0)
    before = live.simulator.state()
    with pytest.raises(ValueError, match=r"^state: has sessions, must have .*counts, clock$"):
        live.simulator.restore(other.simulator.state())
    with pytest.raises(ValueError, match=r"^state: has .*counts, clock, must have sessions$"):
        other.simulator.restore(before)
    assert same(before, live.simulator.state())


def test_the_same_seed_gives_the_same_bytes_and_threads_change_nothing(some_env_id):
    options = {"live_platform": True, "session_length": 20}
    digests = {digest(record(some_env_id, 5, 60, 7, num_threads=number, **options)) for number in (1, 1, 2, 3)}
    assert len(digests) == 1
    assert digest(record(some_env_id, 6, 60, 7, **options)) not in digests


def test_a_lane_of_a_live_platform_depends_on_the_others():
    observations = []
    for num_envs in (1, 30):
        envs = make_vec(num_envs, observation="full")
        envs.reset(seed=0)
        for _ in range(20):
            seen, *_ = envs.step(np.zeros(num_envs, int))
        observations.append(seen["candidates"][0])
    assert not same(*observations)


def test_a_tiny_live_platform_begins_where_its_sessions_would():
    simulator = make_simulator(num_sessions=2, is_live=True, release=(0, 2, 9), session_length=4)
    assert simulator.live_platform.clock.tolist() == [2]
    for _ in range(3):
        simulator.step(np.zeros((2, 1), np.int64))
    assert simulator.live_platform.clock.tolist() == [5]
    start(simulator)
    assert simulator.live_platform.clock.tolist() == [2]
    assert (simulator.sessions["start_step"] == 2).all()


def test_a_history_shorter_than_the_slate_is_refused():
    with pytest.raises(ValueError, match=r"^history_length=4: must be at least slate_size=5 on a live platform$"):
        gymnasium.make_vec("recsim_env/VideoSlate-v0", 2, history_length=4, live_platform=True)
