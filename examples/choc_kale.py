"""Choc and kale: a custom user model after RecSim's long-term satisfaction (Ie et al., 2019, arXiv 1909.04847).

Each item has a kaleness k in [0, 1]. Choc (k = 0) engages more now; kale (k = 1) satisfies, and a satisfied user
engages more with every item. With net kale exposure n and satisfaction s = logistic(tau n):

    log engagement ~ Normal(s (k mu_kale + (1 - k) mu_choc), (k sd_kale + (1 - k) sd_choc)^2)
    n' = beta n + 2 (k - 1/2) + Normal(0, eta^2)

The sign follows the paper's text: kale raises satisfaction. (RecSim's code subtracts 2 (k - 1/2).) A user examines the
whole slate, chooses one item by a multinomial logit on 1 - k, and leaves when the time budget, one unit per step, is
used up.

Here k = logistic(quality - appeal): items with high quality and low appeal are kale. The reward is the logarithm of the
engagement, clipped to the range of ratings, [0, 5]. n starts at (u - 1/2) / (1 - beta), with u uniform in [0, 1). beta,
mu and sd are RecSim's defaults; tau is larger, because with 0.01 satisfaction hardly changes and choc is always best.
"""

import math

import gymnasium
from numba import njit

from recsim_env import UserModel
from recsim_env.simulation import user_model
from recsim_env.simulation.random_streams import Purpose, normal, uniform

MEMORY, SENSITIVITY, INNOVATION = 0.7, 0.5, 0.05  # beta, tau, eta
CHOC_MEAN, CHOC_SD, KALE_MEAN, KALE_SD = 5.0, 1.0, 4.0, 1.0
TIME_BUDGET = 60.0
ALWAYS = 50.0  # logits of any choice against no choice
EXPOSURE, TIME_LEFT = 0, 1  # indices in session.custom


@njit
def kaleness(item):
    return 1.0 / (1.0 + math.exp(item.appeal - item.quality))


@njit
def satisfaction(session):
    return 1.0 / (1.0 + math.exp(-SENSITIVITY * session.custom[EXPOSURE]))


def init_visit(session, user, p):
    user_model.init_visit(session, user, p)  # for the state that this model does not use
    session.custom[EXPOSURE] = (uniform(session.noise_key, 0, Purpose.MOOD, 0) - 0.5) / (1.0 - MEMORY)
    session.custom[TIME_LEFT] = TIME_BUDGET


def examine(session, slate_size, p):
    return slate_size


def choice_utility(session, item, affinity, p):
    return ALWAYS + 1.0 - kaleness(item)


@njit
def expected_rating(session, item, affinity, p):  # without clipping to [0, 5]
    k = kaleness(item)
    return satisfaction(session) * (k * KALE_MEAN + (1.0 - k) * CHOC_MEAN)


@njit
def draw_rating(session, item, affinity, p):
    k = kaleness(item)
    sd = k * KALE_SD + (1.0 - k) * CHOC_SD
    noise = sd * normal(session.noise_key, session.step, Purpose.RATING, 0)
    return min(max(expected_rating(session, item, affinity, p) + noise, 0.0), 5.0)


def respond(session, item, affinity, p):
    return draw_rating(session, item, affinity, p), satisfaction(session), 0.0  # rating, consumption, purchase


def decay(session, p):
    session.custom[TIME_LEFT] -= 1.0


def change(session, item, rating, expectation, consumption, purchase, follow, p):
    innovation = INNOVATION * normal(session.noise_key, session.step, Purpose.CONSUMPTION, 0)
    session.custom[EXPOSURE] = MEMORY * session.custom[EXPOSURE] + 2.0 * (kaleness(item) - 0.5) + innovation


def has_left(session, p):
    return session.custom[TIME_LEFT] <= 0.0


CHOC_AND_KALE = UserModel(
    init_visit=init_visit,
    examine=examine,
    choice_utility=choice_utility,
    expected_rating=expected_rating,
    draw_rating=draw_rating,
    respond=respond,
    decay=decay,
    change=change,
    has_left=has_left,
)
OVERRIDES = {
    "catalog": {"quality_sd": 1.5, "appeal_sd": 1.5, "arrivals_per_step": 0.0, "repeat_after": 0},
    "behaviour": {"choose_again_probability": 0.0},
    "reward": {"neutral_rating": 0.0},
}


def make(num_envs: int, **options):
    """N sessions of these users in Video, with a static catalogue of items from choc to kale."""
    options = {
        "observation": "full",
        "user_model": CHOC_AND_KALE,
        "session_length": 200,
        "overrides": OVERRIDES,
        **options,
    }
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **options)


if __name__ == "__main__":
    envs = make(1000)
    cues = [envs.simulator.world.items.feature_names.index(name) for name in ("quality cue", "appeal cue")]
    for name, sign in (("choc", -1.0), ("kale", 1.0)):
        observations, _ = envs.reset(seed=0)
        total = 0.0
        for _ in range(int(TIME_BUDGET)):
            candidates = observations["candidates"].reshape(1000, envs.simulator.config.num_candidates, -1)
            quality_cue, appeal_cue = candidates[:, :, cues].transpose(2, 0, 1)
            observations, rewards, *_ = envs.step((sign * (quality_cue - appeal_cue)).argmax(1))
            total += rewards.mean()
        print(f"always the item that looks most like {name}: {total:.1f}")
