"""Warm users have a logged history and its effects; cold-start users have neither."""

import gymnasium
import numpy as np
import pytest
from scipy import stats
from tiny_world import CERTAIN, make_simulator, show
from trajectories import digest, record, same

from recsim_env.simulation.observation import CONTEXT, FEEDBACK
from recsim_env.simulation.records import NO_ITEM

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always
VIDEO_ID = "recsim_env/Video-v0"
FIVE_STARS = {"rating_cuts": (-103.0, -102.0, -101.0, -100.0), "choice_intercept": CERTAIN}


def make_vec(num_envs: int, warm_share: float, warm_steps: int = 20, **options):
    overrides = {"population": {"warm_share": warm_share, "warm_steps": warm_steps}}
    return gymnasium.make_vec(VIDEO_ID, num_envs, overrides=overrides, **{"observation": "full", **options})


@pytest.mark.parametrize("warm_share", [0.0, 0.3, 1.0])
def test_a_share_of_the_users_is_warm_and_their_tenure_is_uniform_and_shown(warm_share):
    envs = make_vec(6_000, warm_share)
    observations, _ = envs.reset(seed=0)
    tenure = envs.simulator.sessions["tenure"]
    assert (tenure > 0).mean() == pytest.approx(warm_share, abs=0.025)
    if warm_share:
        counts = np.bincount(tenure[tenure > 0], minlength=21)[1:]
        assert len(counts) == 20
        assert stats.chisquare(counts).pvalue > UNLIKELY
    column = envs.simulator.layout.num_profile_features + CONTEXT.index("tenure")
    np.testing.assert_allclose(observations["user"][:, column], np.log2(1.0 + tenure) / 16.0, rtol=1e-6)
    assert not observations["user"][:, column - 1].any()  # nothing of the session is over


def test_warm_users_have_a_row_for_each_logged_step_and_cold_ones_have_none():
    envs = make_vec(500, 0.5, warm_steps=30)
    observations, _ = envs.reset(seed=0)
    tenure = envs.simulator.sessions["tenure"]
    rows = observations["history"].reshape(500, *envs.simulator.layout.history_shape)
    feedback = rows[:, :, -len(FEEDBACK) :]
    np.testing.assert_array_equal((feedback[:, :, 0] > 0).sum(1), np.minimum(tenure, 20))
    assert not rows[tenure == 0].any()
    assert (tenure == 0).sum() > 200
    assert (tenure > 20).sum() > 50
    clicks = feedback[:, :, FEEDBACK.index("click")].sum()
    assert 0 < clicks < feedback[:, :, 0].sum()


def test_logged_items_were_available_at_their_time():
    envs = make_vec(300, 1.0, observation="compact")
    observations, _ = envs.reset(seed=0)
    items = envs.simulator.world.item_records
    for shown, time in zip(observations["history_items"], observations["time"][:, 0], strict=True):
        logged = shown[shown != NO_ITEM]
        moments = time - 1 - np.arange(len(logged))  # the last step first
        assert (items["release_step"][logged] <= moments).all()
        assert (moments < items["retire_step"][logged]).all()


def test_the_logging_policy_shows_likely_choices_and_is_not_always_right():
    envs = make_vec(3_000, 1.0, warm_steps=1)
    observations, _ = envs.reset(seed=0)
    rows = observations["history"].reshape(3_000, *envs.simulator.layout.history_shape)
    logged = rows[:, 0, -len(FEEDBACK) + FEEDBACK.index("click")].mean()
    cold = make_vec(3_000, 0.0, candidate_order="random")
    cold.reset(seed=0)
    at_random = cold.step(np.zeros(3_000, int))[-1]["reward_click"].mean()
    assert at_random + 0.05 < logged < 0.95


