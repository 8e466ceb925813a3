"""What a user does with a slate: one step of one session, in scalar code that Numba compiles.

The code below is the only implementation of the user. With the compiler switched off (`NUMBA_DISABLE_JIT=1`)
the same lines run as plain Python. A step has seven parts, in this order: examine, choose, respond, reward,
change, arrivals, end.

Shape legend: D interest factors, K topics, M candidates, S slots of a slate, H shown items in the history.
`session`, `item`, `user`, `outcome` and `p` (the parameters) are records; see `session_dtype` and its siblings.
"""

import dataclasses
import math

import numpy as np
from numba import njit

from recsim_env.config import BehaviourConfig, RewardConfig
from recsim_env.random_streams import Purpose, integer_in, normal, stream, uniform

NO_ITEM = -1
"""The id of a candidate that is missing, and of an empty row of the history."""

outcome_dtype = np.dtype(
    [
        ("reward", "f8"),  # weighted sum of the four terms below
        ("rating", "f8"),  # mean over slots, 0 for what was not consumed; 0..5
        ("click", "f8"),  # share of slots clicked; 0..1
        ("consumption", "f8"),  # mean consumed fraction over slots; 0..1
        ("retention", "f8"),  # 1 if the user is still there after the step
        ("terminated", "?"),
        ("truncated", "?"),
    ],
    align=True,
)


def item_dtype(num_factors: int, num_topics: int) -> np.dtype:
    """Record of one item, all of it latent but the two steps."""
    return np.dtype(
        [
            ("factors", "f8", (num_factors,)),  # what interests multiply
            ("topics", "f8", (num_topics,)),  # on the simplex; what satiates
            ("quality", "f8"),  # what it is worth after consumption
            ("appeal", "f8"),  # what makes one click
            ("release_step", "i8"),  # platform time; ascending over the catalogue
            ("retire_step", "i8"),  # platform time; ascending too
        ],
        align=True,
    )


def user_dtype(num_factors: int) -> np.dtype:
    """Record of one user as he or she starts a session, all of it latent."""
    return np.dtype(
        [
            ("interests", "f8", (num_factors,)),
            ("rating_bias", "f8"),
            ("rating_scale", "f8"),
            ("patience", "f8"),
            ("receptiveness", "f8"),
        ],
        align=True,
    )


def session_dtype(num_factors: int, num_topics: int, num_candidates: int, history_length: int) -> np.dtype:
    """Record of one session: its keys, the user's changing state, the candidates and the history."""
    return np.dtype(
        [
            ("world_key", "u8"),
            ("user_key", "u8"),
            ("noise_key", "u8"),
            ("step", "i8"),  # steps taken
            ("start_step", "i8"),  # platform time when the session began
            ("user", "i8"),  # index into the population
            ("interests", "f8", (num_factors,)),
            ("satiation", "f8", (num_topics,)),  # >= 0
            ("trust", "f8"),  # 0..1
            ("patience", "f8"),  # the user leaves at 0
            ("rating_bias", "f8"),
            ("rating_scale", "f8"),
            ("receptiveness", "f8"),
            ("first_item", "i8"),  # items [first_item, end_item) are on the shelf
            ("end_item", "i8"),
            ("candidates", "i4", (num_candidates,)),  # item ids, NO_ITEM where missing
            ("num_shown", "i8"),  # items shown so far; the n-th is in row n % H of the next two
            ("history_items", "i4", (history_length,)),
            ("history_feedback", "f4", (history_length, 4)),  # slot, click, consumption, rating (0: none)
        ],
        align=True,
    )


_START_FIELDS = [("first_start", "i8"), ("num_starts", "i8"), ("session_length", "i8")]


def parameter_dtype() -> np.dtype:
    """Record of the coefficients: `BehaviourConfig`, `RewardConfig` with a prefix, and the session's frame."""
    behaviour = [
        (f.name, "f8", (4,)) if f.name == "rating_cuts" else (f.name, "f8") for f in dataclasses.fields(BehaviourConfig)
    ]
    rewards = [(f"reward_{f.name}", "f8") for f in dataclasses.fields(RewardConfig)]
    return np.dtype(behaviour + rewards + _START_FIELDS, align=True)


def make_parameters(
    behaviour: BehaviourConfig, reward: RewardConfig, session_length: int, first_start: int, num_starts: int
) -> np.ndarray:
    """The parameters as an array of one record, which is how compiled code takes them."""
    parameters = np.zeros(1, parameter_dtype())
    for name, value in dataclasses.asdict(behaviour).items():
        parameters[name] = value
    for name, value in dataclasses.asdict(reward).items():
        parameters[f"reward_{name}"] = value
    parameters["session_length"] = session_length
    parameters["first_start"] = first_start
    parameters["num_starts"] = num_starts
    return parameters


@njit(cache=True)
def logistic(x):
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


