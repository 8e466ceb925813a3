"""Whole sessions with custom user models: in every env, with oracles, in other processes, uncompiled."""

import copy
import dataclasses
import functools
import json
import os
import pickle
import subprocess
import sys
import time
import types
from pathlib import Path

import cloudpickle
import gymnasium
import numpy as np
import pytest
from conftest import CHECKOUT
from numba import njit
from tiny_world import start
from trajectories import lane_of, random_actions, same

import recsim_env  # noqa: F401  (registers the ids)
from agents.references.lookahead import LookaheadOracle
from agents.references.myopic_oracle import MyopicOracle
from agents.references.planning_oracle import PlanningOracle
from agents.rollouts.evaluation import evaluate
from recsim_env.simulation import user_model
from recsim_env.simulation.custom_user_model import REPLACEABLE, UserModel
from recsim_env.simulation.records import NUM_CUSTOM
from recsim_env.simulation.simulator import Simulator

VIDEO_ID = "recsim_env/Video-v0"

# Users for whole sessions: they love the first topic, rate by it alone, and leave at once after too much of it.


@njit
def love_of(item):
    return item.topics[0]


def love(session, item, p):
    return 4.0 * love_of(item) - 2.0


def utility_of_love(session, item, affinity, p):
    return 0.5 * affinity


def stars_of_love(session, item, affinity, p):
    return 1.0 + 4.0 * love_of(item)


def remember(session, item, rating, expectation, consumption, purchase, follow, p):
    user_model.change(session, item, rating, expectation, consumption, purchase, follow, p)
    session.custom[0] += 1.0
    session.custom[1] = rating


def leave_after_too_much(session, p):
    return session.custom[1] > 4.2


FUNCTIONS_OF_LOVERS = {
    "effective_affinity": love,
    "choice_utility": utility_of_love,
    "draw_rating": stars_of_love,
    "expected_rating": stars_of_love,
    "change": remember,
    "has_left": leave_after_too_much,
}
LOVERS = UserModel(**FUNCTIONS_OF_LOVERS)


def make(num_envs: int, **options):
    overrides = {"reward": {"neutral_rating": 0.0}, **options.pop("overrides", {})}
    options = {
        "user_model": LOVERS,
        "autoreset_mode": "SameStep",
        "observation": "full",
        "overrides": overrides,
        **options,
    }
    return gymnasium.make_vec(VIDEO_ID, num_envs, **options)


def logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_each_lane_of_a_vector_env_is_the_single_env_with_its_seed():
    envs = make(12, session_length=25, observation="dict")
    overrides = {"reward": {"neutral_rating": 0.0}}
    single = gymnasium.make(VIDEO_ID, user_model=LOVERS, session_length=25, overrides=overrides).unwrapped
    actions = random_actions(envs.action_space, np.random.default_rng(0), 120)
    rows, ends = [envs.reset(seed=21)[0]], []
    for action in actions:
        observations, rewards, terminated, truncated, _ = envs.step(action)
        rows.append(observations)
        ends.append((rewards, terminated, truncated))
    assert np.sum([terminated for _, terminated, _ in ends]) >= 3
    assert np.sum([truncated for _, _, truncated in ends]) >= 10
    for lane in range(12):
        observation, _ = single.reset(seed=21 + lane)
        assert same(observation, lane_of(rows[0], lane))
        for step, action in enumerate(actions[:, lane]):
            observation, *result, _ = single.step(int(action))
            assert result == [values[lane] for values in ends[step]]
            if result[1] or result[2]:
                observation, _ = single.reset()
            assert same(observation, lane_of(rows[step + 1], lane))


