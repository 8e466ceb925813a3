"""Whole steps of the user model, and the logged visits of warm users, against the equations in plain Python."""

import gymnasium
import numpy as np
import pytest
from by_hand import OUTCOME, STATE, TOLERANCE, step_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import make_simulator

from recsim_env.config import RewardConfig
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.records import NO_ITEM

HAPPENS_IN = {"Ecommerce": {"purchase"}, "Social": {"follow", "unfollow"}, "Music": {"repeat", "mood", "seen mood"}}
"""What the steps of a scenario must have shown at least once, for the comparison to say anything of it."""


def assert_state_is(session, state: dict) -> None:
    for name, value in state.items():
        np.testing.assert_allclose(session[name], value, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def assert_steps_are_those_by_hand(simulator, slates: np.ndarray) -> set[str]:
    """Take each of the [T, N, S] slates in the simulator and by hand; sessions that end restart.

    Returns what has happened at least once.
    """
    world, length, happened = simulator.world, simulator.config.session_length, set()
    for batch in slates:
        before = simulator.sessions.copy()
        outcomes = simulator.step(batch).copy()
        after = simulator.sessions
        for n, slate in enumerate(batch):
            rules = world.scenario, world.moods, length
            outcome, state, rows = step_by_hand(before[n], world.item_records, slate.tolist(), *rules)
            assert [outcomes[n][name] for name in OUTCOME] == pytest.approx(list(outcome), rel=1e-9, abs=1e-9)
            assert state.keys() == set(STATE)
            assert_state_is(after[n], state)
            first = int(before[n]["num_shown"])
            assert after[n]["num_shown"] == first + len(rows)
            places = [(first + shown) % after[n]["history_items"].size for shown in range(len(rows))]
            for place, (item, *feedback) in list(zip(places, rows, strict=True))[-len(set(places)) :]:
                assert after[n]["history_items"][place] == item
                assert after[n]["history_feedback"][place].tolist() == pytest.approx(feedback)
            happened |= events(before[n], state, rows)
        simulator.start(np.flatnonzero(outcomes["terminated"] | outcomes["truncated"]))
    return happened


def events(before, state: dict, rows: list) -> set[str]:
    """The names of what a step brought about."""
    names = {"mood"} if state["mood"] != before["mood"] else set()
    names |= {"seen mood"} if state["seen_mood"] != before["seen_mood"] else set()
    for item, _, click, _, rating, purchase, follow in rows:
        names |= {name for name, is_so in {"click": click, "rating": rating, "purchase": purchase}.items() if is_so}
        names |= {"follow"} if follow > 0 else {"unfollow"} if follow < 0 else set()
        names |= {"repeat"} if click and item in before["recent_items"] else set()
    return names


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_steps_of_every_scenario_are_those_computed_by_hand(scenario_name, variant):
    overrides = {"behaviour": {"initial_trust": 1.0}}  # for many clicks
    envs = gymnasium.make_vec(
        f"recsim_env/{scenario_name}{variant}-v0", 20, candidate_order="random", overrides=overrides
    )
    envs.reset(seed=11)
    slate_size = envs.simulator.config.slate_size
    slates = np.random.default_rng(0).integers(0, envs.simulator.config.num_candidates, (40, 20, slate_size))
    happened = assert_steps_are_those_by_hand(envs.simulator, slates)
    assert happened >= {"click", "rating"} | HAPPENS_IN.get(scenario_name, set())


PERSISTENT = ("interests", "follows", "recent_items", "num_consumed", "satisfaction", "habit")


def moderate(low: float, high: float):
    return st.floats(low, high, allow_subnormal=False)


@given(
    behaviour=st.fixed_dictionaries(
        {
            "continue_probability": moderate(0, 1),
            "choose_again_probability": moderate(0, 1),
            "choice_intercept": moderate(-1, 3),
            "choice_affinity": moderate(0, 3),
            "choice_appeal": moderate(0, 3),
            "choice_distrust": moderate(0, 5),
            "choice_freshness": moderate(0, 3),
            "freshness_half_life": moderate(0.5, 10),
            "choice_follow": moderate(0, 3),
            "rating_affinity": moderate(0, 3),
            "rating_quality": moderate(0, 3),
            "rating_noise": moderate(0.1, 3),
            "expectation_appeal": moderate(0, 3),
            "rating_probability": moderate(0, 1),
            "is_shop": st.booleans(),
            "purchase_intercept": moderate(-1, 3),
            "purchase_affinity": moderate(0, 3),
            "purchase_quality": moderate(0, 3),
            "purchase_price": moderate(0, 2),
            "consumption_intercept": moderate(-2, 2),
            "consumption_affinity": moderate(0, 3),
            "consumption_quality": moderate(0, 3),
            "consumption_noise": moderate(0, 2),
            "interest_limit": moderate(0.1, 2),
            "satiation_gain": moderate(0, 2),
            "satiation_purchase": moderate(0, 2),
            "satiation_decay": moderate(0, 0.99),
            "repeat_gain": moderate(0, 2),
            "repeat_boredom": moderate(0, 1),
            "follow_probability": moderate(0, 1),
            "unfollow_probability": moderate(0, 1),
            "mood_change": moderate(0, 1),
            "mood_delay": st.integers(0, 3),
            "trust_gain": moderate(0, 1),
            "trust_loss": moderate(0, 1),
            "trust_no_purchase": moderate(0, 1),
            "patience_gain": moderate(0, 2),
            "patience_skip": moderate(0, 2),
            "patience_limit": moderate(1, 9),
        }
    ),
    person=st.fixed_dictionaries(
        {
            "interests": st.tuples(*[moderate(-2, 2)] * 3),
            "patience": moderate(1, 5),
            "receptiveness": moderate(0, 1),
            "rating_bias": moderate(-2, 2),
            "rating_scale": moderate(0.5, 2),
            "budget": moderate(0, 6),
        }
    ),
    catalog=st.fixed_dictionaries(
        {
            "quality": st.tuples(*[moderate(-2, 2)] * 3),
            "appeal": st.tuples(*[moderate(-2, 2)] * 3),
            "prices": st.tuples(*[moderate(0, 2)] * 3),
            "creators": st.tuples(*[st.integers(0, 1)] * 3),
            "moods": st.tuples(*[st.tuples(*[moderate(-2, 2)] * 2)] * 2),
        }
    ),
    weights=st.builds(
        RewardConfig,
        **dict.fromkeys(RewardConfig.__dataclass_fields__, moderate(-2, 2)) | {"neutral_rating": moderate(0, 5)},
    ),
    slate_size=st.integers(1, 3),
    session_length=st.integers(2, 8),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_steps_of_any_user_are_those_computed_by_hand(behaviour, person, catalog, weights, slate_size, session_length):
    simulator = make_simulator(
        num_sessions=8,
        release=(0, 0, 2),  # the third item is missing at first
        reward=weights,
        slate_size=slate_size,
        session_length=session_length,
        **catalog,
        **person,
        **behaviour,
    )
    slates = np.random.default_rng(0).integers(0, 3, (10, 8, slate_size))
    assert_steps_are_those_by_hand(simulator, slates)


def test_the_logged_visit_of_a_warm_user_is_made_of_steps_computed_by_hand(scenario_name):
    overrides = {"population": {"warm_share": 1.0, "warm_steps": 20}}
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 40, overrides=overrides, history_length=20)
    envs.reset(seed=5)
    world, happened = envs.simulator.world, set()
    for session in envs.simulator.sessions:
        logged, tenure = session.copy(), int(session["tenure"])
        user, limit = world.user_records[session["user"]], world.scenario.behaviour.patience_limit
        logged["noise_key"] = np.uint64(combine(session["noise_key"], Purpose.LOG))
        logged["start_step"] = session["start_step"] - tenure
        first_state = {
            "interests": user["interests"],
            "satiation": np.zeros(world.sizes.num_topics),
            "trust": world.scenario.behaviour.initial_trust,
            "patience": min(user["patience"], limit),
            "budget": user["budget"],
            "mood": session["mood"],
            "mood_age": 0,
            "seen_mood": -1,
            "follows": np.zeros(world.sizes.num_creators),
            "recent_items": np.full(16, NO_ITEM),
            "num_consumed": 0,
            "satisfaction": 0.0,
            "habit": 0.0,
        }
        assert session["num_shown"] == tenure
        state = first_state
        for step in range(tenure):
            for name, value in state.items():
                logged[name] = value
            logged["step"], logged["candidates"][0] = step, session["history_items"][step]
            _, state, [(_, *feedback)] = step_by_hand(logged, world.item_records, [0], world.scenario, world.moods, 50)
            assert session["history_feedback"][step].tolist() == pytest.approx(feedback, abs=1e-6)
            happened |= {name for name, is_so in {"click": feedback[1], "purchase": feedback[4]}.items() if is_so}
        for_good = {name: state[name] for name in PERSISTENT}
        np.testing.assert_allclose(session["interests"], for_good["interests"], atol=1e-6)
        assert_state_is(session, first_state | for_good)
    assert happened >= ({"click", "purchase"} if scenario_name == "Ecommerce" else {"click"})
