"""The user model: how a user examines a slate, chooses, responds, changes and leaves, in scalar code for Numba.

This is the only implementation of the user. With the compiler switched off (`NUMBA_DISABLE_JIT=1`) the same lines run
as plain Python. A custom user model replaces any of these functions; see `custom_user_model`.

Shape legend: D interest factors, K topics, S slots of a slate, L recently consumed items.
`session`, `item` and `p` (the coefficients) are records; see `records`.
"""

import math

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.random_streams import Purpose, integer_in, normal, stream, uniform
from recsim_env.simulation.rating_scale import expected_rating_of, rating_of
from recsim_env.simulation.records import NO_ITEM, NUM_RECENT_ITEMS


@compiled
def logistic(x):
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


@compiled
def familiarity(session, item):
    """Number of times that the item is among the L items consumed last."""
    count = 0.0
    for index in range(NUM_RECENT_ITEMS):
        if session.recent_items[index] == item.index:
            count += 1.0
    return count


@compiled
def effective_affinity(session, item, p):
    """Affinity of interests and item, minus satiation, plus the effects of mood and familiarity.

    sum_d w_d f_d - sum_k (s_k - m_k) t_k + gain n - boredom n^2, with n the item's familiarity.
    """
    affinity = 0.0
    for d in range(len(session.interests)):
        affinity += session.interests[d] * item.factors[d]
    for k in range(len(session.satiation)):
        affinity -= (session.satiation[k] - p.moods[session.mood, k]) * item.topics[k]
    if p.repeat_gain != 0.0 or p.repeat_boredom != 0.0:
        n = familiarity(session, item)
        affinity += p.repeat_gain * n - p.repeat_boredom * n * n
    return affinity


@compiled
def choice_utility(session, item, affinity, p):
    """Utility of choosing the item, in logits; that of not choosing is 0.

    Affinity, appeal, distrust (negative), freshness, and whether the user follows the creator.
    """
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


@compiled
def mean_opinion(session, affinity, perceived_quality, p):
    """Opinion without noise: bias + scale (rating_affinity · affinity + quality), with quality as the user sees it."""
    return session.rating_bias + session.rating_scale * (p.rating_affinity * affinity + perceived_quality)


@compiled
def draw_rating(session, item, affinity, p):
    """Rating after consumption, with the noise of this step."""
    draw = normal(session.noise_key, session.step, Purpose.RATING, session.num_choices)
    noise = session.rating_scale * p.rating_noise * draw
    return rating_of(mean_opinion(session, affinity, p.rating_quality * item.quality, p) + noise, p)


@compiled
def expected_rating(session, item, affinity, p):
    """Mean of `draw_rating` over its noise."""
    opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
    return expected_rating_of(opinion, session.rating_scale * p.rating_noise, p)


@compiled
def anticipated_rating(session, item, affinity, p):
    """Mean rating that the user anticipates before consumption, from appeal in place of quality."""
    opinion = mean_opinion(session, affinity, p.expectation_appeal * item.appeal, p)
    return expected_rating_of(opinion, session.rating_scale * p.rating_noise, p)


@compiled
def consumption_logit(item, affinity, p):
    """Logit of the consumed fraction, without its noise."""
    return p.consumption_intercept + p.consumption_affinity * affinity + p.consumption_quality * item.quality


@compiled
def purchase_probability(session, item, affinity, p):
    """Probability of buying a clicked item; 0 if its price exceeds the remaining budget."""
    if item.price > session.budget:
        return 0.0
    return logistic(
        p.purchase_intercept
        + p.purchase_affinity * affinity
        + p.purchase_quality * item.quality
        - p.purchase_price * item.price
    )


@compiled
def examine(session, slate_size, p):
    """Part 1, examine: number of slots examined, from the top, with a fixed probability of continuing after each."""
    num_examined = 1
    while num_examined < slate_size and (
        uniform(session.noise_key, session.step, Purpose.EXAMINATION, num_examined) < p.continue_probability
    ):
        num_examined += 1
    return num_examined


@compiled
def is_shown(session, slate, slot):
    """Whether a slot shows an item: its candidate exists and is in no higher slot."""
    if session.candidates[slate[slot]] == NO_ITEM:
        return False
    for earlier in range(slot):  # noqa: SIM110 (Numba has no generator expressions)
        if slate[earlier] == slate[slot]:
            return False
    return True


