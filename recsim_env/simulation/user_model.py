"""What a user does with a slate, and what it does to the user, in scalar code that Numba compiles.

The code below is the only implementation of the user. With the compiler switched off (`NUMBA_DISABLE_JIT=1`) the same
lines run as plain Python. Each function can be replaced by one of your own; see `custom_user_model`.

Shape legend: D interest factors, K topics, S slots of a slate, L items in the library.
`session`, `item` and `p` (the coefficients) are records; see `records`.
"""

import math

from numba import njit

from recsim_env.simulation.random_streams import Purpose, integer_in, normal, stream, uniform
from recsim_env.simulation.rating_scale import expected_rating_of, rating_of
from recsim_env.simulation.records import NO_ITEM, NUM_RECENT_ITEMS


@njit(cache=True)
def logistic(x):
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


@njit(cache=True)
def familiarity(session, item):
    """How often the item is among the last L that the user consumed."""
    number = 0.0
    for place in range(NUM_RECENT_ITEMS):
        if session.recent_items[place] == item.index:
            number += 1.0
    return number


@njit(cache=True)
def effective_affinity(session, item, p):
    """Interests, less satiation, in this mood, and with the charm of a repeat.

    sum_d w_d f_d - sum_k (s_k - m_k) t_k + gain n - boredom n^2, with n the item's familiarity.
    """
    affinity = 0.0
    for d in range(len(session.interests)):
        affinity += session.interests[d] * item.factors[d]
    for k in range(len(session.satiation)):
        affinity -= (session.satiation[k] - p.moods[session.mood, k]) * item.topics[k]
    if p.repeat_gain != 0.0 or p.repeat_boredom != 0.0:
        number = familiarity(session, item)
        affinity += p.repeat_gain * number - p.repeat_boredom * number * number
    return affinity


@njit(cache=True)
def choice_utility(session, item, affinity, p):
    """Logits of choosing the item against not choosing: affinity + appeal - distrust + freshness + following."""
    utility = (
        p.choice_intercept
        + p.choice_affinity * affinity
        + p.choice_appeal * item.appeal
        - p.choice_distrust * (1.0 - session.trust)
        + p.choice_follow * session.follows[item.creator]
    )
    if p.choice_freshness != 0.0:
        age = session.start_step + session.step - item.release_step
        utility += p.choice_freshness * 0.5 ** (age / p.freshness_half_life)
    return utility


@njit(cache=True)
def mean_opinion(session, affinity, worth, p):
    """Opinion without noise: bias + scale (rating_affinity · affinity + worth)."""
    return session.rating_bias + session.rating_scale * (p.rating_affinity * affinity + worth)


@njit(cache=True)
def draw_rating(session, item, affinity, p):
    """The rating 1..5 that the user gives after consumption, with the noise of this step."""
    noise = session.rating_scale * p.rating_noise * normal(session.noise_key, session.step, Purpose.RATING, 0)
    return rating_of(mean_opinion(session, affinity, p.rating_quality * item.quality, p) + noise, p)


@njit(cache=True)
def expected_rating(session, item, affinity, p):
    """The mean of `draw_rating` over its noise."""
    opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
    return expected_rating_of(opinion, session.rating_scale * p.rating_noise, p)


@njit(cache=True)
def anticipated_rating(session, item, affinity, p):
    """The mean rating that the user expects before consumption, when appeal stands in for quality."""
    opinion = mean_opinion(session, affinity, p.expectation_appeal * item.appeal, p)
    return expected_rating_of(opinion, session.rating_scale * p.rating_noise, p)


@njit(cache=True)
def consumption_logit(item, affinity, p):
    """Logit of the consumed fraction, without its noise."""
    return p.consumption_intercept + p.consumption_affinity * affinity + p.consumption_quality * item.quality


@njit(cache=True)
def purchase_probability(session, item, affinity, p):
    """Chance that an item that is looked at is bought: 0 if it costs more than is left of the budget."""
    if item.price > session.budget:
        return 0.0
    return logistic(
        p.purchase_intercept
        + p.purchase_affinity * affinity
        + p.purchase_quality * item.quality
        - p.purchase_price * item.price
    )


@njit(cache=True)
def examine(session, slate_size, p):
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
    weights = session.scratch
    largest = 0.0  # the utility of not choosing
    for slot in range(examined):
        if is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            weights[slot] = choice_utility(session, item, effective_affinity(session, item, p), p)
            largest = max(largest, weights[slot])
        else:
            weights[slot] = -math.inf
    total = math.exp(-largest)
    for slot in range(examined):
        weights[slot] = math.exp(weights[slot] - largest)
        total += weights[slot]
    remaining = uniform(session.noise_key, session.step, Purpose.CHOICE, 0) * total - math.exp(-largest)
    chosen = -1
    for slot in range(examined):
        if remaining < 0.0:
            break
        if weights[slot] > 0.0:
            remaining -= weights[slot]
            chosen = slot
    return chosen