def test_a_single_env_lasts_as_long_as_custom_users_stay():
    env = gymnasium.make(VIDEO_ID, user_model=LOVERS, session_length=40).unwrapped
    env.reset(seed=0)
    env.simulator.sessions["patience"] = -1.0  # which means nothing to these users
    for _ in range(40):
        coldest = int(env.latent_state()["candidate_factors"][:, 0].argmin())
        *_, terminated, truncated, _ = env.step(coldest)
        assert not terminated
    assert truncated
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_two_threads_do_what_one_does():
    one, two = make(9), make(9, num_threads=2)
    assert same(one.reset(seed=2), two.reset(seed=2))
    for action in random_actions(one.action_space, np.random.default_rng(1), 60):
        assert same(one.step(action), two.step(action))
    assert one.simulator.sessions.tobytes() == two.simulator.sessions.tobytes()


def test_custom_numbers_start_at_0_for_each_user_and_keep_their_values():
    envs = make(64)
    envs.reset(seed=0)
    own = envs.simulator.sessions["custom"]
    assert own.shape == (64, NUM_CUSTOM)
    assert (own == 0.0).all()
    num_chosen, last = np.zeros(64), np.zeros(64)
    num_ends = 0
    for action in random_actions(envs.action_space, np.random.default_rng(2), 30):
        _, rewards, terminated, truncated, infos = envs.step(action)
        is_over = terminated | truncated
        num_chosen += infos["reward_click"]
        last = np.where(rewards > 0.0, infos["reward_rating"], last)
        num_chosen[is_over], last[is_over] = 0.0, 0.0
        num_ends += is_over.sum()
        assert (own[:, 0] == num_chosen).all()
        assert (own[:, 1] == last).all()
    assert num_ends >= 10
    assert num_chosen.max() > 3.0


def test_custom_numbers_are_part_of_a_saved_state():
    envs = make(8)
    envs.reset(seed=0)
    actions = random_actions(envs.action_space, np.random.default_rng(3), 40)
    for action in actions[:10]:
        envs.step(action)
    state = envs.simulator.state()
    own = np.array(state["sessions"]["custom"])
    assert own[:, 0].any()
    first = [envs.step(action) for action in actions[10:]]
    assert not same(np.array(envs.simulator.sessions["custom"]), own)
    envs.simulator.restore(state)
    assert same(np.array(envs.simulator.sessions["custom"]), own)
    assert same([envs.step(action) for action in actions[10:]], first)


def test_item_statistics_follow_the_custom_user_model():
    simulator = make(1).simulator
    topic = simulator.world.item_records["topics"][:, 0]
    oldest = simulator.world.item_statistics[-1].astype(float)
    is_rated = oldest[:, 3] > 0
    assert is_rated.mean() > 0.9
    np.testing.assert_allclose(5.0 * oldest[is_rated, 2], 1.0 + 4.0 * topic[is_rated], rtol=1e-5)
    impressions = 2.0 ** (32.0 * oldest[:, 0]) - 1.0
    rate = logistic(2.0 * topic - 1.0)
    error = (oldest[:, 1] - rate) / np.sqrt(rate * (1.0 - rate) / impressions)
    assert np.abs(error).max() < 5.0
    assert 0.9 < error.std() < 1.1


def test_latent_state_and_myopic_oracle_follow_the_custom_user_model():
    envs = make(50)
    observations, _ = envs.reset(seed=4)
    latent = envs.latent_state()
    topic = latent["candidate_factors"][:, :, 0]
    expected = logistic(2.0 * topic - 1.0) * (1.0 + 4.0 * topic)
    np.testing.assert_allclose(latent["expected_rewards"], expected, rtol=1e-12)
    assert (MyopicOracle(envs).predict(observations)[0] == expected.argmax(1)).all()


def test_the_lookahead_oracle_uses_a_custom_user_model():
    envs = make(50, observation="compact")
    observations, _ = envs.reset(seed=5)
    topic = envs.latent_state()["candidate_factors"][:, :, 0]
    assert (LookaheadOracle(envs).predict(observations)[0] == topic.argmax(1)).all()


