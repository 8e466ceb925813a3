"""Items and users drawn from the statistics of a fitted world resemble that world's own."""

import json
from pathlib import Path

import numpy as np
import pytest

from recsim_env.logs import FittedWorld, fit_log
from recsim_env.logs.fitting.column_distributions import INDICATOR, NUMBER, GaussianCopula
from recsim_env.logs.fitting.population_statistics import (
    MOVIELENS_STATISTICS,
    PopulationStatistics,
    draw_items,
    draw_users,
    load_statistics,
    save_statistics,
    statistics_of,
    summary_of,
)

GENRES = ("calm", "dark", "fast", "funny")
JOBS = ("job: cook", "job: judge", "job: pilot")
NUM_ITEMS, NUM_USERS, NUM_FACTORS = 1_500, 1_200, 3
MANY = 20_000


def made_world() -> FittedWorld:
    """Genres in company, older items better, cooks lenient, pilots fond of factor 1."""
    generator = np.random.default_rng(0)
    genres = (generator.random((NUM_ITEMS, 4)) < [0.5, 0.3, 0.15, 0.06]).astype(float)
    genres[:, 1] *= 1 - genres[:, 0] * (generator.random(NUM_ITEMS) < 0.8)
    genres[:, 2] = np.maximum(genres[:, 2], genres[:, 3] * (generator.random(NUM_ITEMS) < 0.7))
    genres[genres.sum(1) == 0, 0] = 1.0
    year = 1.0 - 2.0 * generator.beta(0.5, 3.0, NUM_ITEMS)
    quality = -0.6 * year + 0.5 * genres[:, 1] + generator.normal(0.0, 0.5, NUM_ITEMS)
    appeal = 0.5 * quality + generator.normal(0.0, 0.9, NUM_ITEMS)
    factors = generator.standard_normal((NUM_ITEMS, NUM_FACTORS)) * [0.5, 0.3, 0.1]
    factors[:, 0] += 0.5 * genres[:, 2]
    factors[:, 1] += 0.4 * factors[:, 0]
    job = generator.choice(3, NUM_USERS, p=[0.6, 0.3, 0.1])
    female = (generator.random(NUM_USERS) < np.array([0.3, 0.5, 0.8])[job]).astype(float)
    age = np.clip(generator.normal(-0.2, 0.3, NUM_USERS) + 0.3 * (job == 1), -1, 1)
    interests = generator.standard_normal((NUM_USERS, NUM_FACTORS))
    interests[:, 0] += 1.0 * (job == 2)
    return FittedWorld(
        item_ids=np.arange(NUM_ITEMS).astype(str),
        titles=np.array([f"Secret title {item}" for item in range(NUM_ITEMS)]),
        item_factors=factors,
        item_topics=genres / genres.sum(1, keepdims=True),
        topic_names=np.array(GENRES),
        quality=quality,
        appeal=(appeal - appeal.mean()) / appeal.std(),
        item_features=np.c_[genres, year].astype(np.float32),
        feature_names=np.array((*GENRES, "year")),
        num_item_ratings=np.full(NUM_ITEMS, 9),
        user_ids=np.arange(NUM_USERS).astype(str),
        interests=interests,
        rating_bias=0.4 * (job == 0) + generator.normal(0.0, 0.4, NUM_USERS),
        rating_scale=np.exp(generator.normal(0.0, 0.25, NUM_USERS)),
        user_profiles=np.c_[female, np.eye(3)[job], age].astype(np.float32),
        profile_names=np.array(("female", *JOBS, "age")),
        num_user_ratings=np.full(NUM_USERS, 9),
        rating_levels=np.arange(1.0, 6.0),
        rating_cuts=np.array([-2.0, -1.0, 0.0, 1.0]),
        selection=0.5,
        fit_facts={"source": "made"},
    )


@pytest.fixture(scope="module")
def world() -> FittedWorld:
    return made_world()


@pytest.fixture(scope="module")
def statistics(world: FittedWorld) -> PopulationStatistics:
    return statistics_of(world)


def correlations(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(column, target)[0, 1] for column in columns.T])