@njit(cache=True)
def effective_affinity(session, item):
    """Interests minus satiation: sum_d w_d f_d - sum_k s_k t_k."""
    affinity = 0.0
    for d in range(len(session.interests)):
        affinity += session.interests[d] * item.factors[d]
    for k in range(len(session.satiation)):
        affinity -= session.satiation[k] * item.topics[k]
    return affinity


@njit(cache=True)
def choice_utility(session, item, affinity, p):
    """Logits of choosing the item against not choosing: affinity + appeal - distrust."""
    return (
        p.choice_intercept
        + p.choice_affinity * affinity
        + p.choice_appeal * item.appeal
        - p.choice_distrust * (1.0 - session.trust)
    )


@njit(cache=True)
def stars(opinion, p):
    """Rating 1..5 of an opinion: 1 + the number of cuts below it."""
    rating = 1.0
    for k in range(4):
        if opinion > p.rating_cuts[k]:
            rating += 1.0
    return rating


@njit(cache=True)
def mean_opinion(session, affinity, worth, p):
    """Opinion without noise: bias + scale (rating_affinity · affinity + worth)."""
    return session.rating_bias + session.rating_scale * (p.rating_affinity * affinity + worth)


@njit(cache=True)
def expected_stars(opinion, noise_sd, p):
    """Mean rating of an opinion with Gaussian noise: 1 + sum_k Phi((opinion - cut_k) / noise_sd)."""
    rating = 1.0
    for k in range(4):
        rating += 0.5 * math.erfc((p.rating_cuts[k] - opinion) / (noise_sd * math.sqrt(2.0)))
    return rating


@njit(cache=True)
def num_examined(session, slate_size, p):
    """Part 1, examine: the user looks at slots from the top, and goes on to the next with a fixed chance."""
    examined = 1
    while examined < slate_size and (
        uniform(session.noise_key, session.step, Purpose.EXAMINATION, examined) < p.continue_probability
    ):
        examined += 1
    return examined


@njit(cache=True)
def is_shown(session, slate, slot):
    """A slot is empty if its candidate is missing or stands higher up on the slate already."""
    if session.candidates[slate[slot]] == NO_ITEM:
        return False
    for earlier in range(slot):  # noqa: SIM110 (Numba has no generator expressions)
        if slate[earlier] == slate[slot]:
            return False
    return True


@njit(cache=True)
def choose(session, items, slate, examined, p):
    """Part 2, choose: multinomial logit over the examined slots and not choosing; the slot, or -1."""
    largest = 0.0
    for slot in range(examined):
        if is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            largest = max(largest, choice_utility(session, item, effective_affinity(session, item), p))
    total = math.exp(-largest)
    for slot in range(examined):
        if is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            utility = choice_utility(session, item, effective_affinity(session, item), p)
            total += math.exp(utility - largest)
    remaining = uniform(session.noise_key, session.step, Purpose.CHOICE, 0) * total - math.exp(-largest)
    if remaining < 0.0:
        return -1
    chosen = -1
    for slot in range(examined):
        if is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            utility = choice_utility(session, item, effective_affinity(session, item), p)
            remaining -= math.exp(utility - largest)
            chosen = slot
            if remaining < 0.0:
                break
    return chosen


@njit(cache=True)
def change(session, item, rating, expectation, consumption, p):
    """Part 5, change after an item was consumed: interests, satiation, trust, patience."""
    liking = (rating - 3.0) / 2.0
    for d in range(len(session.interests)):
        moved = session.interests[d] + session.receptiveness * liking * item.factors[d]
        session.interests[d] = min(max(moved, -p.interest_limit), p.interest_limit)
    for k in range(len(session.satiation)):
        session.satiation[k] += p.satiation_gain * consumption * item.topics[k]
    surprise = rating - expectation
    rate = p.trust_gain if surprise > 0.0 else p.trust_loss
    session.trust = min(max(session.trust + rate * surprise, 0.0), 1.0)
    session.patience = min(session.patience + p.patience_gain * (rating - 3.0), p.patience_limit)


@njit(cache=True)
def remember(session, item_id, slot, click, consumption, rating):
    """Write one shown item and its feedback into the history."""
    row = session.num_shown % len(session.history_items)
    session.history_items[row] = item_id
    session.history_feedback[row, 0] = slot
    session.history_feedback[row, 1] = click
    session.history_feedback[row, 2] = consumption
    session.history_feedback[row, 3] = rating
    session.num_shown += 1


@njit(cache=True)
def move_shelf(session, items):
    """Part 6, arrivals: what is released by now and not yet retired is on the shelf."""
    now = session.start_step + session.step
    while session.end_item < len(items) and items[session.end_item].release_step <= now:
        session.end_item += 1
    while session.first_item < session.end_item and items[session.first_item].retire_step <= now:
        session.first_item += 1


