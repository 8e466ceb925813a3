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
    *("follows", "recent_items", "num_consumed", "satisfaction", "habit"),
)
TERMS = ("rating", "click", "consumption", "purchase", "retention", "visit", "active_day")
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
    b, r, rate = scenario.behaviour, scenario.reward, scenario.lifetime.satisfaction_rate
    state = state_of(session)
    step, now = int(session["step"]), int(session["start_step"] + session["step"])
    candidates, size = session["candidates"], len(slate)

    def chance(purpose: Purpose, index: int = 0) -> float:
        return uniform(session["noise_key"], step, purpose, index)

    def noise(purpose: Purpose, index: int) -> float:
        return normal(session["noise_key"], step, purpose, index)

    def skip() -> None:
        state["patience"] -= b.patience_skip
        state["satisfaction"] += rate * (scenario.lifetime.satisfaction_skip - state["satisfaction"])

    def decay() -> None:
        state["satiation"] = [b.satiation_decay * each for each in state["satiation"]]
        if len(moods) > 1:
            state["mood_age"] += 1
            if chance(Purpose.MOOD) < b.mood_change:
                state["mood"] = int(len(moods) * chance(Purpose.MOOD, 1))
                state["mood_age"] = 0
            if state["mood_age"] == b.mood_delay:
                state["seen_mood"] = state["mood"]

    # Examine
    examined = 1
    while examined < size and chance(Purpose.EXAMINATION, examined) < b.continue_probability:
        examined += 1
    shown = [slot for slot in range(size) if candidates[slate[slot]] != NO_ITEM and slate[slot] not in slate[:slot]]
    item_in = {slot: items[candidates[slate[slot]]] for slot in shown}

    answers: dict[int, tuple[float, ...]] = {}
    rating_sum = 0.0
    while True:
        # Choose
        looked_at = [slot for slot in shown if slot < examined and slot not in answers]
        affinities = {slot: affinity_of(state, item_in[slot], b, moods) for slot in looked_at}
        utilities = [0.0, *(utility_of(state, item_in[slot], now, affinities[slot], b) for slot in looked_at)]
        weights = np.exp(np.array(utilities) - max(utilities))
        draw, index = chance(Purpose.CHOICE, len(answers)), len(answers)
        answer = int(np.searchsorted(np.cumsum(weights / weights.sum()), draw, side="right"))
        if not answers:
            decay()
        if not answer:
            break
        chosen = looked_at[answer - 1]

        # Respond
        rating = purchase = expectation = follow = submitted = 0.0
        item, bias, scale = item_in[chosen], session["rating_bias"], session["rating_scale"]
        affinity, sd = affinities[chosen], scale * b.rating_noise
        logit = b.consumption_intercept + b.consumption_affinity * affinity
        logit += b.consumption_quality * item["quality"] + b.consumption_noise * noise(Purpose.CONSUMPTION, index)
        consumption = logistic(logit)
        if b.is_shop:
            purchase = float(chance(Purpose.PURCHASE, index) < purchase_chance_of(state, item, affinity, b))
        if purchase or not b.is_shop:
            opinion = bias + scale * (b.rating_affinity * affinity + b.rating_quality * item["quality"])
            rating = 1.0 + sum(opinion + sd * noise(Purpose.RATING, index) > cut for cut in b.rating_cuts)
            promise = bias + scale * (b.rating_affinity * affinity + b.expectation_appeal * item["appeal"])
            expectation = 1.0 + sum(NORMAL.cdf((promise - cut) / sd) for cut in b.rating_cuts)
            share = {1.0: 1.0, 2.0: 0.5, 3.0: 0.0, 4.0: 0.5, 5.0: 1.0}[rating]
            if rating > 3.0 and not state["follows"][item["creator"]]:
                follow = float(chance(Purpose.FOLLOW, index) < b.follow_probability * share)
            elif rating < 3.0 and state["follows"][item["creator"]]:
                follow = -float(chance(Purpose.FOLLOW, index) < b.unfollow_probability * share)
            submitted = rating if chance(Purpose.RATING_SUBMITTED, index) < b.rating_probability else 0.0

        # Change
        met = b.satiation_gain * consumption + b.satiation_purchase * purchase
        state["satiation"] = [s + met * t for s, t in zip(state["satiation"], item["topics"], strict=True)]
        if rating == 0.0:
            skip()
            state["trust"] = max(state["trust"] - b.trust_no_purchase, 0.0)
        else:
            satisfaction = (rating - 3.0) / 2.0
            moved = np.array(state["interests"]) + session["receptiveness"] * satisfaction * item["factors"]
            state["interests"] = np.clip(moved, -b.interest_limit, b.interest_limit).tolist()
            state["satisfaction"] += rate * (satisfaction - state["satisfaction"])
            surprise = rating - expectation
            state["trust"] += (b.trust_gain if surprise > 0.0 else b.trust_loss) * surprise
            state["trust"] = min(max(state["trust"], 0.0), 1.0)
            state["patience"] = min(state["patience"] + b.patience_gain * (rating - 3.0), b.patience_limit)
            state["recent_items"][state["num_consumed"] % LIBRARY_LENGTH] = int(item["index"])
            state["num_consumed"] += 1
            state["budget"] -= purchase * item["price"]
            if follow:
                state["follows"][item["creator"]] = int(follow > 0.0)
        rating_sum += rating
        answers[chosen] = (1.0, consumption, submitted, purchase, follow)
        if len(answers) == size or chance(Purpose.CHOICE_CONTINUES, len(answers)) >= b.choose_again_probability:
            break
    if not answers:
        skip()

    # Reward and end
    has_left = state["patience"] <= 0.0
    clicks, consumptions, _, purchases, _ = np.array([*answers.values(), (0.0,) * 5]).sum(0) / size
    terms = [rating_sum / size, clicks, consumptions, purchases, float(not has_left), 0.0, 0.0]
    num_rated = purchases if b.is_shop else clicks
    reward = np.dot([getattr(r, name) for name in TERMS], terms) - r.rating * r.neutral_rating * num_rated
    outcome = (reward, *terms, has_left, step + 1 >= session_length and not has_left)
    rows = [(int(candidates[slate[slot]]), slot, *answers.get(slot, (0.0, 0.0, 0.0, 0.0, 0.0))) for slot in shown]
    return outcome, state, rows