def test_the_planning_oracle_predicts_that_custom_users_leave():
    envs = make(12, session_length=12, observation="compact")
    planner = PlanningOracle(envs, num_value_steps=30_000, num_search_rounds=0)
    planner.learn(1)
    myopic, planned = (evaluate(agent, envs, seed=6) for agent in (LookaheadOracle(envs), planner))
    assert planned.has_left.mean() < 0.6 * myopic.has_left.mean()
    assert planned.returns.mean() > 1.3 * myopic.returns.mean()


def test_logged_visits_follow_the_custom_user_model():
    envs = make(100, overrides={"population": {"warm_share": 1.0}, "behaviour": {"rating_probability": 1.0}})
    envs.reset(seed=7)
    sessions, topics = envs.simulator.sessions, envs.simulator.world.item_records["topics"]
    num_items = 0
    for session in sessions:
        shown = session["history_items"][: session["num_shown"]]
        feedback = session["history_feedback"][: session["num_shown"]]
        is_chosen = feedback[:, 1] == 1.0
        ratings = 1.0 + 4.0 * topics[shown, 0]
        assert feedback[:, 3] == pytest.approx(ratings * is_chosen)
        assert session["custom"][0] == is_chosen.sum()  # what a user remembers, the visit's end outlives
        assert session["custom"][1] == pytest.approx(ratings[is_chosen][-1] if is_chosen.any() else 0.0)
        num_items += len(shown)
    assert num_items > 500
    shown = np.concatenate([session["history_items"][: session["num_shown"]] for session in sessions])
    assert topics[shown, 0].mean() > 1.5 * topics[:, 0].mean()  # the logging policy shows the likelier of two


# An identical copy of every function.


def copy_of(function):
    plain = function.py_func
    return types.FunctionType(plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__)


@pytest.fixture(scope="module")
def copies() -> UserModel:
    return UserModel(**{name: copy_of(function) for name, function in REPLACEABLE.items()})


OVERRIDES = {"population": {"warm_share": 0.5}, "behaviour": {"repeat_gain": 0.3, "repeat_boredom": 0.1}}


def test_identical_copies_of_the_functions_give_bit_equal_sessions(copies):
    plain, mine = (gymnasium.make_vec(VIDEO_ID, 32, overrides=OVERRIDES, **own) for own in ({}, {"user_model": copies}))
    worlds = plain.simulator.world, mine.simulator.world
    assert worlds[0] is not worlds[1]
    assert same(*(world.item_statistics for world in worlds))
    assert same(plain.reset(seed=0), mine.reset(seed=0))
    for action in random_actions(plain.action_space, np.random.default_rng(0), 80):
        assert same(plain.step(action), mine.step(action))
    assert same(plain.latent_state(), mine.latent_state())
    assert plain.simulator.sessions.tobytes() == mine.simulator.sessions.tobytes()


def test_custom_users_are_about_as_fast_as_those_of_the_package(copies):
    ways = [gymnasium.make_vec(VIDEO_ID, 256, overrides=OVERRIDES, **own) for own in ({}, {"user_model": copies})]
    slates = np.zeros((256, 1), np.int64)
    for envs in ways:
        envs.reset(seed=0)
        envs.simulator.step(slates)

    def seconds(envs) -> float:
        began = time.perf_counter()
        for _ in range(40):
            envs.simulator.step(slates)
        return time.perf_counter() - began

    ratios = [seconds(ways[0]) / seconds(ways[1]) for _ in range(25)]
    print(f"own users: {np.median(ratios):.2f} of the speed of the package's", np.round(ratios, 2))
    assert np.median(ratios) > 0.3


def test_a_function_that_is_not_replaced_stays_the_very_same():
    only_leaving = UserModel(has_left=leave_after_too_much)
    for name, function in REPLACEABLE.items():
        adapted = only_leaving.adapted(function)
        assert (adapted is function) == (name not in ("has_left", "is_visit_over"))  # the second calls the first
    assert UserModel().adapted(user_model.choose) is user_model.choose


