"""Counter-based randomness: the published numbers of SplitMix64, and draws that are uniform and independent."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from recsim_env.simulation.random_streams import (
    GOLDEN,
    Purpose,
    combine,
    integer_in,
    mix,
    normal,
    stream,
    uniform,
    uniform_in,
)

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always
words = st.integers(0, 2**64 - 1)


@njit
def uniforms(key, num_steps, num_indices, purpose):
    """[num_steps, num_indices] uniform draws of one purpose."""
    draws = np.empty((num_steps, num_indices))
    for step in range(num_steps):
        for index in range(num_indices):
            draws[step, index] = uniform(key, step, purpose, index)
    return draws


@njit
def uniforms_over_keys(keys, step, purpose):
    return np.array([uniform(key, step, purpose, 0) for key in keys])


@njit
def normals(key, num_steps):
    return np.array([normal(key, step, 7, 0) for step in range(num_steps)])


@njit
def integers(one_stream, number, bound):
    return np.array([integer_in(one_stream, index, bound) for index in range(number)])


def splitmix(x: int) -> int:
    """The output function of SplitMix64 in Python's whole numbers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_mix_gives_the_published_numbers_of_splitmix64():
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = [np.uint64((1234567 + k * int(GOLDEN)) % 2**64) for k in range(1, 6)]
    assert [int(mix(state)) for state in states] == published


@settings(deadline=None)  # the first example compiles
@given(key=words, number=words)
def test_combine_is_splitmix64_at_a_counter(key, number):
    assert int(mix(np.uint64(key))) == splitmix(key)
    expected = splitmix((key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64)
    assert int(combine(np.uint64(key), np.uint64(number))) == expected


@settings(deadline=None)  # the first example compiles
@given(key=words, step=st.integers(0, 2**40), purpose=st.sampled_from(Purpose), index=st.integers(0, 2**40))
def test_a_draw_is_a_hash_of_key_step_purpose_and_index(key, step, purpose, index):
    counter = key
    for number in (step, purpose, index):
        counter = splitmix((counter + (number + 1) * 0x9E3779B97F4A7C15) % 2**64)
    drawn = uniform(np.uint64(key), step, purpose, index)
    assert drawn == (counter >> 11) / 2**53
    assert 0.0 <= drawn < 1.0
    one_stream = np.uint64(stream(np.uint64(key), step, purpose))  # compiled code hands out a plain int
    assert drawn == uniform_in(one_stream, index)


def test_the_golden_gamma_is_the_odd_number_next_to_two_to_the_64_over_phi():
    assert int(GOLDEN) % 2 == 1
    assert int(GOLDEN) == pytest.approx(2**64 / ((1 + 5**0.5) / 2), rel=1e-15)


def test_purposes_have_distinct_numbers():
    assert len({int(purpose) for purpose in Purpose}) == len(Purpose.__members__)


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_draws_are_uniform(key):
    draws = uniforms(np.uint64(key), 400, 250, Purpose.CHOICE)
    assert stats.kstest(draws.ravel(), "uniform").pvalue > UNLIKELY
    counts, _ = np.histogram(draws, bins=256, range=(0.0, 1.0))
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_draws_are_uniform_over_consecutive_keys():
    draws = uniforms_over_keys(np.arange(100_000, dtype=np.uint64), 0, Purpose.USER)
    assert stats.kstest(draws, "uniform").pvalue > UNLIKELY
    assert np.abs(correlation(draws[:-1], draws[1:])) < 0.015


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def assert_independent(first: np.ndarray, second: np.ndarray) -> None:
    """No correlation, and no pattern in the plane."""
    assert abs(correlation(first, second)) < 4.5 / np.sqrt(first.size)
    table, *_ = np.histogram2d(first.ravel(), second.ravel(), bins=16, range=[[0, 1], [0, 1]])
    assert stats.chisquare(table.ravel()).pvalue > UNLIKELY


def test_purposes_are_independent():
    draws = {purpose: uniforms(np.uint64(5), 300, 100, purpose) for purpose in Purpose}
    for first, second in itertools.combinations(Purpose, 2):
        assert_independent(draws[first], draws[second])


def test_steps_and_indices_and_keys_are_independent():
    draws = uniforms(np.uint64(6), 400, 100, Purpose.EXAMINATION)
    assert_independent(draws[1:], draws[:-1])
    assert_independent(draws[:, 1:], draws[:, :-1])
    assert_independent(draws, uniforms(np.uint64(7), 400, 100, Purpose.EXAMINATION))
    assert_independent(draws[:100, :], draws[:100, :].T[:, ::-1])


def test_every_bit_of_the_key_moves_every_bit_of_the_draw():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 500, dtype=np.uint64)
    for bit in range(64):
        flipped = [int(mix(key)) ^ int(mix(key ^ np.uint64(1 << bit))) for key in keys]
        overrides = np.array([[(word >> place) & 1 for place in range(64)] for word in flipped]).mean(0)
        assert overrides.min() > 0.35
        assert overrides.max() < 0.65


def test_normal_draws_are_standard_normal():
    draws = normals(np.uint64(3), 200_000)
    assert np.isfinite(draws).all()
    assert stats.kstest(draws, "norm").pvalue > UNLIKELY
    error = 5.0 / np.sqrt(len(draws))
    assert draws.mean() == pytest.approx(0.0, abs=error)
    assert draws.var() == pytest.approx(1.0, abs=error * np.sqrt(2))
    assert stats.skew(draws) == pytest.approx(0.0, abs=error * np.sqrt(6))
    assert stats.kurtosis(draws) == pytest.approx(0.0, abs=error * np.sqrt(24))
    assert abs(correlation(draws[1:], draws[:-1])) < error


def test_a_key_may_be_a_plain_number():
    for key in (0, 1, 2**40, 2**63 - 1):
        assert uniform(key, 3, Purpose.CHOICE, 0) == uniform(np.uint64(key), 3, Purpose.CHOICE, 0)


@pytest.mark.parametrize("bound", [1, 2, 7, 1_000])
def test_integers_are_uniform_below_their_bound(bound):
    draws = integers(stream(np.uint64(9), 0, Purpose.CANDIDATES), 50_000, bound)
    assert draws.min() == 0
    assert draws.max() == bound - 1
    assert bound == 1 or stats.chisquare(np.bincount(draws, minlength=bound)).pvalue > UNLIKELY
