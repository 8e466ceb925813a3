"""Statistics of a log against closed forms and made logs, and the fidelity of a fitted world."""

import numpy as np
import pytest

from recsim_env.logs import FittedWorld, RatingsLog, find_log, fit_ratings, read_log
from recsim_env.logs.fitting import log_comparison
from recsim_env.logs.fitting.factorization import Ratings, variance_components
from recsim_env.logs.fitting.log_comparison import LogStatistics, compare_logs, comparison_table, log_statistics
from recsim_env.logs.fitting.population_statistics import load_statistics, statistics_of

LEVELS = np.arange(1.0, 6.0)


def made_log(
    num_users: int = 300, num_items: int = 200, taste: float = 0.8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log with sd 0.4 of user bias, 0.6 of item bias, and two factors of taste."""
    generator = np.random.default_rng(seed)
    popularity = np.linspace(0.05, 0.5, num_items)
    users, items = np.nonzero(generator.random((num_users, num_items)) < popularity)
    interests, factors = (generator.standard_normal((count, 2)) for count in (num_users, num_items))
    ratings = (
        3.0
        + generator.normal(0.0, 0.4, num_users)[users]
        + generator.normal(0.0, 0.6, num_items)[items]
        + taste / np.sqrt(2.0) * (interests[users] * factors[items]).sum(1)
        + generator.normal(0.0, 0.5, len(users))
    )
    return users, items, np.clip(np.rint(ratings), 1, 5)


@pytest.fixture(scope="module")
def made() -> LogStatistics:
    return log_statistics(*made_log(), LEVELS)


# Closed forms


def test_the_gini_coefficient_of_equal_counts_is_0_and_of_one_winner_nearly_1() -> None:
    assert log_comparison.gini(np.full(10, 7)) == pytest.approx(0)
    assert log_comparison.gini(np.array([0, 0, 0, 12])) == pytest.approx(3 / 4)
    assert log_comparison.gini(np.array([1, 3])) == pytest.approx(1 / 4)


def test_jensen_shannon_is_0_for_equal_and_1_bit_for_disjoint_distributions() -> None:
    p = np.array([0.2, 0.3, 0.5])
    assert log_comparison.jensen_shannon(p, p) == pytest.approx(0)
    assert log_comparison.jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)
    expected = 0.5 * np.log2(1 / 0.75) + 0.25 * np.log2(0.5 / 0.75) + 0.25 * np.log2(0.5 / 0.25)
    assert log_comparison.jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(expected)


def test_the_wasserstein_distance_of_a_shift_is_the_shift() -> None:
    sample = np.random.default_rng(0).standard_normal(500)
    assert log_comparison.wasserstein(sample, sample + 0.3) == pytest.approx(0.3)
    assert log_comparison.wasserstein(np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0])) == pytest.approx(1 / 6)
    assert np.isnan(log_comparison.wasserstein(sample, np.zeros(0)))


def test_the_kolmogorov_smirnov_distance_is_the_largest_gap() -> None:
    assert log_comparison.kolmogorov_smirnov(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 4])) == 0
    assert log_comparison.kolmogorov_smirnov(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])) == pytest.approx(0.5)


# Statistics of made logs


def test_variance_components_recover_the_parameters_of_a_synthetic_log() -> None:
    generator = np.random.default_rng(2)
    num_users, num_items = 1_000, 800
    density = np.outer(np.linspace(0.02, 0.3, num_users), np.linspace(0.02, 1.0, num_items))
    users, items = np.nonzero(generator.random((num_users, num_items)) < density)
    assert np.median(np.bincount(users)) < 70
    user_bias, item_bias = generator.normal(0, 0.4, num_users), generator.normal(0, 0.6, num_items)
    ratings = 3 + user_bias[users] + item_bias[items] + generator.normal(0, 0.9, len(users))
    user_sd, item_sd, residual_sd, biases = variance_components(
        Ratings(users, np.unique(items, return_inverse=True)[1], ratings, num_users, len(np.unique(items))), 60
    )
    present = np.unique(items)
    assert user_sd == pytest.approx(user_bias.std(), abs=0.015)
    assert item_sd == pytest.approx(item_bias[present].std(), abs=0.05)
    assert residual_sd == pytest.approx(0.9, abs=0.015)
    assert np.corrcoef(biases.item_bias, item_bias[present])[0, 1] > 0.9


def test_user_means_and_deviations_are_those_of_each_user() -> None:
    users, items = np.array([7, 7, 3, 7, 3, 9]), np.array([1, 2, 1, 3, 2, 1])
    measured = log_statistics(users, items, np.array([1, 2, 5, 3, 4, 2]), LEVELS)
    np.testing.assert_allclose(measured["user means (W1)"], [4.5, 2.0, 2.0])
    np.testing.assert_allclose(measured["user sds (W1)"], [np.sqrt(0.5), 1.0])  # user 9 rated once
    np.testing.assert_allclose(measured["rating histogram (JS, bits)"], [1 / 6, 2 / 6, 1 / 6, 1 / 6, 1 / 6])
    assert measured["ratings per user (KS)"].tolist() == [2, 3, 1]


def test_tastes_raise_the_spectrum_and_the_gain_of_factors_and_noise_does_not(
    made: LogStatistics,
) -> None:
    without = log_statistics(*made_log(taste=0.0), LEVELS)
    assert made["residual spectrum, excess of top 10"] > 0.1
    assert abs(without["residual spectrum, excess of top 10"]) < 0.02
    assert made["RMSE of biases - of factors"] > 0.15
    assert abs(without["RMSE of biases - of factors"]) < 0.015


def test_users_of_one_genre_have_more_similar_items_than_chance() -> None:
    users, items = (each.ravel() for each in np.indices((40, 20)))
    topics = np.eye(2)[np.arange(20) % 2]
    generator = np.random.default_rng(0)
    ratings = generator.integers(1, 6, len(users))
    loyal = users % 2 == items % 2
    kept = log_statistics(users[loyal], items[loyal], ratings[loyal], LEVELS, topics)
    assert kept["genre cosine in a user, excess"] == pytest.approx(1 - 0.5)
    anything = generator.random(len(users)) < 0.5
    mixed = log_statistics(users[anything], items[anything], ratings[anything], LEVELS, topics)
    assert mixed["genre cosine in a user, excess"] == pytest.approx(0, abs=0.06)
    assert np.isnan(log_statistics(users, items, ratings, LEVELS)["genre cosine in a user, excess"])


def test_popular_items_that_are_better_show_as_a_correlation() -> None:
    users, items, _ = made_log()
    counts = np.bincount(items)[items]
    better = np.where(counts > np.median(counts), 5, 2)
    assert log_statistics(users, items, better, LEVELS)["log popularity x item bias, correlation"] > 0.5
    assert log_statistics(users, items, 6 - better, LEVELS)["log popularity x item bias, correlation"] < -0.5


def test_statistics_depend_on_neither_the_names_nor_the_order_of_the_rows(made: LogStatistics) -> None:
    users, items, ratings = made_log()
    order = np.random.default_rng(3).permutation(len(users))
    other = log_statistics(1_000 - users[order], 7 * items[order], ratings[order], LEVELS)
    np.testing.assert_allclose(np.sort(other["user means (W1)"]), np.sort(made["user means (W1)"]))
    for name in ("user bias, sd", "item bias, sd", "residual, sd", "item popularity, Gini"):
        assert other[name] == pytest.approx(made[name], rel=1e-6)
    for name in (
        "residual spectrum, excess of top 10",
        "RMSE of biases - of factors",
    ):  # another shuffling, another hold-out
        assert other[name] == pytest.approx(made[name], rel=0.2)


def test_invalid_ratings_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 5"):
        log_statistics(np.array([0, 1]), np.array([0, 1]), np.array([0, 5]), LEVELS)
    with pytest.raises(ValueError, match="2 users, 1 items, 2 ratings"):
        log_statistics(np.array([0, 1]), np.array([0]), np.array([1, 5]), LEVELS)
    with pytest.raises(ValueError, match="0 ratings"):
        log_statistics(*np.zeros((3, 0), int), LEVELS)


def test_a_log_of_three_ratings_is_measured_without_a_warning() -> None:
    small = log_statistics(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([3, 3, 3]), LEVELS)
    assert small["residual, sd"] == pytest.approx(0, abs=1e-3)
    assert np.isnan(small["residual spectrum, excess of top 10"])
    assert len(compare_logs(small, small)) < len(log_comparison.COMPARED)


# Comparison


def test_a_log_is_close_to_itself_in_everything(made: LogStatistics) -> None:
    comparisons = compare_logs(made, made)
    assert all(each.is_close and each.difference == pytest.approx(0) for each in comparisons)
    assert {each.statistic for each in comparisons} == {*log_comparison.COMPARED} - {"genre cosine in a user, excess"}
    assert "NOT OK" not in comparison_table(comparisons)


@pytest.mark.parametrize(
    ("distortion", "statistic"),
    [
        ("shift", "rating histogram (JS, bits)"),
        ("shift", "user means (W1)"),
        ("no users", "user bias, sd"),
        ("no items", "item bias, sd"),
        ("noise", "residual, sd"),
        ("extremes", "user sds (W1)"),
        ("half", "ratings per user (KS)"),
        ("flat", "item popularity, Gini"),
        ("shuffle", "residual spectrum, excess of top 10"),
        ("shuffle", "RMSE of biases - of factors"),
    ],
)
def test_each_distortion_is_found_by_its_statistic(made: LogStatistics, distortion: str, statistic: str) -> None:
    users, items, ratings = made_log()
    generator = np.random.default_rng(1)
    if distortion == "shift":
        ratings = np.minimum(ratings + (generator.random(len(users)) < 0.5), 5)
    elif distortion == "no users":
        users = generator.permutation(users)
    elif distortion == "no items":
        items = generator.permutation(items)
    elif distortion == "noise":
        ratings = np.where(generator.random(len(users)) < 0.2, generator.integers(1, 6, len(users)), ratings)
    elif distortion == "extremes":
        ratings = np.select([ratings < 3, ratings > 3], [1, 5], 3)
    elif distortion == "half":
        keep = generator.random(len(users)) < 0.5
        users, items, ratings = users[keep], items[keep], ratings[keep]
    elif distortion == "flat":
        items = np.arange(len(items)) % 200
    else:  # tastes go, the biases stay: every user gets another's deviations from the item's mean
        means = np.bincount(items, ratings) / np.bincount(items)
        own = np.bincount(users, ratings - means[items]) / np.bincount(users)
        expected = means[items] + own[users]
        ratings = np.clip(np.rint(expected + generator.permutation(ratings - expected)), 1, 5)
    comparisons = compare_logs(made, log_statistics(users, items, ratings, LEVELS))
    found = next(each for each in comparisons if each.statistic == statistic)
    assert not found.is_close, comparison_table(comparisons)


def test_tolerances_widen_for_a_log_of_fewer_users(made: LogStatistics) -> None:
    comparisons = {each.statistic: each for each in compare_logs(made, made)}
    assert comparisons["user bias, sd"].tolerance == pytest.approx(0.050 * np.sqrt(943 / 300))
    num_ratings = made["ratings per user (KS)"].sum()
    gain = comparisons["RMSE of biases - of factors"]
    assert gain.tolerance == pytest.approx(0.008 * np.sqrt(100_000 / num_ratings))
    many = {**made, "ratings per user (KS)": np.ones(5_000)}
    assert compare_logs(many, made)[1].tolerance == 0.050


def test_a_difference_that_is_not_a_number_is_not_close(made: LogStatistics) -> None:
    comparisons = compare_logs(made, {**made, "residual spectrum, excess of top 10": np.nan})
    assert [each.statistic for each in comparisons if not each.is_close] == ["residual spectrum, excess of top 10"]


# The real log, where this machine has it


@pytest.fixture(scope="module")
def real_log() -> RatingsLog:
    path = find_log()
    if path is None or not (path / "u.data").is_file():
        pytest.skip("MovieLens-100K is not on this machine")
    return read_log(path)


@pytest.fixture(scope="module")
def real_statistics(real_log: RatingsLog) -> LogStatistics:
    return log_statistics(real_log.users, real_log.items, real_log.ratings, LEVELS, real_log.item_topics)


@pytest.fixture(scope="module")
def real_world(real_log: RatingsLog) -> FittedWorld:
    return fit_ratings(real_log)


def test_the_statistics_of_movielens_are_the_published_ones(real_statistics: LogStatistics) -> None:
    """Against figures measured by another program; the standard deviations by another estimator."""
    real = real_statistics
    np.testing.assert_allclose(real["rating histogram (JS, bits)"], [0.061, 0.114, 0.272, 0.342, 0.212], atol=0.0006)
    assert real["user bias, sd"] == pytest.approx(0.396, abs=0.02)
    assert real["item bias, sd"] == pytest.approx(0.554, abs=0.02)
    assert real["residual, sd"] == pytest.approx(0.926, abs=0.002)
    assert real["user sds (W1)"].mean() == pytest.approx(1.020, abs=0.001)
    assert real["user sds (W1)"].std() == pytest.approx(0.205, abs=0.001)
    assert real["item popularity, Gini"] == pytest.approx(0.629, abs=0.001)
    assert real["genre cosine in a user, excess"] == pytest.approx(0.040, abs=0.001)
    assert np.quantile(real["ratings per user (KS)"], [0.05, 0.25, 0.5, 0.75, 0.95]).round().tolist() == pytest.approx(
        [21, 33, 65, 148, 311], abs=1
    )
    assert real["RMSE of biases - of factors"] == pytest.approx(0.029, abs=0.008)


def test_factors_predict_held_out_ratings_of_movielens(real_world: FittedWorld) -> None:
    errors = real_world.fit_facts["held_out_rmse"]
    assert errors["factorisation"] <= 0.92
    assert errors["factorisation"] < errors["biases"] - 0.02
    assert errors["global_mean"] == pytest.approx(1.122, abs=0.02)


def test_ratings_simulated_on_the_pairs_of_movielens_are_like_the_real_ones(
    real_log: RatingsLog, real_world: FittedWorld, real_statistics: LogStatistics
) -> None:
    ratings = real_world.rate(real_log.users, real_log.items, np.random.default_rng(0), is_chosen=True)
    simulated = log_statistics(real_log.users, real_log.items, ratings, LEVELS, real_log.item_topics)
    comparisons = compare_logs(real_statistics, simulated)
    assert len(comparisons) == len(log_comparison.COMPARED)
    assert all(each.is_close for each in comparisons), comparison_table(comparisons)


def test_films_shown_at_random_are_rated_below_chosen_ones(real_world: FittedWorld) -> None:
    generator = np.random.default_rng(0)
    users, items = (generator.integers(len(ids), size=100_000) for ids in (real_world.user_ids, real_world.item_ids))
    # Films that few users rate are worse than those in the log, and users choose what they will like.
    assert real_world.rate(users, items, generator, is_chosen=True).mean() == pytest.approx(3.53 - 0.35, abs=0.1)
    assert real_world.rate(users, items, generator, is_chosen=False).mean() == pytest.approx(3.53 - 0.83, abs=0.1)


def test_the_statistics_that_come_with_the_package_are_those_of_the_fit(real_world: FittedWorld) -> None:
    ours, theirs = load_statistics(), statistics_of(real_world)
    assert ours.feature_names == theirs.feature_names
    assert ours.profile_names == theirs.profile_names
    # Another BLAS may round otherwise, and the sampler then takes another course.
    np.testing.assert_allclose(ours.rating_cuts, theirs.rating_cuts, atol=0.1)
    for name, value in theirs.summary.items():
        assert ours.summary[name] == pytest.approx(value, rel=0.1), name