def test_a_copied_env_shares_the_world_and_what_was_compiled():
    env = gymnasium.make(VIDEO_ID, user_model=LOVERS).unwrapped
    again = gymnasium.make(copy.deepcopy(env.spec)).unwrapped
    assert again.simulator.world is env.simulator.world


def test_custom_users_take_effect_in_another_process(tmp_path):
    """There, `user_model` has compiled functions of its own."""

    @njit
    def my_meeting(session, user, p):
        session.custom[0] = 1.0

    path = tmp_path / "user_model.pickle"
    path.write_bytes(cloudpickle.dumps(UserModel(has_left=lambda session, p: session.step > 3, init_user=my_meeting)))
    program = (
        f"import pickle; from recsim_env.simulation import user_model; own = pickle.load(open({str(path)!r}, 'rb'));"
        "print(own.adapted(user_model.has_left).py_func.__name__, own.adapted(user_model.init_user).py_func.__name__,"
        "own.adapted(user_model.skip) is user_model.skip)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (ran.stdout.strip(), ran.stderr) == ("<lambda> my_meeting True", "")
    assert pickle.loads(pickle.dumps(LOVERS)).adapted(user_model.has_left).py_func.__name__ == "leave_after_too_much"


# Without the compiler.

NO_COMPILER = """
import json
import gymnasium
import numpy as np
from test_custom_user_model_sessions import FEW_ITEMS, calls_of_each, course_of_lovers

print(json.dumps({"course": course_of_lovers(), "calls": calls_of_each()}))
"""
FEW_ITEMS = {"num_items": 40, "arrivals_per_step": 0.0}


def course_of_lovers() -> list:
    envs = make(3, overrides={"catalog": FEW_ITEMS, "population": {"warm_share": 0.5}})
    envs.reset(seed=1)
    rows = []
    for action in random_actions(envs.action_space, np.random.default_rng(0), 20):
        rows += [envs.step(action)[1].tolist(), envs.simulator.sessions["custom"].tolist()]
    return [*rows, envs.latent_state()["expected_rewards"].tolist(), envs.simulator.world.item_statistics[-1].tolist()]


def calls_of_each() -> dict[str, int]:
    """How often each function is called, if it alone is replaced by one that counts (in plain Python)."""
    overrides = {
        "catalog": {**FEW_ITEMS, "repeat_share": 0.2, "num_creators": 2},
        "population": {"warm_share": 0.5, "num_moods": 2},
        "behaviour": {"repeat_gain": 0.5, "follow_probability": 0.5, "choice_intercept": 0.0},
        "lifetime": {"num_days": 30, "visit_length": 3},
    }
    simulator = gymnasium.make_vec("recsim_env/EcommerceSlate-v0", 2, overrides=overrides).unwrapped.simulator
    calls = dict.fromkeys(REPLACEABLE, 0)

    def counting(name: str):
        original = REPLACEABLE[name]

        @functools.wraps(original)
        def counted(*arguments):
            calls[name] += 1
            return original(*arguments)

        return counted

    for name in REPLACEABLE:
        world = dataclasses.replace(simulator.world, user_model=UserModel(**{name: counting(name)}))
        mine = Simulator(world, simulator.config, 2)
        start(mine)
        for _ in range(15):
            mine.step(np.tile(np.arange(5), (2, 1)))
        mine.latent_state()
    return calls


@pytest.fixture(scope="module")
def without_compiler() -> dict:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"}
    ran = subprocess.run(
        [sys.executable, "-c", NO_COMPILER], capture_output=True, text=True, cwd=Path(__file__).parent, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return json.loads(ran.stdout)


def test_custom_users_do_the_same_without_the_compiler(without_compiler):
    compiled, plain = course_of_lovers(), without_compiler["course"]
    assert len(compiled) == len(plain)
    for one, other in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_each_replaceable_function_is_called_when_it_is_replaced(without_compiler):
    assert set(without_compiler["calls"]) == set(REPLACEABLE)
    assert [name for name, number in without_compiler["calls"].items() if number == 0] == []
