"""Lifetimes: visits, absences that depend on satisfaction and habit, churn, and what changes meanwhile."""

import math

import gymnasium
import numpy as np
import pytest
from conftest import SCENARIO_NAMES
from tiny_world import CERTAIN, make_simulator, show, start
from trajectories import random_actions, same

from recsim_env import LIFETIMES, SCENARIOS, LifetimeConfig, RewardConfig
from recsim_env.simulation.observation import CONTEXT, USER_FEEDBACK, VISIT_CONTEXT
from recsim_env.simulation.random_streams import Purpose, normal, uniform

DAYS = {"num_days": 50, "day_length": 10, "churn_days": 1e5}
ONE_STEP_VISITS = LifetimeConfig(**DAYS, visit_length=1)


def absence_by_hand(session, lifetime: LifetimeConfig, satisfaction: float, habit: float) -> float:
    """Days that the user stays away after the visit that ends with this session's next step."""
    rate = lifetime.return_rate * math.exp(lifetime.return_satisfaction * satisfaction + lifetime.return_habit * habit)
    return -math.log1p(-uniform(session["noise_key"], int(session["step"]) + 1, Purpose.ABSENCE, 0)) / rate


def test_absences_and_what_changes_in_them_are_those_computed_by_hand():
    lifetime = LifetimeConfig(
        **DAYS, visit_length=1, habit_gain=0.3, habit_decay=0.2, trust_recovery=0.1, interest_drift=0.3
    )
    dynamics = {"satiation_gain": 1.0, "satiation_decay": 0.95, "trust_loss": 0.2, "trust_gain": 0.1}
    simulator = make_simulator(
        num_sessions=40, lifetime=lifetime, choice_intercept=CERTAIN, receptiveness=0.0, budget=2.0, **dynamics
    )
    plain = make_simulator(num_sessions=40, choice_intercept=CERTAIN, receptiveness=0.0, budget=2.0, **dynamics)
    before = simulator.sessions.copy()
    show(simulator, 0)
    show(plain, 0)
    for session, first, single in zip(simulator.sessions, before, plain.sessions, strict=True):
        rating = int(np.rint(session["rating_sum"])) if session["num_ratings"] else None
        satisfaction = single["satisfaction"]
        if rating is not None:
            assert satisfaction == pytest.approx(lifetime.satisfaction_rate * (rating - 3.0) / 2.0)
        days = absence_by_hand(first, lifetime, satisfaction, habit=0.3)
        assert session["absence"] == pytest.approx(days)
        assert session["start_step"] - first["start_step"] == max(int(days * 10 + 0.5), 1)
        assert session["habit"] == pytest.approx(0.3 * math.exp(-0.2 * days))
        assert session["trust"] == pytest.approx(1.0 - (1.0 - single["trust"]) * math.exp(-0.1 * days))
        assert session["satiation"] == pytest.approx(single["satiation"] * 0.95 ** (10 * days))
        drifts = [normal(first["noise_key"], 1, Purpose.DRIFT, d) for d in range(3)]
        assert session["interests"] == pytest.approx(single["interests"] + 0.3 * math.sqrt(days) * np.array(drifts))
        assert session["patience"] == session["usual_patience"] == 5.0
        assert (session["budget"], session["num_visits"], session["visit_start"]) == (2.0, 2, 1)


def test_the_time_to_return_is_exponential_with_a_rate_that_grows_with_satisfaction_and_habit():
    lifetime = LifetimeConfig(
        num_days=100_000, day_length=1_000, churn_days=1e5, visit_length=1, return_rate=0.5, satisfaction_rate=1.0,
        return_satisfaction=1.0, return_habit=2.0, habit_gain=0.25,
    )  # fmt: skip
    for opinion, satisfaction in ((CERTAIN, 1.0), (-CERTAIN, -1.0)):
        simulator = make_simulator(
            num_sessions=20_000,
            lifetime=lifetime,
            choice_intercept=CERTAIN,
            interests=(0.0,) * 3,
            quality=(opinion,) * 3,
        )
        show(simulator, 0)
        absences, rate = simulator.sessions["absence"], 0.5 * math.exp(satisfaction + 2.0 * 0.25)
        assert absences.mean() == pytest.approx(1.0 / rate, rel=0.03)
        assert absences.std() == pytest.approx(1.0 / rate, rel=0.05)