@compiled
def choose(session, items, slate, num_examined, p):
    """Part 2, choose: the chosen slot, or -1; multinomial logit over the examined slots and not choosing.

    Slots that are clicked already are left out: after a click the user may choose again (`chooses_again`).
    """
    weights = session.choice_weights
    largest = 0.0  # the utility of not choosing
    for slot in range(num_examined):
        if session.clicked[slot] == 0 and is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            weights[slot] = choice_utility(session, item, effective_affinity(session, item, p), p)
            largest = max(largest, weights[slot])
        else:
            weights[slot] = -math.inf
    total = math.exp(-largest)
    for slot in range(num_examined):
        weights[slot] = math.exp(weights[slot] - largest)
        total += weights[slot]
    draw = uniform(session.noise_key, session.step, Purpose.CHOICE, session.num_choices)
    remaining = draw * total - math.exp(-largest)
    chosen = -1
    for slot in range(num_examined):
        if remaining < 0.0:
            break
        if weights[slot] > 0.0:
            remaining -= weights[slot]
            chosen = slot
    return chosen


@compiled
def chooses_again(session, slate_size, p):
    """Part 2, choose: whether the user considers the rest of the slate after a click."""
    if session.num_choices >= slate_size:
        return False
    draw = uniform(session.noise_key, session.step, Purpose.CHOICE_CONTINUES, session.num_choices)
    return draw < p.choose_again_probability


@compiled
def respond(session, item, affinity, p):
    """Part 3, respond to the chosen item: rating (0 without a purchase in a shop), consumed fraction, purchase."""
    noise = p.consumption_noise * normal(session.noise_key, session.step, Purpose.CONSUMPTION, session.num_choices)
    consumption = logistic(consumption_logit(item, affinity, p) + noise)
    if not p.is_shop:
        return draw_rating(session, item, affinity, p), consumption, 0.0
    draw = uniform(session.noise_key, session.step, Purpose.PURCHASE, session.num_choices)
    if draw < purchase_probability(session, item, affinity, p):
        return draw_rating(session, item, affinity, p), consumption, 1.0
    return 0.0, consumption, 0.0


@compiled
def follow_response(session, item, rating, p):
    """Part 3, respond to the creator: 1 to follow, -1 to unfollow, 0 for no change."""
    if rating == 0.0 or (p.follow_probability == 0.0 and p.unfollow_probability == 0.0):
        return 0.0
    satisfaction = (rating - 3.0) / 2.0
    draw = uniform(session.noise_key, session.step, Purpose.FOLLOW, session.num_choices)
    if session.follows[item.creator] == 0:
        return 1.0 if draw < p.follow_probability * satisfaction else 0.0
    return -1.0 if draw < -p.unfollow_probability * satisfaction else 0.0


@compiled
def decay(session, p):
    """Part 4, change in every step: satiation decays, and the mood may change."""
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


@compiled
def skip(session, p):
    """Part 4, change after a step without a choice, or a click without a purchase: lower patience, satisfaction."""
    session.patience -= p.patience_skip
    session.satisfaction += p.satisfaction_rate * (p.satisfaction_skip - session.satisfaction)


@compiled
def change(session, item, rating, expectation, consumption, purchase, follow, p):
    """Part 4, change after a choice: interests, satiation, trust, patience, recent items, budget, followed creators."""
    for k in range(len(session.satiation)):
        session.satiation[k] += (p.satiation_gain * consumption + p.satiation_purchase * purchase) * item.topics[k]
    if rating == 0.0:  # clicked, but not bought
        skip(session, p)
        session.trust = max(session.trust - p.trust_no_purchase, 0.0)
        return
    satisfaction = (rating - 3.0) / 2.0
    for d in range(len(session.interests)):
        interest = session.interests[d] + session.receptiveness * satisfaction * item.factors[d]
        session.interests[d] = min(max(interest, -p.interest_limit), p.interest_limit)
    session.satisfaction += p.satisfaction_rate * (satisfaction - session.satisfaction)
    surprise = rating - expectation
    rate = p.trust_gain if surprise > 0.0 else p.trust_loss
    session.trust = min(max(session.trust + rate * surprise, 0.0), 1.0)
    session.patience = min(session.patience + p.patience_gain * (rating - 3.0), p.patience_limit)
    session.recent_items[session.num_consumed % NUM_RECENT_ITEMS] = item.index
    session.num_consumed += 1
    session.budget -= purchase * item.price
    if follow != 0.0:
        session.follows[item.creator] = 1 if follow > 0.0 else 0


