"""Privacy accounting: Rényi differential privacy of the Gaussian mechanism on Poisson samples.

Mironov, Talwar and Zhang, "Rényi differential privacy of the sampled Gaussian mechanism", arXiv:1908.10530, section 3.3
(integer orders). Orders between integers are bounded by Wang, Balle and Kasiviswanathan, "Subsampled Rényi differential
privacy and analytical moments accountant", AISTATS 2019, corollary 10: the cumulant generating function is convex. The
conversion to (epsilon, delta) is that of Balle et al., "Hypothesis testing interpretations and Rényi differential
privacy", AISTATS 2020, theorem 21.

Neighbouring logs differ in one person, all of whose steps are there or missing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

_INTEGERS = np.array([*range(1, 65), *range(72, 257, 8), 512, 1_024])
_ORDERS = np.array([*np.arange(1.05, 12.0, 0.05), *range(12, 65), *_INTEGERS[64:]])
_MAX_NOISE = 1e6


@dataclass(frozen=True, kw_only=True)
class NoisySteps:
    """Steps that each publish a sum over a Poisson sample, with Gaussian noise."""

    noise_multiplier: float
    """Standard deviation of the noise, as a multiple of the largest norm that one person adds to the sum."""
    sample_rate: float
    """Probability of each person to be in the sample of a step, in (0, 1]."""
    num_steps: int


def spent_epsilon(trainings: Iterable[NoisySteps], delta: float) -> float:
    """The epsilon at which all the steps together are (epsilon, delta)-differentially private; `inf` without noise."""
    total = np.zeros(len(_ORDERS))
    for each in trainings:
        if each.num_steps and not each.noise_multiplier:
            return math.inf
        if each.num_steps:
            total += each.num_steps * renyi_divergences(each.noise_multiplier, each.sample_rate)
    if not total.any():
        return 0.0
    epsilons = total + np.log1p(-1.0 / _ORDERS) - (math.log(delta) + np.log(_ORDERS)) / (_ORDERS - 1.0)
    return max(float(epsilons.min()), 0.0)


def renyi_divergences(noise_multiplier: float, sample_rate: float) -> np.ndarray:
    """Bounds on the Rényi divergence of one step at each of the orders."""
    cumulants = [_cumulant(int(order), noise_multiplier, sample_rate) for order in _INTEGERS]
    return np.interp(_ORDERS, _INTEGERS, cumulants) / (_ORDERS - 1.0)


def _cumulant(order: int, noise_multiplier: float, sample_rate: float) -> float:
    """log sum_k binomial(order, k) (1 - q)^(order - k) q^k exp((k^2 - k) / (2 sigma^2))."""
    k = np.arange(order + 1)
    if sample_rate == 1.0:
        return (order**2 - order) / (2.0 * noise_multiplier**2)
    binomials = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    weights = binomials + (order - k) * math.log1p(-sample_rate) + k * math.log(sample_rate)
    return float(logsumexp(weights + (k**2 - k) / (2.0 * noise_multiplier**2)))


def noise_multiplier_for(epsilon: float, delta: float, *, sample_rate: float, num_steps: int) -> float:
    """The smallest noise multiplier, up to 0.1%, with which `num_steps` steps spend at most epsilon.

    Raises:
        ValueError: no noise is large enough.
    """
    if math.isinf(epsilon) or num_steps == 0:
        return 0.0

    def is_enough(noise: float) -> bool:
        steps = NoisySteps(noise_multiplier=noise, sample_rate=sample_rate, num_steps=num_steps)
        return spent_epsilon([steps], delta) <= epsilon

    low, high = 0.0, 1.0
    while not is_enough(high):
        low, high = high, 2.0 * high
        if high > _MAX_NOISE:
            raise ValueError(f"epsilon={epsilon}: must be larger; no noise is enough for {num_steps} steps")
    low = low or 1e-2
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