def test_a_visit_ends_when_patience_or_its_time_is_over():
    for visit_length, patience, last_step in ((3, 5.0, 3), (10, 0.5, 2)):
        lifetime = LifetimeConfig(**DAYS, visit_length=visit_length)
        simulator = make_simulator(
            num_sessions=5, lifetime=lifetime, patience=patience, choice_intercept=-CERTAIN, patience_skip=0.3
        )
        visits = [show(simulator, 0)["visit"].copy() for _ in range(last_step)]
        assert not np.any(visits[:-1])
        assert (visits[-1] == 1.0).all()
        assert (simulator.sessions["num_visits"] == 2).all()


def test_users_who_stay_away_too_long_have_churned():
    lifetime = LifetimeConfig(num_days=100, day_length=10, visit_length=1, churn_days=1.0, return_rate=1.0)
    simulator = make_simulator(num_sessions=4_000, lifetime=lifetime, choice_intercept=-CERTAIN)
    first = simulator.sessions.copy()
    outcomes = show(simulator, 0)
    stayed = np.array([absence_by_hand(session, lifetime, -0.02, 0.1) for session in first]) <= 1.0
    assert (outcomes["terminated"] == ~stayed).all()
    assert (outcomes["retention"] == stayed).all()
    assert (outcomes["visit"] == stayed).all()
    assert not outcomes["truncated"].any()
    rate = math.exp(2.0 * -0.02 + 0.1)
    assert outcomes["terminated"].mean() == pytest.approx(math.exp(-rate), abs=0.03)


def test_an_episode_is_truncated_after_its_days_even_in_an_absence():
    lifetime = LifetimeConfig(num_days=2, day_length=5, visit_length=3, churn_days=1e5, return_rate=1e-6)
    away = make_simulator(num_sessions=3, lifetime=lifetime, choice_intercept=-CERTAIN)
    for _ in range(3):
        outcomes = show(away, 0)
    assert outcomes["truncated"].all()
    assert not outcomes["terminated"].any()
    assert not outcomes["visit"].any()
    busy = make_simulator(num_sessions=3, lifetime=LifetimeConfig(num_days=1, day_length=5, visit_length=9))
    lengths = [show(busy, 0)["truncated"].copy() for _ in range(5)]
    assert not np.any(lengths[:-1])
    assert lengths[-1].all()


def test_visits_and_active_days_are_rewarded():
    reward = RewardConfig(rating=0.0, visit=1.0, active_day=10.0)
    lifetime = LifetimeConfig(num_days=50, day_length=10, visit_length=2, churn_days=1e5, return_rate=3.0)
    simulator = make_simulator(num_sessions=200, lifetime=lifetime, reward=reward, choice_intercept=-CERTAIN)
    sessions, seen = simulator.sessions, set()
    for _ in range(12):
        before, day = sessions["num_visits"].copy(), (sessions["start_step"] + sessions["step"]) // 10
        outcomes = show(simulator, 0)
        has_returned = sessions["num_visits"] > before
        is_new_day = has_returned & ((sessions["start_step"] + sessions["step"]) // 10 > day)
        running = ~(outcomes["terminated"] | outcomes["truncated"])
        expected = 1.0 * has_returned + 10.0 * is_new_day
        np.testing.assert_allclose(outcomes["reward"][running], expected[running])
        seen |= set(expected[running].tolist())
    assert seen == {0.0, 1.0, 11.0}


@pytest.fixture(params=[f"{name}Lifetime" for name in SCENARIO_NAMES], name="lifetime_name")
def each_lifetime(request) -> str:
    return request.param


def test_each_scenario_has_a_lifetime_with_more_than_one_visit(lifetime_name):
    assert set(LIFETIMES) == {f"{name}Lifetime" for name in SCENARIOS}
    envs = gymnasium.make_vec(f"recsim_env/{lifetime_name}-v0", 16, autoreset_mode="Disabled")
    observations, infos = envs.reset(seed=0)
    num_visits, is_over = np.zeros(16), np.zeros(16, bool)
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 60):
        observations, _, terminated, truncated, infos = envs.step(actions)
        assert envs.observation_space.contains(observations)
        num_visits += infos["reward_visit"]
        is_over |= terminated | truncated
    assert num_visits.mean() > 2.0
    assert not (infos["reward_active_day"] > infos["reward_visit"]).any()


