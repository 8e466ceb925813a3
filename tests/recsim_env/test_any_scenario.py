"""Random scenarios from the whole range of every field: observations stay in their spaces."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trajectories import lane_of, random_actions, same

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.config import (
    BehaviourConfig,
    CatalogConfig,
    LifetimeConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
)
from recsim_env.envs.spaces_and_actions import ACTION_KINDS, REWARD_TERMS
from recsim_env.simulation.observation import OBSERVATION_KINDS

NUM_LANES, NUM_STEPS = 5, 30
SIZES = (
    {"num_topics": 2, "num_creators": 2, "num_moods": 2, "num_candidates": 3, "history_length": 4},
    {"num_topics": 3, "num_creators": 5, "num_moods": 1, "num_candidates": 8, "history_length": 3},
)
"""Sizes determine the record types, so each set is compiled once."""

AT_MOST = {"num_items": 60, "num_users": 50, "num_clusters": 20, "warm_steps": 60, "session_length": 40}
"""Upper limits that keep the tests fast."""


def real_numbers(low: float, high: float):
    """Both ends of the range, uniform draws, and draws of every order of magnitude."""
    largest = math.log10(max(abs(low), abs(high)))
    magnitudes = st.floats(-4.0, largest).map(lambda power: 10.0**power)
    signed = st.tuples(magnitudes, st.sampled_from([-1.0, 1.0] if low < 0.0 else [1.0])).map(math.prod)
    return st.sampled_from([low, high]) | st.floats(low, high) | signed.map(lambda x: min(max(x, low), high))


def whole_numbers(low: int, high: int):
    magnitudes = st.floats(0.0, math.log10(high)).map(lambda power: min(max(int(10.0**power), low), high))
    return st.sampled_from([low, high]) | magnitudes


def any_of(config: type, **fixed):
    """Configs with each field at its default or from anywhere in its range; `fixed` fields as they are given."""
    strategies = {}
    for field in dataclasses.fields(config):
        limits = field.metadata
        if field.name in fixed:
            strategies[field.name] = st.just(fixed[field.name])
        elif field.name in ("rating_levels", "rating_cuts"):
            continue  # drawn together below
        elif "allowed" in limits:
            strategies[field.name] = st.sampled_from(limits["allowed"])
        elif limits["kind"] is bool:
            strategies[field.name] = st.booleans()
        elif limits["kind"] is int:
            high = AT_MOST.get(field.name, limits["high"])
            strategies[field.name] = whole_numbers(limits["low"], high)
        else:
            strategies[field.name] = st.just(field.default) | real_numbers(limits["low"], limits["high"])
    if config is BehaviourConfig and not fixed.keys() & {"rating_levels", "rating_cuts"}:
        scales = st.just(((1.0, 2.0, 3.0, 4.0, 5.0), (-1.5, -0.5, 0.5, 1.5))) | st.integers(2, 11).flatmap(
            rating_scales
        )
        return scales.flatmap(
            lambda scale: st.builds(
                config, rating_levels=st.just(scale[0]), rating_cuts=st.just(scale[1]), **strategies
            )
        )
    return st.builds(config, **strategies)


def rating_scales(num_levels: int):
    def ascending(low: float, high: float, size: int):
        return st.lists(st.floats(low, high), min_size=size, max_size=size, unique=True).map(sorted).map(tuple)

    return st.tuples(ascending(0.125, 5.0, num_levels), ascending(-20.0, 20.0, num_levels - 1))


@st.composite
def scenarios(draw) -> Scenario:
    sizes = draw(st.sampled_from(SIZES))

    def section(config: type, **fixed):
        names = {field.name for field in dataclasses.fields(config)}
        return draw(any_of(config, **{name: size for name, size in sizes.items() if name in names}, **fixed))

    return Scenario(
        name="Any",
        source="synthetic",
        catalog=section(CatalogConfig, num_items=draw(whole_numbers(sizes["num_candidates"], AT_MOST["num_items"]))),
        population=section(PopulationConfig),
        behaviour=section(BehaviourConfig),
        reward=section(RewardConfig),
        lifetime=draw(st.just(LifetimeConfig()) | any_of(LifetimeConfig)),
        session=section(SessionConfig, slate_size=draw(st.integers(1, sizes["num_candidates"]))),
    )


def assert_terms_are_in_range(terms: dict[str, np.ndarray], rewards: np.ndarray, scenario: Scenario) -> None:
    weights = scenario.reward
    for name in REWARD_TERMS:
        assert terms[name].dtype == np.float64
        assert 0.0 <= terms[name].min() <= terms[name].max() <= (5.0 if name == "rating" else 1.0), name
    assert all(np.isin(terms[name], [0.0, 1.0]).all() for name in ("retention", "visit", "active_day"))
    expected = sum(getattr(weights, name) * terms[name] for name in REWARD_TERMS)
    num_rated = terms["purchase" if scenario.behaviour.is_shop else "click"]
    expected -= weights.rating * weights.neutral_rating * num_rated
    np.testing.assert_allclose(rewards, expected, rtol=1e-12, atol=1e-9)


@given(scenario=scenarios(), kind=st.sampled_from(OBSERVATION_KINDS), action=st.sampled_from(ACTION_KINDS))
@pytest.mark.filterwarnings("error")
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_scenario_stays_in_its_spaces_and_lanes_equal_single_envs(scenario, kind, action):
    options = {"scenario": scenario, "observation": kind, "action": action}
    envs = gymnasium.make_vec("recsim_env/Video-v0", NUM_LANES, autoreset_mode="SameStep", **options)
    single, lane = gymnasium.make("recsim_env/Video-v0", **options).unwrapped, NUM_LANES - 1
    observations, _ = envs.reset(seed=3)
    assert same(lane_of(observations, lane), single.reset(seed=3 + lane)[0])
    for actions in random_actions(envs.action_space, np.random.default_rng(0), NUM_STEPS):
        assert observations in envs.observation_space
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert rewards.dtype == np.float64
        assert np.isfinite(rewards).all()
        assert terminated.dtype == truncated.dtype == np.bool_
        assert not (terminated & truncated).any()
        is_over = terminated | truncated
        terms = {name: infos[f"reward_{name}"].copy() for name in REWARD_TERMS}
        if is_over.any():
            for name in REWARD_TERMS:
                terms[name][is_over] = infos["final_info"][f"reward_{name}"][is_over]
            assert all(infos["final_obs"][n] in envs.single_observation_space for n in np.flatnonzero(is_over))
        assert_terms_are_in_range(terms, rewards / scenario.session.reward_scale, scenario)
        answer = single.step(actions[lane].item() if actions[lane].ndim == 0 else actions[lane])
        assert answer[1:4] == (rewards[lane], terminated[lane], truncated[lane])
        assert answer[4] == {f"reward_{name}": terms[name][lane] for name in REWARD_TERMS}
        observation = single.reset()[0] if is_over[lane] else answer[0]
        assert same(lane_of(observations, lane), observation)
    for name, values in envs.latent_state().items():
        assert np.isfinite(values).all(), name


@given(scenario=scenarios())
@pytest.mark.filterwarnings("error")
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_scenario_stays_in_its_spaces_on_a_live_platform(scenario):
    one_visit = dataclasses.replace(scenario.lifetime, num_days=0)  # lifetimes are refused on a live platform
    scenario = dataclasses.replace(scenario, lifetime=one_visit)
    length = max(scenario.session.history_length, scenario.session.slate_size)
    options = {"scenario": scenario, "history_length": length}
    envs = gymnasium.make_vec("recsim_env/Video-v0", NUM_LANES, live_platform=True, **options)
    observations, _ = envs.reset(seed=3)
    for actions in random_actions(envs.action_space, np.random.default_rng(0), NUM_STEPS):
        assert observations in envs.observation_space
        observations, rewards, *_ = envs.step(actions)
        assert np.isfinite(rewards).all()