@njit(cache=True)
def draw_candidates(session):
    """Draw M distinct items from the shelf, each order equally likely; NO_ITEM where the shelf is too short."""
    num_candidates = len(session.candidates)
    num_available = session.end_item - session.first_item
    num_drawn = min(num_candidates, num_available)
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    draw = 0
    for j in range(num_drawn):
        is_new = False
        while not is_new:  # what has been drawn before is drawn again
            item = session.first_item + integer_in(draws, draw, num_available)
            draw += 1
            is_new = True
            for earlier in range(j):
                if session.candidates[earlier] == item:
                    is_new = False
        session.candidates[j] = item
    for j in range(num_drawn, num_candidates):
        session.candidates[j] = NO_ITEM


@njit(cache=True)
def start_session(session, users, items, p):
    """Begin a session whose three keys are set: who comes, when, and the first candidates."""
    session.step = 0
    session.start_step = p.first_start + integer_in(stream(session.world_key, 0, Purpose.START), 0, p.num_starts)
    session.user = integer_in(stream(session.user_key, 0, Purpose.USER), 0, len(users))
    user = users[session.user]
    for d in range(len(session.interests)):
        session.interests[d] = user.interests[d]
    for k in range(len(session.satiation)):
        session.satiation[k] = 0.0
    session.trust = 1.0
    session.patience = min(user.patience, p.patience_limit)
    session.rating_bias = user.rating_bias
    session.rating_scale = user.rating_scale
    session.receptiveness = user.receptiveness
    session.num_shown = 0
    for row in range(len(session.history_items)):
        session.history_items[row] = NO_ITEM
        for column in range(4):
            session.history_feedback[row, column] = 0.0
    low, high = 0, len(items)
    while low < high:  # the first item that has not retired yet
        middle = (low + high) // 2
        if items[middle].retire_step <= session.start_step:
            low = middle + 1
        else:
            high = middle
    session.first_item = low
    session.end_item = low
    move_shelf(session, items)
    draw_candidates(session)


@njit(cache=True)
def step_session(session, items, slate, outcome, p):
    """Show `slate` (S indices of candidates) to the user, and write what came of it into `outcome`."""
    slate_size = len(slate)
    chosen = choose(session, items, slate, num_examined(session, slate_size, p), p)

    rating, consumption, submitted, expectation = 0.0, 0.0, 0.0, 0.0
    if chosen >= 0:  # part 3, respond
        item = items[session.candidates[slate[chosen]]]
        affinity = effective_affinity(session, item)
        noise_sd = session.rating_scale * p.rating_noise
        opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
        rating = stars(opinion + noise_sd * normal(session.noise_key, session.step, Purpose.RATING, 0), p)
        if uniform(session.noise_key, session.step, Purpose.RATING_SUBMITTED, 0) < p.rating_probability:
            submitted = rating
        consumption = logistic(
            p.consumption_intercept
            + p.consumption_affinity * affinity
            + p.consumption_quality * item.quality
            + p.consumption_noise * normal(session.noise_key, session.step, Purpose.CONSUMPTION, 0)
        )
        promise = mean_opinion(session, affinity, p.expectation_appeal * item.appeal, p)
        expectation = expected_stars(promise, noise_sd, p)
    for k in range(len(session.satiation)):
        session.satiation[k] *= p.satiation_decay
    if chosen >= 0:
        change(session, items[session.candidates[slate[chosen]]], rating, expectation, consumption, p)
    else:
        session.patience -= p.patience_skip
    for slot in range(slate_size):
        if is_shown(session, slate, slot):
            is_chosen = slot == chosen
            remember(
                session,
                session.candidates[slate[slot]],
                slot,
                1.0 if is_chosen else 0.0,
                consumption if is_chosen else 0.0,
                submitted if is_chosen else 0.0,
            )

    session.step += 1
    move_shelf(session, items)
    draw_candidates(session)
    outcome.terminated = session.patience <= 0.0  # part 7, end
    outcome.truncated = session.step >= p.session_length and not outcome.terminated

    outcome.rating = rating / slate_size  # part 4, reward
    outcome.click = (1.0 if chosen >= 0 else 0.0) / slate_size
    outcome.consumption = consumption / slate_size
    outcome.retention = 0.0 if outcome.terminated else 1.0
    outcome.reward = (
        p.reward_rating * outcome.rating
        + p.reward_click * outcome.click
        + p.reward_consumption * outcome.consumption
        + p.reward_retention * outcome.retention
    )


@njit(cache=True)
def expected_reward(session, item, p):
    """Privileged: mean reward of showing this item alone (consumption at its noise's median, no retention)."""
    affinity = effective_affinity(session, item)
    opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
    worth = (
        p.reward_rating * expected_stars(opinion, session.rating_scale * p.rating_noise, p)
        + p.reward_click
        + p.reward_consumption
        * logistic(p.consumption_intercept + p.consumption_affinity * affinity + p.consumption_quality * item.quality)
    )
    return logistic(choice_utility(session, item, affinity, p)) * worth
