"""Interest evolution: a custom user model after RecSim (Ie et al., arXiv 1909.04847) and SlateQ (arXiv 1905.12767).

A document has one topic d of 20, a length l and a quality L that depends on the topic: 14 topics are trashy, 6 are
nutritious. A user has an interest u_d in [-1, 1] in each topic, initially uniform, and a time budget, and leaves when
it is used up. The user examines the whole slate and chooses one document with probability proportional to u_d + 1, or
none, proportional to 2 (the score of no click, 1, on the same scale). Watching takes l units of time (at most the rest
of the budget), of which (0.9 / 3.4) l S are returned, with the appeal S = (1 - alpha) u_d + alpha L; a slate without a
click costs half a unit. The interest in the watched topic moves by a fraction of its distance from the maximum:

    Delta = y (1 - |u_d|) (1 - u_d)
    u_d' = u_d + Delta with probability (u_d + 1) / 2, and u_d - Delta otherwise, clipped to [-1, 1].

The reward is the watched time, scaled such that a fully watched document has a rating of 5.
"""

import math

import gymnasium
import numpy as np
from numba import njit

from recsim_env import UserModel
from recsim_env.simulation import user_model
from recsim_env.simulation.random_streams import Purpose, uniform

NUM_TOPICS, LENGTH, TIME_BUDGET, SKIP_TIME = 20, 4.0, 200.0, 0.5
QUALITY_WEIGHT, STEP_SIZE, BONUS = 1.0, 0.3, 0.9 / 3.4  # alpha, y
NO_CLICK_SCORE, LOWEST_SCORE = 1.0, -1.0
QUALITY_OF_TOPIC = np.concatenate([np.linspace(-3.0, 0.0, 14), np.linspace(0.0, 3.0, 6)])
TIME_LEFT = 0  # index in session.custom


@njit
def topic_of(item):
    topic = 0
    for k in range(len(item.topics)):
        if item.topics[k] > item.topics[topic]:
            topic = k
    return topic


def init_visit(session, user, p):
    user_model.init_visit(session, user, p)  # for the state that this model does not use
    for d in range(len(session.interests)):
        session.interests[d] = 2.0 * uniform(session.user_key, 0, Purpose.MOOD, d) - 1.0
    session.custom[TIME_LEFT] = TIME_BUDGET


def effective_affinity(session, item, p):
    return session.interests[topic_of(item)]


def examine(session, slate_size, p):
    return slate_size


def choice_utility(session, item, affinity, p):
    return math.log(max(affinity - LOWEST_SCORE, 1e-12) / (NO_CLICK_SCORE - LOWEST_SCORE))  # 0 for no choice


@njit
def draw_rating(session, item, affinity, p):
    return 5.0 * min(session.custom[TIME_LEFT], LENGTH) / LENGTH


def respond(session, item, affinity, p):
    rating = draw_rating(session, item, affinity, p)
    return rating, rating / 5.0, 0.0  # rating, consumption, purchase


def decay(session, p):
    return


def skip(session, p):
    session.custom[TIME_LEFT] -= SKIP_TIME


def change(session, item, rating, expectation, consumption, purchase, follow, p):
    topic = topic_of(item)
    interest, watched = session.interests[topic], consumption * LENGTH
    appeal = (1.0 - QUALITY_WEIGHT) * interest + QUALITY_WEIGHT * (QUALITY_OF_TOPIC[topic] + item.quality)
    session.custom[TIME_LEFT] += BONUS * watched * appeal - watched
    delta = STEP_SIZE * (1.0 - abs(interest)) * (1.0 - interest)
    if uniform(session.noise_key, session.step, Purpose.FOLLOW, 0) >= (interest + 1.0) / 2.0:
        delta = -delta
    session.interests[topic] = min(max(interest + delta, -1.0), 1.0)


def has_left(session, p):
    return session.custom[TIME_LEFT] <= 0.0


INTEREST_EVOLUTION = UserModel(
    init_visit=init_visit,
    effective_affinity=effective_affinity,
    examine=examine,
    choice_utility=choice_utility,
    draw_rating=draw_rating,
    expected_rating=draw_rating,
    respond=respond,
    decay=decay,
    skip=skip,
    change=change,
    has_left=has_left,
)
OVERRIDES = {
    "catalog": {
        "num_topics": NUM_TOPICS,
        "topic_concentration": 0.01,
        "quality_sd": 0.1**0.5,
        "arrivals_per_step": 0.0,
        "repeat_after": 0,
    },
    "behaviour": {"choose_again_probability": 0.0},
    "reward": {"neutral_rating": 0.0},
}


def make(num_envs: int, **options):
    """N sessions of these users, with a static catalogue of 2,000 documents."""
    options = {"user_model": INTEREST_EVOLUTION, "session_length": 2_000, "overrides": OVERRIDES, **options}
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **options)