def test_taste_quality_and_bias_keep_their_spread_and_appeal_its_correlation(
    world: FittedWorld, statistics: PopulationStatistics
) -> None:
    generator = np.random.default_rng(1)
    items, users = draw_items(statistics, MANY, generator), draw_users(statistics, MANY, generator)
    drawn = summary_of(items, users)
    assert statistics.summary == summary_of(world, world)
    for name, value in statistics.summary.items():
        assert drawn[name] == pytest.approx(value, rel=0.06), name
    spectrum = np.sort(np.linalg.eigvalsh(items.item_factors.T @ items.item_factors / MANY))
    expected = np.sort(np.linalg.eigvalsh(world.item_factors.T @ world.item_factors / NUM_ITEMS))
    np.testing.assert_allclose(spectrum, expected, rtol=0.1)


def test_content_predicts_drawn_items_as_well_as_real_ones(
    world: FittedWorld, statistics: PopulationStatistics
) -> None:
    items = draw_items(statistics, MANY, np.random.default_rng(2))
    for real, drawn in (
        (world.quality, items.quality),
        (world.appeal, items.appeal),
        (world.item_factors[:, 0], items.item_factors[:, 0]),
    ):
        expected = correlations(world.item_features, real)
        assert np.abs(expected).max() > 0.1  # else there is nothing to keep
        np.testing.assert_allclose(correlations(items.item_features, drawn), expected, atol=0.07)


def test_genres_keep_shares_and_correlations_and_every_item_has_one(
    world: FittedWorld, statistics: PopulationStatistics
) -> None:
    items = draw_items(statistics, MANY, np.random.default_rng(3))
    real, drawn = world.item_features[:, :4], items.item_features[:, :4]
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn.sum(1) >= 1).all()
    np.testing.assert_allclose(drawn.mean(0), real.mean(0), atol=0.012)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(real.T), atol=0.15)
    np.testing.assert_allclose(items.item_topics, drawn / drawn.sum(1, keepdims=True), atol=1e-6)
    assert items.topic_names.tolist() == list(GENRES)


def test_the_correlation_behind_indicators_and_numbers_is_found() -> None:
    truth = np.array([[1.0, 0.6, 0.5], [0.6, 1.0, -0.1], [0.5, -0.1, 1.0]])
    scores = np.random.default_rng(0).multivariate_normal(np.zeros(3), truth, MANY)
    values = np.c_[scores[:, :2] > [0.5, 1.3], np.exp(scores[:, 2])]
    columns = GaussianCopula.fit(("a", "b", "c"), values)
    assert columns.kinds == [INDICATOR, INDICATOR, NUMBER]
    np.testing.assert_allclose(columns.covariance, truth, atol=0.04)
    drawn, _ = columns.draw(MANY, np.random.default_rng(1))
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(values.T), atol=0.04)


def test_numbers_keep_their_distribution_however_skewed(world: FittedWorld, statistics: PopulationStatistics) -> None:
    items = draw_items(statistics, MANY, np.random.default_rng(4))
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    real, drawn = (np.quantile(each.item_features[:, 4], levels) for each in (world, items))
    np.testing.assert_allclose(drawn, real, atol=0.04)
    assert items.item_features.dtype == np.float32
    assert np.abs(items.item_features).max() <= 1.0


def test_users_have_one_category_with_its_profiles_and_interests(
    world: FittedWorld, statistics: PopulationStatistics
) -> None:
    users = draw_users(statistics, MANY, np.random.default_rng(5))
    jobs = users.user_profiles[:, 1:4]
    assert (jobs.sum(1) == 1).all()
    assert users.profile_names.tolist() == ["female", *JOBS, "age"]
    np.testing.assert_allclose(users.user_profiles.mean(0), world.user_profiles.mean(0), atol=0.03)
    for job in range(3):
        own, real = jobs[:, job] == 1, world.user_profiles[:, 1 + job] == 1
        for column in (0, 4):
            profile = world.user_profiles[:, column]
            overall, trust = profile.mean(), real.sum() / (real.sum() + 20)  # small categories are shrunken
            expected = overall + trust * (profile[real].mean() - overall)
            assert users.user_profiles[own, column].mean() == pytest.approx(expected, abs=0.04)
        assert users.rating_bias[own].mean() == pytest.approx(world.rating_bias[real].mean(), abs=0.1)
        assert users.interests[own, 0].mean() == pytest.approx(world.interests[real, 0].mean(), abs=0.2)
    assert (users.rating_scale > 0).all()


