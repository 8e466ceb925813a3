"""Counter-based random numbers: each draw is a hash of (key, step, purpose, index), independent of the order of draws.

A *key* is an unsigned 64-bit integer. A session has three: a world key (start time and candidates), a user key (which
user) and a noise key (the user's responses). The hash is the output function of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014), applied once for each component.
"""

from enum import IntEnum

import numpy as np
from numba import config as numba_config

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.normal_distribution import normal_quantile

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_DOUBLE_UNIT = 1.0 / 9007199254740992.0  # 2**-53


class Purpose(IntEnum):
    """The purpose of a draw; different purposes have independent streams."""

    START = 1
    USER = 2
    CANDIDATES = 3
    EXAMINATION = 4
    CHOICE = 5
    RATING = 6
    RATING_SUBMITTED = 7
    CONSUMPTION = 8
    WORLD_KEY = 9
    USER_KEY = 10
    NOISE_KEY = 11
    PLANNING = 12
    PURCHASE = 13
    FOLLOW = 14
    MOOD = 15
    TENURE = 16
    LOG = 17
    CUSTOM = 18
    """Free for custom user models."""
    CHOICE_CONTINUES = 19
    ABSENCE = 20
    DRIFT = 21


def wrapping(function):
    """`compiled`, for arithmetic modulo powers of 2: without the compiler, NumPy does not warn of overflow."""
    return np.errstate(over="ignore")(function) if numba_config.DISABLE_JIT else compiled(function)


@wrapping
def mix(x):
    """SplitMix64's output function: a bijection of uint64 in which each input bit affects all output bits."""
    x = (x ^ (x >> _SHIFT_30)) * _MULTIPLIER_1
    x = (x ^ (x >> _SHIFT_27)) * _MULTIPLIER_2
    return x ^ (x >> _SHIFT_31)


@wrapping
def combine(key, number):
    """A new key from a key and a non-negative integer."""
    return mix(np.uint64(key) + (np.uint64(number) + np.uint64(1)) * GOLDEN)


@compiled
def stream(key, step, purpose):
    """The key of the stream of draws for one purpose in one step."""
    return combine(combine(key, step), purpose)


@compiled
def uniform_in(one_stream, index):
    """Draw number `index` of a stream, uniform in [0, 1)."""
    return np.float64(combine(one_stream, index) >> _SHIFT_11) * _DOUBLE_UNIT


@compiled
def uniform(key, step, purpose, index):
    """A uniform draw in [0, 1)."""
    return uniform_in(stream(key, step, purpose), index)


@compiled
def normal(key, step, purpose, index):
    """A standard normal draw: the quantile function at a uniform draw."""
    return normal_quantile(uniform(key, step, purpose, index) + 0.5 * _DOUBLE_UNIT)


@compiled
def integer_in(one_stream, index, bound):
    """Draw number `index` of a stream, a uniform integer in [0, bound)."""
    return np.int64(uniform_in(one_stream, index) * bound)