def test_interests_recent_items_and_follows_of_a_warm_user_persist():
    behaviour = {"follow_probability": 1.0, "satiation_gain": 1.0, "trust_gain": 0.0, "trust_loss": 0.0}
    behaviour |= {"is_shop": True, "purchase_intercept": CERTAIN, "patience_gain": 0.25, "mood_delay": 2}
    simulator = make_simulator(
        **FIVE_STARS,
        **behaviour,
        num_sessions=400,
        creators=(1, 0, 1),
        prices=0.125,
        budget=6.0,
        patience=4.5,
        receptiveness=0.1,
        mood_change=0.3,
        warm_share=1.0,
        warm_steps=12,
    )
    sessions, creators = simulator.sessions, simulator.world.item_records["creator"]
    assert (sessions["num_consumed"] == sessions["tenure"]).all()
    for session in sessions:
        tenure = int(session["tenure"])
        consumed = session["recent_items"][:tenure]
        assert (session["recent_items"][tenure:] == NO_ITEM).all()
        moved = np.clip(np.bincount(consumed, minlength=3) * 0.1 + [0.1, 0.2, 0.3], -4.0, 4.0)
        np.testing.assert_allclose(session["interests"], moved)
        assert set(np.flatnonzero(session["follows"])) == set(creators[consumed])
        newest = session["history_items"][(session["num_shown"] - 1) % 4]
        assert newest == consumed[-1]
    assert not sessions["satiation"].any()
    assert (sessions["trust"] == 1.0).all()
    assert (sessions["patience"] == 4.5).all()
    assert (sessions["budget"] == 6.0).all()
    assert (sessions["step"] == 0).all()
    assert (sessions["seen_mood"] == -1).all()
    assert not sessions["mood_age"].any()


def test_a_user_returns_even_after_a_bad_logged_visit():
    simulator = make_simulator(
        num_sessions=100,
        choice_intercept=CERTAIN,
        rating_cuts=(500.0, 501.0, 502.0, 503.0),  # a rating of 1 where 5 was anticipated
        appeal=(900.0, 900.0, 900.0),
        patience=1.0,
        patience_gain=1.0,
        warm_share=1.0,
        warm_steps=10,
    )
    assert (simulator.sessions["num_shown"] == simulator.sessions["tenure"]).all()
    assert (simulator.sessions["interests"] < 0.3).any(1).all()
    assert (simulator.sessions["patience"] == 1.0).all()
    assert (simulator.sessions["trust"] == 1.0).all()
    assert show(simulator, 0)["terminated"].all()
    assert simulator.sessions["trust"] == pytest.approx(np.full(100, 0.6))


def test_warm_and_cold_users_get_the_same_candidates():
    warm, cold = (make_vec(50, share, observation="compact", candidate_order="random") for share in (1.0, 0.0))
    for env in (warm, cold):
        env.simulator.parameters["repeat_after"] = 0  # the logged history leaves no item out
    first, second = warm.reset(seed=0)[0], cold.reset(seed=0)[0]
    assert same(first["candidate_items"], second["candidate_items"])
    assert same(first["time"], second["time"])
    size = warm.simulator.layout.num_profile_features
    assert same(first["user"][:, :size], second["user"][:, :size])
    assert not same(warm.simulator.sessions["interests"], cold.simulator.sessions["interests"])


def test_warm_users_depend_on_the_user_seed_and_their_history_on_all_seeds():
    env = gymnasium.make(VIDEO_ID, overrides={"population": {"warm_share": 0.5}}, observation="compact").unwrapped

    def course(**options):
        observation, _ = env.reset(seed=1, options=options)
        return int(env.simulator.sessions["tenure"][0]), observation["history_items"], observation["history_feedback"]

    tenure, items, feedback = course(user_seed=3)
    assert tenure > 1
    for seed in range(5, 9):
        assert course(user_seed=3, noise_seed=seed)[0] == course(user_seed=3, candidate_seed=seed)[0] == tenure
    assert any(not same(course(user_seed=3, noise_seed=seed)[2], feedback) for seed in range(5, 9))
    assert not same(course(user_seed=3, candidate_seed=5)[1], items)
    assert len({course(user_seed=seed)[0] for seed in range(20)}) > 5


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music"])
def test_warm_users_do_not_depend_on_the_number_of_threads(name):
    digests = {digest(record(f"recsim_env/{name}-v0", 4, 30, 6, num_threads=number)) for number in (1, 1, 2, 3)}
    assert len(digests) == 1
    recorded = record(f"recsim_env/{name}-v0", 4, 30, 6, observation="full")
    assert recorded["session tenure"].max() > 0
    assert recorded["observation history"][0].any()


def test_presets_have_their_share_of_warm_users(scenario_name):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 3_000, observation="full")
    envs.reset(seed=0)
    share = envs.simulator.world.scenario.population.warm_share
    assert (envs.simulator.sessions["tenure"] > 0).mean() == pytest.approx(share, abs=0.04)
