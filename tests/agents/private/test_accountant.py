"""Privacy accounting agrees with published figures, with Opacus, and with formulas for special cases."""

import math

import numpy as np
import pytest

from agents.private import accountant
from agents.private.accountant import NoisySteps, noise_multiplier_for, renyi_divergences, spent_epsilon


def steps(noise_multiplier, sample_rate, num_steps):
    return NoisySteps(noise_multiplier=noise_multiplier, sample_rate=sample_rate, num_steps=num_steps)


def moments_accountant(noise_multiplier, sample_rate, num_steps, delta):
    """Epsilon by the looser conversion of Abadi et al. (2016), theorem 2."""
    divergences = num_steps * renyi_divergences(noise_multiplier, sample_rate)
    return (divergences + math.log(1.0 / delta) / (accountant._ORDERS - 1.0)).min()


@pytest.mark.parametrize(
    ("noise_multiplier", "sample_rate", "num_steps", "published"),
    [
        (4.0, 0.01, 10_000, 1.26),  # Abadi et al. (2016), section 3.2
        (1.3, 250 / 60_000, 3_600, 1.18),  # tutorial of TensorFlow Privacy, 15 epochs of MNIST
        (1.1, 256 / 60_000, 14_062, 3.01),  # README of TensorFlow Privacy, 60 epochs of MNIST
    ],
)
def test_published_epsilons_are_reproduced(noise_multiplier, sample_rate, num_steps, published):
    assert moments_accountant(noise_multiplier, sample_rate, num_steps, 1e-5) == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    ("noise_multiplier", "sample_rate", "num_steps", "delta", "opacus"),
    [
        (4.0, 0.01, 10_000, 1e-5, 1.03549),  # RDPAccountant of Opacus 1.6.0
        (1.1, 256 / 60_000, 14_062, 1e-5, 2.59656),
        (3.105, 0.064, 150, 5e-5, 0.99732),
        (1.0, 0.1, 100, 1e-5, 7.89926),
        (0.8, 0.064, 150, 5e-5, 8.79410),
    ],
)
def test_epsilon_is_that_of_opacus_or_up_to_five_percent_more(noise_multiplier, sample_rate, num_steps, delta, opacus):
    found = spent_epsilon([steps(noise_multiplier, sample_rate, num_steps)], delta)
    assert opacus * 0.9999 <= found <= opacus * 1.05


def test_the_divergence_of_everybody_is_that_of_the_gaussian_mechanism():
    integers = accountant._ORDERS.round() == accountant._ORDERS
    expected = accountant._ORDERS[integers] / (2.0 * 3.0**2)
    np.testing.assert_allclose(renyi_divergences(3.0, 1.0)[integers], expected, rtol=1e-9)


def test_trainings_add_up_and_noise_and_sampling_save_privacy():
    def epsilon(*trainings):
        return spent_epsilon(trainings, 1e-5)

    half, whole = steps(2.0, 0.1, 50), steps(2.0, 0.1, 100)
    assert epsilon(half, half) == pytest.approx(epsilon(whole))
    assert epsilon(half) < epsilon(whole)
    assert epsilon(steps(3.0, 0.1, 100)) < epsilon(whole) < epsilon(steps(2.0, 0.2, 100))
    assert epsilon() == epsilon(steps(0.0, 0.1, 0)) == 0.0
    assert epsilon(whole, steps(0.0, 0.1, 1)) == math.inf


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 8.0, 100.0])
def test_the_noise_spends_the_budget_and_no_more(epsilon):
    noise = noise_multiplier_for(epsilon, 1e-5, sample_rate=0.05, num_steps=200)
    assert 0.98 * epsilon < spent_epsilon([steps(noise, 0.05, 200)], 1e-5) <= epsilon


def test_without_a_bound_there_is_no_noise_and_an_impossible_budget_is_refused():
    assert noise_multiplier_for(math.inf, 1e-5, sample_rate=0.1, num_steps=100) == 0.0
    with pytest.raises(ValueError, match=r"^epsilon=1e-06: must be larger; no noise is enough for 1000000 steps$"):
        noise_multiplier_for(1e-6, 1e-5, sample_rate=1.0, num_steps=1_000_000)