@njit(cache=True)
def respond(session, item, affinity, p):
    """Part 3, respond to the chosen item: rating (0: none, as it was not bought), consumption, purchase."""
    noise = p.consumption_noise * normal(session.noise_key, session.step, Purpose.CONSUMPTION, 0)
    consumption = logistic(consumption_logit(item, affinity, p) + noise)
    if not p.is_shop:
        return draw_rating(session, item, affinity, p), consumption, 0.0
    chance = uniform(session.noise_key, session.step, Purpose.PURCHASE, 0)
    if chance < purchase_probability(session, item, affinity, p):
        return draw_rating(session, item, affinity, p), consumption, 1.0
    return 0.0, consumption, 0.0


@njit(cache=True)
def follow_response(session, item, rating, p):
    """Whether the user now follows the item's creator (1), no longer does (-1), or leaves it as it is (0)."""
    if rating == 0.0 or (p.follow_probability == 0.0 and p.unfollow_probability == 0.0):
        return 0.0
    liking = (rating - 3.0) / 2.0
    chance = uniform(session.noise_key, session.step, Purpose.FOLLOW, 0)
    if session.follows[item.creator] == 0:
        return 1.0 if chance < p.follow_probability * liking else 0.0
    return -1.0 if chance < -p.unfollow_probability * liking else 0.0


@njit(cache=True)
def decay(session, p):
    """Part 5, change whatever the user does: satiation decays, and the mood may change."""
    for k in range(len(session.satiation)):
        session.satiation[k] *= p.satiation_decay
    num_moods = len(p.moods)
    if num_moods > 1:
        draws = stream(session.noise_key, session.step, Purpose.MOOD)
        session.mood_age += 1
        if uniform(session.noise_key, session.step, Purpose.MOOD, 0) < p.mood_change:
            session.mood = integer_in(draws, 1, num_moods)
            session.mood_age = 0
        if session.mood_age == p.mood_delay:
            session.seen_mood = session.mood


@njit(cache=True)
def skip(session, p):
    """Part 5, change when nothing was worth choosing, or buying: patience."""
    session.patience -= p.patience_skip


@njit(cache=True)
def change(session, item, rating, expectation, consumption, purchase, follow, p):
    """Part 5, change after an item was chosen: interests, satiation, trust, patience, library, budget, following."""
    for k in range(len(session.satiation)):
        session.satiation[k] += (p.satiation_gain * consumption + p.satiation_purchase * purchase) * item.topics[k]
    if rating == 0.0:  # looked at, and not bought
        skip(session, p)
        return
    liking = (rating - 3.0) / 2.0
    for d in range(len(session.interests)):
        moved = session.interests[d] + session.receptiveness * liking * item.factors[d]
        session.interests[d] = min(max(moved, -p.interest_limit), p.interest_limit)
    surprise = rating - expectation
    rate = p.trust_gain if surprise > 0.0 else p.trust_loss
    session.trust = min(max(session.trust + rate * surprise, 0.0), 1.0)
    session.patience = min(session.patience + p.patience_gain * (rating - 3.0), p.patience_limit)
    session.recent_items[session.num_consumed % NUM_RECENT_ITEMS] = item.index
    session.num_consumed += 1
    session.budget -= purchase * item.price
    if follow != 0.0:
        session.follows[item.creator] = 1 if follow > 0.0 else 0


@njit(cache=True)
def has_left(session, p):
    """Part 7, end: the user leaves when patience is used up."""
    return session.patience <= 0.0


@njit(cache=True)
def init_visit(session, user, p):
    """The state in which a user begins a visit; what changes for good (interests, library, following) is left."""
    for k in range(len(session.satiation)):
        session.satiation[k] = 0.0
    session.trust = 1.0
    session.patience = min(user.patience, p.patience_limit)
    session.budget = user.budget
    session.mood = integer_in(stream(session.noise_key, 0, Purpose.MOOD), 2, len(p.moods))
    session.mood_age = 0
    session.seen_mood = session.mood if p.mood_delay == 0 else -1


@njit(cache=True)
def init_user(session, user, p):
    """The state of a user who comes for the first time."""
    for d in range(len(session.interests)):
        session.interests[d] = user.interests[d]
    session.rating_bias = user.rating_bias
    session.rating_scale = user.rating_scale
    session.receptiveness = user.receptiveness
    for c in range(len(session.follows)):
        session.follows[c] = 0
    for place in range(NUM_RECENT_ITEMS):
        session.recent_items[place] = NO_ITEM
    session.num_consumed = 0
    init_visit(session, user, p)


@njit(cache=True)
def expected_reward(session, item, p):
    """Privileged: mean reward of showing this item alone (consumption at its noise's median, no retention)."""
    affinity = effective_affinity(session, item, p)
    worth = p.reward_rating * expected_rating(session, item, affinity, p)
    if p.is_shop:
        worth = purchase_probability(session, item, affinity, p) * (worth + p.reward_purchase)
    worth += p.reward_click + p.reward_consumption * logistic(consumption_logit(item, affinity, p))
    return logistic(choice_utility(session, item, affinity, p)) * worth
