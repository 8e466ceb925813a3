"""Whole steps of the user model against the same equations written out in plain Python."""

from statistics import NormalDist

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import make_simulator

from recsim_env.config import RewardConfig, Scenario
from recsim_env.random_streams import Purpose, normal, uniform
from recsim_env.user_model import NO_ITEM

NORMAL = NormalDist()
OUTCOMES = ("reward", "rating", "click", "consumption", "retention", "terminated", "truncated")


def step_by_hand(session, items, slate, scenario: Scenario, session_length: int):
    """One step of one session from the equations; returns the outcome and the user's state after it."""
    b, r = scenario.behaviour, scenario.reward
    interests, satiation = session["interests"].copy(), session["satiation"].copy()
    trust, patience, step = float(session["trust"]), float(session["patience"]), int(session["step"])
    candidates, size = session["candidates"], len(slate)

    def chance(purpose: Purpose, index: int = 0) -> float:
        return uniform(session["noise_key"], step, purpose, index)

    def noise(purpose: Purpose) -> float:
        return normal(session["noise_key"], step, purpose, 0)

    examined = 1
    while examined < size and chance(Purpose.EXAMINATION, examined) < b.continue_probability:
        examined += 1
    shown = [slot for slot in range(size) if candidates[slate[slot]] != NO_ITEM and slate[slot] not in slate[:slot]]
    looked_at = [slot for slot in shown if slot < examined]
    item_in = {slot: items[candidates[slate[slot]]] for slot in shown}
    affinity = {slot: interests @ item["factors"] - satiation @ item["topics"] for slot, item in item_in.items()}
    utility = [
        b.choice_intercept
        + b.choice_affinity * affinity[slot]
        + b.choice_appeal * item_in[slot]["appeal"]
        - b.choice_distrust * (1.0 - trust)
        for slot in looked_at
    ]
    weights = np.exp(np.array([0.0, *utility]))
    answer = int(np.searchsorted(np.cumsum(weights / weights.sum()), chance(Purpose.CHOICE), side="right"))
    chosen = looked_at[answer - 1] if answer else None

    rating = consumption = 0.0
    satiation *= b.satiation_decay
    if chosen is None:
        patience -= b.patience_skip
    else:
        item, bias, scale = item_in[chosen], session["rating_bias"], session["rating_scale"]
        sd = scale * b.rating_noise

        def opinion_of(worth: float) -> float:
            return bias + scale * (b.rating_affinity * affinity[chosen] + worth)

        opinion = opinion_of(b.rating_quality * item["quality"]) + sd * noise(Purpose.RATING)
        rating = 1.0 + sum(opinion > cut for cut in b.rating_cuts)
        promise = opinion_of(b.expectation_appeal * item["appeal"])
        expectation = 1.0 + sum(NORMAL.cdf((promise - cut) / sd) for cut in b.rating_cuts)
        logit = b.consumption_intercept + b.consumption_affinity * affinity[chosen]
        logit += b.consumption_quality * item["quality"] + b.consumption_noise * noise(Purpose.CONSUMPTION)
        consumption = 1.0 / (1.0 + np.exp(-logit))
        moved = interests + session["receptiveness"] * (rating - 3.0) / 2.0 * item["factors"]
        interests = np.clip(moved, -b.interest_limit, b.interest_limit)
        satiation += b.satiation_gain * consumption * item["topics"]
        surprise = rating - expectation
        trust = np.clip(trust + (b.trust_gain if surprise > 0 else b.trust_loss) * surprise, 0.0, 1.0)
        patience = min(patience + b.patience_gain * (rating - 3.0), b.patience_limit)

    has_left = patience <= 0.0
    terms = [rating / size, (chosen is not None) / size, consumption / size, float(not has_left)]
    reward = np.dot([r.rating, r.click, r.consumption, r.retention], terms)
    outcome = (reward, *terms, has_left, step + 1 >= session_length and not has_left)
    is_submitted = chosen is not None and chance(Purpose.RATING_SUBMITTED) < b.rating_probability
    feedback = [
        (candidates[slate[slot]], slot, *((1.0, consumption, rating * is_submitted) if slot == chosen else (0, 0, 0)))
        for slot in shown
    ]
    return outcome, (interests, satiation, trust, patience), feedback


