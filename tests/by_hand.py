"""The user model's equations in plain Python; only random draws come from the package."""

from statistics import NormalDist

import numpy as np

from recsim_env.config import BehaviourConfig, Scenario
from recsim_env.simulation.random_streams import Purpose, normal, uniform
from recsim_env.simulation.records import NO_ITEM

NORMAL = NormalDist()
LIBRARY_LENGTH = 16
TOLERANCE = 1e-8
"""The package has the normal distribution from a table, to 1e-9."""

STATE = (
    *("interests", "satiation", "trust", "patience", "budget", "mood", "mood_age", "seen_mood"),
    *("follows", "recent_items", "num_consumed"),
)
TERMS = ("rating", "click", "consumption", "purchase", "retention")
OUTCOME = ("reward", *TERMS, "terminated", "truncated")


def logistic(x: float) -> float:
    return 1.0 / (1.0 + np.exp(-x))


def state_of(session) -> dict:
    """The user's state in a session's record, as plain Python."""
    return {name: np.array(session[name]).tolist() for name in STATE}


def affinity_of(state: dict, item, b: BehaviourConfig, moods) -> float:
    plays = state["recent_items"].count(int(item["index"]))
    need = np.array(state["satiation"]) - moods[state["mood"]]
    taste = np.dot(state["interests"], item["factors"]) - np.dot(need, item["topics"])
    return taste + b.repeat_gain * plays - b.repeat_boredom * plays**2


def utility_of(state: dict, item, now: int, affinity: float, b: BehaviourConfig) -> float:
    freshness = 0.5 ** ((now - int(item["release_step"])) / b.freshness_half_life)
    return (
        b.choice_intercept
        + b.choice_affinity * affinity
        + b.choice_appeal * item["appeal"]
        - b.choice_distrust * (1.0 - state["trust"])
        + b.choice_follow * bool(state["follows"][item["creator"]])
        + b.choice_freshness * freshness
    )


def purchase_chance_of(state: dict, item, affinity: float, b: BehaviourConfig) -> float:
    if item["price"] > state["budget"]:
        return 0.0
    wish = b.purchase_intercept + b.purchase_affinity * affinity + b.purchase_quality * item["quality"]
    return logistic(wish - b.purchase_price * item["price"])


def step_by_hand(session, items, slate: list[int], scenario: Scenario, moods, session_length: int):
    """One step of one session: the outcome, the user's state after it, and the new rows of the history.

    A row is the item and its feedback: slot, click, consumption, submitted rating, purchase, follow.
    """
    b, r = scenario.behaviour, scenario.reward
    state = state_of(session)
    step, now = int(session["step"]), int(session["start_step"] + session["step"])
    candidates, size = session["candidates"], len(slate)

    def chance(purpose: Purpose, index: int = 0) -> float:
        return uniform(session["noise_key"], step, purpose, index)

    def noise(purpose: Purpose) -> float:
        return normal(session["noise_key"], step, purpose, 0)

    # Examine and choose
    examined = 1
    while examined < size and chance(Purpose.EXAMINATION, examined) < b.continue_probability:
        examined += 1
    shown = [slot for slot in range(size) if candidates[slate[slot]] != NO_ITEM and slate[slot] not in slate[:slot]]
    looked_at = [slot for slot in shown if slot < examined]
    item_in = {slot: items[candidates[slate[slot]]] for slot in shown}
    affinities = {slot: affinity_of(state, item_in[slot], b, moods) for slot in looked_at}
    utilities = np.array([0.0, *(utility_of(state, item_in[slot], now, affinities[slot], b) for slot in looked_at)])
    weights = np.exp(utilities - utilities.max())
    answer = int(np.searchsorted(np.cumsum(weights / weights.sum()), chance(Purpose.CHOICE), side="right"))
    chosen = looked_at[answer - 1] if answer else None

    # Respond
    rating = consumption = purchase = expectation = follow = 0.0
    if chosen is not None:
        item, bias, scale = item_in[chosen], session["rating_bias"], session["rating_scale"]
        affinity, sd = affinities[chosen], scale * b.rating_noise
        logit = b.consumption_intercept + b.consumption_affinity * affinity
        logit += b.consumption_quality * item["quality"] + b.consumption_noise * noise(Purpose.CONSUMPTION)
        consumption = logistic(logit)
        if b.is_shop:
            purchase = float(chance(Purpose.PURCHASE) < purchase_chance_of(state, item, affinity, b))
        if purchase or not b.is_shop:
            opinion = bias + scale * (b.rating_affinity * affinity + b.rating_quality * item["quality"])
            rating = 1.0 + sum(opinion + sd * noise(Purpose.RATING) > cut for cut in b.rating_cuts)
            promise = bias + scale * (b.rating_affinity * affinity + b.expectation_appeal * item["appeal"])
            expectation = 1.0 + sum(NORMAL.cdf((promise - cut) / sd) for cut in b.rating_cuts)
            share = {1.0: 1.0, 2.0: 0.5, 3.0: 0.0, 4.0: 0.5, 5.0: 1.0}[rating]
            if rating > 3.0 and not state["follows"][item["creator"]]:
                follow = float(chance(Purpose.FOLLOW) < b.follow_probability * share)
            elif rating < 3.0 and state["follows"][item["creator"]]:
                follow = -float(chance(Purpose.FOLLOW) < b.unfollow_probability * share)

    # Change
    state["satiation"] = [b.satiation_decay * each for each in state["satiation"]]
    if len(moods) > 1:
        state["mood_age"] += 1
        if chance(Purpose.MOOD) < b.mood_change:
            state["mood"] = int(len(moods) * chance(Purpose.MOOD, 1))
            state["mood_age"] = 0
        if state["mood_age"] == b.mood_delay:
            state["seen_mood"] = state["mood"]
    if chosen is not None:
        met = b.satiation_gain * consumption + b.satiation_purchase * purchase
        state["satiation"] = [s + met * t for s, t in zip(state["satiation"], item["topics"], strict=True)]
    if rating == 0.0:
        state["patience"] -= b.patience_skip
    else:
        moved = np.array(state["interests"]) + session["receptiveness"] * (rating - 3.0) / 2.0 * item["factors"]
        state["interests"] = np.clip(moved, -b.interest_limit, b.interest_limit).tolist()
        surprise = rating - expectation
        state["trust"] += (b.trust_gain if surprise > 0.0 else b.trust_loss) * surprise
        state["trust"] = min(max(state["trust"], 0.0), 1.0)
        state["patience"] = min(state["patience"] + b.patience_gain * (rating - 3.0), b.patience_limit)
        state["recent_items"][state["num_consumed"] % LIBRARY_LENGTH] = int(item["index"])
        state["num_consumed"] += 1
        state["budget"] -= purchase * item["price"]
        if follow:
            state["follows"][item["creator"]] = int(follow > 0.0)

    # Reward and end
    has_left = state["patience"] <= 0.0
    terms = [rating / size, (chosen is not None) / size, consumption / size, purchase / size, float(not has_left)]
    reward = np.dot([getattr(r, name) for name in TERMS], terms)
    outcome = (reward, *terms, has_left, step + 1 >= session_length and not has_left)
    submitted = rating if chance(Purpose.RATING_SUBMITTED) < b.rating_probability else 0.0
    of_chosen = (1.0, consumption, submitted, purchase, follow)
    rows = [
        (int(candidates[slate[slot]]), slot, *(of_chosen if slot == chosen else (0.0, 0.0, 0.0, 0.0, 0.0)))
        for slot in shown
    ]
    return outcome, state, rows