def test_lanes_of_a_lifetime_equal_single_envs(lifetime_name):
    env_id = f"recsim_env/{lifetime_name}-v0"
    envs = gymnasium.make_vec(env_id, 3, autoreset_mode="SameStep")
    actions = random_actions(envs.action_space, np.random.default_rng(1), 80)
    rows = [envs.reset(seed=5)[0], *(envs.step(action)[0] for action in actions)]
    for lane in range(3):
        env = gymnasium.make(env_id)
        observation, _ = env.reset(seed=5 + lane)
        for step in range(80):
            assert same(observation, {name: part[lane] for name, part in rows[step].items()})
            observation, _, terminated, truncated, _ = env.step(int(actions[step, lane]))
            if terminated or truncated:
                observation, _ = env.reset()


def test_the_observation_tells_the_day_the_visit_and_the_time_since_the_last_visit():
    env = gymnasium.make("recsim_env/VideoLifetime-v0").unwrapped
    observation, _ = env.reset(seed=2)
    first, session = len(USER_FEEDBACK) + len(CONTEXT), env.simulator.sessions[0]
    lifetime, has_returned = env.simulator.world.scenario.lifetime, False
    for _ in range(60):
        day, visit_elapsed, absence, visits = observation["user"][first : first + len(VISIT_CONTEXT)]
        elapsed = session["start_step"] + session["step"] - session["first_time"]
        assert day == pytest.approx(elapsed / (lifetime.num_days * lifetime.day_length))
        assert visit_elapsed == pytest.approx((session["step"] - session["visit_start"]) / lifetime.visit_length)
        assert absence == pytest.approx(min(math.log2(1.0 + session["absence"]) / 8.0, 1.0))
        assert visits == pytest.approx(math.log2(session["num_visits"]) / 16.0)
        observation, _, terminated, truncated, info = env.step(0)
        has_returned = has_returned or info["reward_visit"] == 1.0
        if terminated or truncated:
            break
    assert has_returned


def test_satisfaction_and_habit_are_latent():
    envs = gymnasium.make_vec("recsim_env/VideoLifetime-v0", 4, observation="full")
    observations, infos = envs.reset(seed=0)
    for _ in range(25):
        observations, _, _, _, infos = envs.step(np.zeros(4, np.int64))
    latent = envs.unwrapped.latent_state()
    seen = np.concatenate([np.ravel(part) for part in [*observations.values(), *infos.values()]]).astype(np.float32)
    for name in ("satisfaction", "habit"):
        assert len(set(latent[name].tolist())) == 4
        assert not np.isin(latent[name][latent[name] != 0.0].astype(np.float32), seen).any()


def test_a_live_platform_has_no_lifetimes():
    with pytest.raises(ValueError, match="live_platform=True: must be False in lifetimes"):
        gymnasium.make_vec("recsim_env/VideoLifetime-v0", 2, live_platform=True)


def test_a_seed_determines_a_lifetime():
    simulator = make_simulator(num_sessions=20, lifetime=ONE_STEP_VISITS)
    courses = []
    for _ in range(2):
        start(simulator)
        courses.append([show(simulator, 0).copy() for _ in range(10)])
    assert np.array_equal(courses[0], courses[1])