def assert_steps_are_those_by_hand(simulator, slates: np.ndarray) -> None:
    """Take each of the [T, N, S] slates in the simulator and by hand; sessions that end begin anew."""
    items, scenario = simulator.world.item_records, simulator.world.scenario
    length, num_clicks = simulator.config.session_length, 0
    for batch in slates:
        before = simulator.sessions.copy()
        outcomes = simulator.step(batch).copy()
        after = simulator.sessions
        for n, slate in enumerate(batch):
            outcome, state, feedback = step_by_hand(before[n], items, slate.tolist(), scenario, length)
            assert [outcomes[n][name] for name in OUTCOMES] == pytest.approx(list(outcome), rel=1e-9, abs=1e-9)
            for name, value in zip(("interests", "satiation", "trust", "patience"), state, strict=True):
                np.testing.assert_allclose(after[n][name], value, rtol=1e-9, atol=1e-9, err_msg=name)
            first = int(before[n]["num_shown"])
            assert after[n]["num_shown"] == first + len(feedback)
            rows = [(first + shown) % after[n]["history_items"].size for shown in range(len(feedback))]
            for row, (item, *columns) in list(zip(rows, feedback, strict=True))[-len(set(rows)) :]:
                assert after[n]["history_items"][row] == item
                assert after[n]["history_feedback"][row].tolist() == pytest.approx(columns)
            num_clicks += outcome[2] > 0
        simulator.start(np.flatnonzero(outcomes["terminated"] | outcomes["truncated"]))
    assert num_clicks > 0


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_steps_of_every_scenario_are_those_computed_by_hand(scenario_name, variant):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}{variant}-v0", 60)
    envs.reset(seed=11)
    slate_size = envs.simulator.config.slate_size
    slates = np.random.default_rng(0).integers(0, envs.simulator.config.num_candidates, (40, 60, slate_size))
    assert_steps_are_those_by_hand(envs.simulator, slates)


def moderate(low: float, high: float):
    return st.floats(low, high, allow_subnormal=False)


@given(
    behaviour=st.fixed_dictionaries(
        {
            "continue_probability": moderate(0, 1),
            "choice_intercept": moderate(-1, 3),
            "choice_affinity": moderate(0, 3),
            "choice_appeal": moderate(0, 3),
            "choice_distrust": moderate(0, 5),
            "rating_affinity": moderate(0, 3),
            "rating_quality": moderate(0, 3),
            "rating_noise": moderate(0.1, 3),
            "expectation_appeal": moderate(0, 3),
            "rating_probability": moderate(0, 1),
            "consumption_intercept": moderate(-2, 2),
            "consumption_noise": moderate(0, 2),
            "interest_limit": moderate(0.1, 2),
            "satiation_gain": moderate(0, 2),
            "satiation_decay": moderate(0, 0.99),
            "trust_gain": moderate(0, 1),
            "trust_loss": moderate(0, 1),
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
        }
    ),
    quality=st.tuples(*[moderate(-2, 2)] * 3),
    appeal=st.tuples(*[moderate(-2, 2)] * 3),
    weights=st.builds(RewardConfig, rating=moderate(-2, 2), click=moderate(-2, 2), retention=moderate(-2, 2)),
    slate_size=st.integers(1, 3),
    session_length=st.integers(2, 8),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_steps_of_any_user_are_those_computed_by_hand(
    behaviour, person, quality, appeal, weights, slate_size, session_length
):
    simulator = make_simulator(
        num_sessions=16,
        quality=quality,
        appeal=appeal,
        reward=weights,
        slate_size=slate_size,
        session_length=session_length,
        **person,
        **behaviour,
    )
    slates = np.random.default_rng(0).integers(0, 3, (10, 16, slate_size))
    assert_steps_are_those_by_hand(simulator, slates)