@compiled
def has_left(session, p):
    """Part 5, end: the user leaves when patience is exhausted."""
    return session.patience <= 0.0


@compiled
def is_visit_over(session, p):
    """Part 5, end of a visit in a lifetime: the user leaves, or has no more time."""
    return has_left(session, p) or session.step - session.visit_start >= p.visit_length


@compiled
def return_hazard(session, p):
    """Hazard rate of returning, per day of absence: rate · exp(a · satisfaction + b · habit)."""
    return p.return_rate * math.exp(p.return_satisfaction * session.satisfaction + p.return_habit * session.habit)


@compiled
def draw_absence(session, p):
    """Part 5, end of a visit: days until the user returns, exponential with the rate `return_hazard`."""
    draw = uniform(session.noise_key, session.step, Purpose.ABSENCE, 0)
    return -math.log1p(-draw) / return_hazard(session, p)


@compiled
def end_visit(session, p):
    """Part 5, change at the end of a visit: the habit grows."""
    session.habit += p.habit_gain * (1.0 - session.habit)


@compiled
def return_after(session, days, p):
    """Part 5, change in an absence: satiation and habit decay, trust recovers, interests drift; a new visit begins."""
    session.habit *= math.exp(-p.habit_decay * days)
    session.trust = 1.0 - (1.0 - session.trust) * math.exp(-p.trust_recovery * days)
    remaining = p.satiation_decay ** (days * p.day_length)
    for k in range(len(session.satiation)):
        session.satiation[k] *= remaining
    if p.interest_drift > 0.0:
        drift = p.interest_drift * math.sqrt(days)
        for d in range(len(session.interests)):
            interest = session.interests[d] + drift * normal(session.noise_key, session.step, Purpose.DRIFT, d)
            session.interests[d] = min(max(interest, -p.interest_limit), p.interest_limit)
    begin_visit(session, p)


@compiled
def begin_visit(session, p):
    """Set the state that restarts in each visit: patience, budget and mood."""
    session.patience, session.budget = session.usual_patience, session.usual_budget
    session.mood = integer_in(stream(session.noise_key, session.step, Purpose.MOOD), 2, len(p.moods))
    session.mood_age = 0
    session.seen_mood = session.mood if p.mood_delay == 0 else -1


@compiled
def init_visit(session, user, p):
    """Set the state at the first visit of an episode, except for interests, satisfaction, recent items and followed
    creators, which a logged history may have changed."""
    for k in range(len(session.satiation)):
        session.satiation[k] = 0.0
    session.trust = p.initial_trust
    session.usual_patience = min(user.patience, p.patience_limit)
    session.usual_budget = user.budget
    begin_visit(session, p)


@compiled
def init_user(session, user, p):
    """Set the state of a new user."""
    for d in range(len(session.interests)):
        session.interests[d] = user.interests[d]
    session.rating_bias = user.rating_bias
    session.rating_scale = user.rating_scale
    session.receptiveness = user.receptiveness
    for c in range(len(session.follows)):
        session.follows[c] = 0
    for index in range(NUM_RECENT_ITEMS):
        session.recent_items[index] = NO_ITEM
    session.num_consumed = 0
    session.satisfaction = 0.0
    session.habit = 0.0
    init_visit(session, user, p)


@compiled
def click_value(session, item, affinity, p):
    """Privileged: mean reward of a click, with consumption without noise, and without the terms of retention."""
    value = p.reward_rating * (expected_rating(session, item, affinity, p) - p.reward_neutral_rating)
    if p.is_shop:
        value = purchase_probability(session, item, affinity, p) * (value + p.reward_purchase)
    return value + p.reward_click + p.reward_consumption * logistic(consumption_logit(item, affinity, p))


@compiled
def expected_reward(session, item, p):
    """Privileged: mean reward of showing this item alone; see `click_value`."""
    affinity = effective_affinity(session, item, p)
    return logistic(choice_utility(session, item, affinity, p)) * click_value(session, item, affinity, p)