def test_the_same_generator_gives_the_same_draw_and_another_another(
    statistics: PopulationStatistics,
) -> None:
    first, again, other = (draw_items(statistics, 50, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.item_factors, again.item_factors)
    np.testing.assert_array_equal(first.item_features, again.item_features)
    assert not np.allclose(first.quality, other.quality)
    users, same = (draw_users(statistics, 50, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(users.interests, same.interests)
    assert draw_items(statistics, 1, np.random.default_rng(0)).quality.shape == (1,)


def test_saved_statistics_keep_six_digits_and_hold_no_titles(tmp_path: Path, statistics: PopulationStatistics) -> None:
    path = tmp_path / "statistics.json"
    save_statistics(statistics, path)
    text = path.read_text()
    assert "Secret" not in text
    loaded = load_statistics(path)
    drawn, again = (draw_items(each, 100, np.random.default_rng(0)) for each in (statistics, loaded))
    assert again.feature_names.tolist() == drawn.feature_names.tolist()
    # An indicator at its very threshold may fall the other way.
    same = (again.item_features[:, :4] == drawn.item_features[:, :4]).all(1)
    assert same.mean() > 0.98
    # A rotation of equal strengths is allowed to the square root of a covariance, so compare what it spans.
    assert summary_of(again, draw_users(loaded, 100, np.random.default_rng(0))) == pytest.approx(
        summary_of(drawn, draw_users(statistics, 100, np.random.default_rng(0))), rel=0.01
    )
    save_statistics(loaded, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("item_latents"),
        lambda content: content.update(version=99),
        lambda content: content.update(rating_cuts=[1, 0, 2, 3]),
        lambda content: content["feature_names"].append("more"),
        lambda content: content["user_profiles"]["covariance"].pop(),
        lambda content: content["item_latents"]["coefficients"].pop(),
        lambda content: content["item_features"].update(kinds=["odd"]),
        lambda content: content["item_features"]["parameters"].__setitem__(0, [float("nan")]),
    ],
)
def test_damaged_statistics_are_refused_in_one_line(
    tmp_path: Path, statistics: PopulationStatistics, damage: object
) -> None:
    path = tmp_path / "statistics.json"
    save_statistics(statistics, path)
    content = json.loads(path.read_text())
    assert callable(damage)
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"statistics\.json: not population statistics") as caught:
        load_statistics(path)
    assert "\n" not in str(caught.value)


def test_invalid_json_and_a_missing_file_have_different_errors(tmp_path: Path) -> None:
    for text in ("half of {", "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match="not population statistics"):
            load_statistics(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        load_statistics(tmp_path / "b.json")


def test_a_log_without_descriptions_has_statistics_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    users, items = np.nonzero(generator.random((30, 20)) < 0.5)
    rows = [f"{u},{i},{generator.integers(1, 6)},0\n" for u, i in zip(users, items, strict=True)]
    (tmp_path / "log.csv").write_text("user,item,rating,timestamp\n" + "".join(rows))
    statistics = statistics_of(fit_log(tmp_path / "log.csv", num_factors=2))
    drawn = draw_items(statistics, 40, generator)
    assert (drawn.item_topics == 1.0).all()
    assert drawn.item_features.shape == (40, 1)
    assert not drawn.item_features.any()
    assert not draw_users(statistics, 40, generator).user_profiles.any()


# The statistics that come with the package


def test_the_packaged_statistics_are_small_and_hold_no_rows_titles_or_paths() -> None:
    text = MOVIELENS_STATISTICS.read_text()
    assert len(text) < 100_000
    assert "(19" not in text  # titles of films end in their year
    assert "/" not in text.replace("/ ", "")
    content = json.loads(text)
    assert content["source"] == "ml-100k"
    longest = max(len(each) for each in content["item_features"]["parameters"])
    assert longest == 33


def test_the_packaged_statistics_give_films_and_users_like_those_of_movielens() -> None:
    statistics, generator = load_statistics(), np.random.default_rng(0)
    items, users = draw_items(statistics, MANY, generator), draw_users(statistics, MANY, generator)
    drawn = summary_of(items, users)
    for name, value in statistics.summary.items():
        assert drawn[name] == pytest.approx(value, rel=0.06), name
    assert items.item_topics.shape == (MANY, 18)
    assert items.item_features.shape == (MANY, 19)
    assert users.interests.shape == (MANY, statistics.num_factors)
    affinity = (users.interests * items.item_factors).sum(1)
    noise = generator.standard_normal(MANY)
    opinion = users.rating_bias + users.rating_scale * (affinity + items.quality + noise)
    ratings = 1 + np.searchsorted(statistics.rating_cuts, opinion)
    # As films shown at random: worse than those in the log, and not chosen by the user.
    assert ratings.mean() == pytest.approx(3.53 - 0.80, abs=0.1)
