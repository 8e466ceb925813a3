"""Sessions depend only on seeds and actions; a saved state is restored completely."""

import copy
import dataclasses
import pickle

import gymnasium
import numpy as np
import pytest
from conftest import ENV_IDS, SOME_ENV_IDS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from trajectories import digest, lane_of, random_actions, record, record_elsewhere, same

from recsim_env.config import SessionConfig
from recsim_env.scenarios import VIDEO
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.world import build_world

VIDEO_ID = "recsim_env/Video-v0"


def play(env, actions) -> list:
    """The answers of an env to actions; sessions that end are followed by the next."""
    outcomes = []
    for action in actions:
        outcomes.append(env.step(action))
        if not hasattr(env, "num_envs") and (outcomes[-1][2] or outcomes[-1][3]):
            outcomes.append(env.reset())
    return outcomes


@pytest.mark.parametrize(("num_threads", "env_ids"), [(1, SOME_ENV_IDS), (2, ENV_IDS)])
def test_same_seed_gives_the_same_bytes_in_another_process(num_threads, env_ids, tmp_path):
    here = {env_id: digest(record(env_id, 5, 80)) for env_id in env_ids}
    environment = {"PYTHONHASHSEED": str(num_threads)}
    assert record_elsewhere(tmp_path, 5, 80, env_ids, environment, num_threads=num_threads) == here


def test_the_same_seed_gives_the_same_session_and_another_seed_another(some_env_id):
    digests = {seed: digest(record(some_env_id, seed, 60)) for seed in (1, 2, 3, 2**63, 2**64 - 1)}
    assert len(set(digests.values())) == 5
    assert digest(record(some_env_id, 2, 60)) == digests[2]


def test_another_catalog_seed_gives_another_catalogue_to_the_same_users():
    first, second = (gymnasium.make(VIDEO_ID, catalog_seed=seed).unwrapped for seed in (0, 1))
    one, other = first.reset(seed=3)[0], second.reset(seed=3)[0]
    assert same(one["user"], other["user"])
    assert (first.catalog_features != second.catalog_features).mean() > 0.9


def test_each_seed_option_replaces_one_source_of_randomness():
    env = gymnasium.make(VIDEO_ID, observation="full").unwrapped

    def course(**options):
        observation, _ = env.reset(seed=1, options=options)
        outcomes = [env.step(action) for action in (0, 1)]
        return (
            observation["user"].tobytes(),
            observation["candidates"].tobytes(),
            env.simulator.sessions.copy(),
            outcomes,
        )

    user, candidates, _, outcomes = course()
    other_user = course(user_seed=2)
    assert other_user[0] != user
    assert other_user[1] == candidates
    other_world = course(candidate_seed=2)
    assert other_world[0] == user
    assert other_world[1] != candidates
    courses = [course(noise_seed=seed) for seed in range(2, 12)]
    assert all(each[:2] == (user, candidates) for each in courses)
    assert any(not same(each[3], outcomes) for each in courses)
    assert same(course(noise_seed=1, user_seed=1, candidate_seed=1)[3], outcomes)


def test_each_episode_of_a_seed_has_another_user_start_time_and_noise():
    env = gymnasium.make(VIDEO_ID).unwrapped
    env.reset(seed=0)
    names = ("user", "start_step", "world_key", "user_key", "noise_key")
    courses = []
    for _ in range(2_000):
        env.reset()
        courses.append([int(env.simulator.sessions[name][0]) for name in names])
    users, moments, *keys = zip(*courses, strict=True)
    assert all(len(set(of_one_kind)) == 2_000 for of_one_kind in keys)
    for drawn in (users, moments):
        assert len(set(drawn)) > 800
        assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.1
    assert abs(np.corrcoef(users, moments)[0, 1]) < 0.1


def test_resetting_with_options_alone_fixes_the_named_seed_and_draws_the_others():
    env = gymnasium.make(VIDEO_ID)
    first, second = (env.reset(options={"user_seed": 4})[0] for _ in range(2))
    assert same(first["user"], second["user"])
    assert not same(first["candidates"], second["candidates"])


@pytest.mark.parametrize("num_envs", [None, 5])
def test_a_restored_state_continues_identically(some_env_id, num_envs):
    make = gymnasium.make(some_env_id).unwrapped if num_envs is None else gymnasium.make_vec(some_env_id, num_envs)
    make.reset(seed=9)
    actions = random_actions(make.action_space, np.random.default_rng(0), 150)
    actions = actions.tolist() if actions.ndim == 1 else list(actions)
    play(make, actions[:30])
    state = make.simulator.state()
    kept = {name: array.copy() for name, array in state.items()}
    first = play(make, actions[30:])
    assert same(state, kept)
    make.simulator.restore(state)
    assert same(play(make, actions[30:]), first)
    assert same(state, kept)


def test_a_state_saved_in_one_env_is_restored_in_a_fresh_one(env_id):
    env, fresh = gymnasium.make(env_id).unwrapped, gymnasium.make(env_id).unwrapped
    env.reset(seed=9)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(60)]
    fresh.simulator.restore(env.simulator.state())
    assert same(play(env, actions), play(fresh, actions))
    assert same(env.reset(), fresh.reset())


