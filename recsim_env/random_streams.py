"""Counter-based randomness: every draw is a hash of (key, step, purpose, index), so nothing depends on order.

A *key* is an unsigned 64-bit number. A session has three of them: its world key (when it starts, which
candidates it is offered), its user key (who visits) and its noise key (how the user answers). The hash is the
output function of SplitMix64 (Steele, Lea and Flood, 2014), applied once for each component.
"""

import math
from enum import IntEnum

import numpy as np
from numba import config as numba_config
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_DOUBLE_UNIT = 1.0 / 9007199254740992.0  # 2**-53

# Highest power first: numerator, denominator.
_CENTRE = np.array(
    [
        [2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4]
        + [1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0],
        [5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4]
        + [5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0],
    ]
)
_TAIL = np.array(
    [
        [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0]
        + [3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0],
        [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1]
        + [6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0],
    ]
)
_FAR_TAIL = np.array(
    [
        [2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2]
        + [2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0],
        [2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4]
        + [1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0],
    ]
)


class Purpose(IntEnum):
    """What a draw is for; two purposes never share a number."""

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
    IMAGINATION = 12
    PURCHASE = 13
    FOLLOW = 14
    MOOD = 15
    TENURE = 16
    LOG = 17


def _wrapping(function):
    """`njit` for sums and products modulo 2**64; as plain Python, NumPy would warn of each that wraps."""
    return np.errstate(over="ignore")(function) if numba_config.DISABLE_JIT else njit(cache=True)(function)


@_wrapping
def mix(x):
    """SplitMix64's output function: uint64 -> uint64, a bijection in which every input bit moves every other."""
    x = (x ^ (x >> _SHIFT_30)) * _MULTIPLIER_1
    x = (x ^ (x >> _SHIFT_27)) * _MULTIPLIER_2
    return x ^ (x >> _SHIFT_31)


@_wrapping
def combine(key, number):
    """A new key from a key and a non-negative whole number."""
    return mix(np.uint64(key) + (np.uint64(number) + np.uint64(1)) * GOLDEN)


@njit(cache=True)
def stream(key, step, purpose):
    """The key of all draws of one purpose in one step."""
    return combine(combine(key, step), purpose)


@njit(cache=True)
def uniform_in(one_stream, index):
    """The draw number `index` of a stream, uniform in [0, 1)."""
    return np.float64(combine(one_stream, index) >> _SHIFT_11) * _DOUBLE_UNIT


@njit(cache=True)
def uniform(key, step, purpose, index):
    """A uniform draw in [0, 1)."""
    return uniform_in(stream(key, step, purpose), index)


@njit(cache=True)
def normal(key, step, purpose, index):
    """A standard normal draw: the quantile function at a uniform draw."""
    return normal_quantile(uniform(key, step, purpose, index) + 0.5 * _DOUBLE_UNIT)


@njit(cache=True)
def normal_quantile(p):
    """The x with Phi(x) = p, for p in (0, 1), to 1e-15: Wichura's algorithm AS 241 (Applied Statistics, 1988)."""
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * _ratio(_CENTRE, 0.180625 - q * q)
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    x = _ratio(_TAIL, r - 1.6) if r <= 5.0 else _ratio(_FAR_TAIL, r - 5.0)
    return -x if q < 0.0 else x


@njit(cache=True)
def _ratio(coefficients, x):
    """Two polynomials of the seventh degree, one divided by the other (Horner's scheme)."""
    above, below = 0.0, 0.0
    for k in range(8):
        above = above * x + coefficients[0, k]
        below = below * x + coefficients[1, k]
    return above / below


@njit(cache=True)
def integer_in(one_stream, index, bound):
    """The draw number `index` of a stream, a uniform whole number in [0, bound)."""
    return np.int64(uniform_in(one_stream, index) * bound)