def test_a_state_saved_before_the_end_can_be_restored_after_it():
    env = gymnasium.make(VIDEO_ID, session_length=3).unwrapped
    env.reset(seed=0)
    state = env.simulator.state()
    outcomes = [env.step(0) for _ in range(3)]
    assert outcomes[-1][3]
    over = env.simulator.state()
    env.simulator.restore(state)
    assert same([env.step(0) for _ in range(3)][-1], outcomes[-1])
    env.reset()
    env.simulator.restore(over)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("options", [{"num_candidates": 21}, {"history_length": 21}])
def test_a_state_of_other_sizes_is_refused(options):
    world = build_world(VIDEO)
    simulator = Simulator(world, SessionConfig(), 2)
    before = simulator.state()
    for other in (Simulator(world, SessionConfig(**options), 2), Simulator(world, SessionConfig(), 3)):
        with pytest.raises(ValueError, match=r"^state\['sessions'\]: from another simulator"):
            simulator.restore(other.state())
    assert same(before, simulator.state())


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda simulator: pickle.loads(pickle.dumps(simulator))])
def test_a_copy_of_a_simulator_goes_on_apart_from_the_original(duplicate, is_live):
    settings = {"max_steps": 9, "num_threads": 2, "is_live": is_live}
    simulator = Simulator(build_world(VIDEO), SessionConfig(), 4, **settings)
    simulator.start(np.arange(4), np.arange(12, dtype=np.uint64).reshape(4, 3))
    simulator.step(np.zeros((4, 1), np.int64))
    twin, before = duplicate(simulator), simulator.state()
    assert twin.world is simulator.world
    courses = []
    for each in (twin, simulator):
        if each is simulator:
            assert same(simulator.state(), before)
        steps = [(each.step(np.full((4, 1), step)).copy(), each.observe("flat")) for step in range(10)]
        courses.append((steps, each.state(), each.latent_state()))
    assert same(*courses)


def test_a_world_that_was_not_drawn_cannot_be_pickled():
    world = build_world(VIDEO)
    assert pickle.loads(pickle.dumps(world)) is world
    with pytest.raises(TypeError, match=r"^World: only worlds of build_world can be pickled$"):
        pickle.dumps(dataclasses.replace(world, moods=world.moods + 1.0))


def test_a_session_that_is_over_or_not_started_cannot_step():
    env = gymnasium.make(VIDEO_ID, session_length=2).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    *_, terminated, truncated, _ = env.step(0)
    assert terminated or truncated
    before = env.simulator.state()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    assert same(before, env.simulator.state())


class LanesAgainstReplays(RuleBasedStateMachine):
    """A vector env of three lanes that is reset, masked, stepped, saved and restored at random.

    The model of what to expect is a script for each lane: its seed and all actions since, replayed from the start in
    a single env whenever the two are compared.
    """

    states = Bundle("states")
    seeds = st.integers(0, 2**64 - 1 - 3)

    def __init__(self) -> None:
        super().__init__()
        self.vector = gymnasium.make_vec(VIDEO_ID, 3, session_length=6, autoreset_mode="SameStep")
        self.single = gymnasium.make(VIDEO_ID, session_length=6).unwrapped
        self.scripts: list[list] = []
        self.observations = None

    @initialize(seed=seeds)
    def begin(self, seed):
        self.reset_with_a_seed(seed=seed)

    @rule(seed=seeds)
    def reset_with_a_seed(self, seed):
        self.observations, _ = self.vector.reset(seed=seed)
        self.scripts = [[seed + lane] for lane in range(3)]

    @rule()
    def reset_without_a_seed(self):
        self.observations, _ = self.vector.reset()
        for script in self.scripts:
            script.append("reset")

    @rule(seed=st.none() | seeds, mask=st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
    def reset_some_lanes(self, seed, mask):
        self.observations, _ = self.vector.reset(seed=seed, options={"reset_mask": np.array(mask)})
        for lane in np.flatnonzero(mask):
            self.scripts[lane] = [*self.scripts[lane], "reset"] if seed is None else [seed + int(lane)]

    @rule(actions=st.lists(st.integers(0, 19), min_size=3, max_size=3))
    def step(self, actions):
        self.observations, *_ = self.vector.step(np.array(actions))
        for script, action in zip(self.scripts, actions, strict=True):
            script.append(action)

    @rule(target=states)
    def save(self):
        return self.vector.simulator.state(), [list(script) for script in self.scripts]

    @rule(saved=states)
    def restore(self, saved):
        state, scripts = saved
        self.vector.simulator.restore(state)
        self.scripts = [list(script) for script in scripts]
        self.observations = self.vector.simulator.observe("dict")

    @invariant()
    def every_lane_is_where_its_script_leads(self):
        latent = self.vector.latent_state()
        for lane, (seed, *rest) in enumerate(self.scripts):
            observation, _ = self.single.reset(seed=seed)
            for action in rest:
                if action == "reset":
                    observation, _ = self.single.reset()
                    continue
                observation, _, terminated, truncated, _ = self.single.step(action)
                if terminated or truncated:
                    observation, _ = self.single.reset()
            assert same(observation, lane_of(self.observations, lane))
            assert all(
                same(np.asarray(value), np.asarray(latent[name][lane]))
                for name, value in self.single.latent_state().items()
            )


TestLanesAgainstReplays = LanesAgainstReplays.TestCase
TestLanesAgainstReplays.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
