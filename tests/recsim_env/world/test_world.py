"""Catalogues and populations: reproducible, disjoint where they are split, and within bounds."""

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import SCENARIO_NAMES
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import recsim_env.world.world
from recsim_env.scenarios import ECOMMERCE, MOVIELENS, MUSIC, NEWS, RATINGS, SCENARIOS, SOCIAL, VIDEO, scenario_named
from recsim_env.simulation.records import ITEM, USER, WorldSizes, dtypes
from recsim_env.world.catalog import release_steps
from recsim_env.world.splits import SPLITS
from recsim_env.world.titles import topic_names_of
from recsim_env.world.world import build_world

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


def arrays_of(world) -> dict[str, np.ndarray]:
    """Everything of a world that is an array."""
    parts = {"world": world, "items": world.items, "users": world.users}
    return {
        f"{name}.{field.name}": getattr(part, field.name)
        for name, part in parts.items()
        for field in dataclasses.fields(part)
        if isinstance(getattr(part, field.name), np.ndarray)
    }


def test_the_same_arguments_draw_the_same_world(scenario_name):
    scenario = scenario_named(scenario_name)
    first = build_world(scenario, 3, "train")
    for function in vars(recsim_env.world.world).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    second = build_world(scenario, 3, "train")
    assert first is not second
    names = arrays_of(first).keys()
    assert len(names) >= 12
    for name in names:
        assert arrays_of(first)[name].tobytes() == arrays_of(second)[name].tobytes(), name
    assert [first.items.title(item) for item in range(5)] == [second.items.title(item) for item in range(5)]


def test_a_world_is_built_once_and_shared(scenario_name):
    assert build_world(scenario_named(scenario_name), 0) is build_world(scenario_named(scenario_name), 0)


def test_catalog_seed_draws_items_and_users_but_not_the_structure(scenario_name):
    first, second = (build_world(scenario_named(scenario_name), seed) for seed in (0, 1))
    is_synthetic = first.scenario.source == "synthetic"
    has_given_users = first.scenario.source == "ratings_log"
    assert first.user_records.tobytes() != second.user_records.tobytes()  # traits that a log does not contain are drawn
    assert (first.users.interests.tobytes() == second.users.interests.tobytes()) == has_given_users
    assert first.item_records.tobytes() != second.item_records.tobytes()
    assert first.item_statistics.tobytes() != second.item_statistics.tobytes()
    assert first.moods.tobytes() == second.moods.tobytes()
    if is_synthetic:
        assert similarity_of_clusters(first, second) > 0.9


def similarity_of_clusters(first, second) -> float:
    """Mean cosine of each of 200 users' interests in one world to those of the most similar user in the other."""
    one, other = (
        world.users.interests / np.linalg.norm(world.users.interests, axis=1, keepdims=True)
        for world in (first, second)
    )
    return float((one[:200] @ other.T).max(1).mean())


@pytest.mark.parametrize("scenario", [VIDEO, MUSIC, SOCIAL], ids=lambda scenario: scenario.name)
def test_world_seed_and_structure_split_draw_the_structure(scenario):
    tight = dataclasses.replace(scenario.population, interest_sd=0.01)  # users are where their cluster is
    scenario = dataclasses.replace(scenario, population=tight)
    same = build_world(scenario, 0), build_world(scenario, 1)
    others = build_world(scenario, 0, world_seed=1), build_world(scenario, 0, structure_split="test")
    assert similarity_of_clusters(*same) > 0.999
    for other in others:
        assert similarity_of_clusters(same[0], other) < 0.98
        if scenario is MUSIC:
            assert same[0].moods.tobytes() != other.moods.tobytes()
    assert build_world(scenario, 0, world_seed=1, structure_split="test").user_records.tobytes() not in {
        other.user_records.tobytes() for other in others
    }


@pytest.mark.parametrize("scenario", [MOVIELENS, RATINGS], ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("arguments", [{"world_seed": 1}, {"structure_split": "train"}])
def test_a_structure_from_a_log_cannot_be_drawn(scenario, arguments):
    with pytest.raises(ValueError, match=f"must be 0 and 'all' in {scenario.name}, whose structure comes from"):
        build_world(scenario, **arguments)


def test_no_user_and_no_item_is_in_two_splits(scenario_name):
    worlds = {split: build_world(scenario_named(scenario_name), 0, split) for split in SPLITS if split != "all"}
    assert list(worlds) == ["train", "validation", "test"]
    for one, other in itertools.combinations(worlds.values(), 2):
        assert len(one.items) > 100
        assert len(one.users) > 100
        assert not users_of(one) & users_of(other)
        assert not items_of(one) & items_of(other)


def users_of(world) -> set[bytes]:
    return {row.tobytes() for row in world.user_records}


def items_of(world) -> set[bytes]:
    """Bytes of each item's latent attributes, which tell items apart whatever their release."""
    return {np.append(record["factors"], record["quality"]).tobytes() for record in world.item_records}


@pytest.mark.parametrize("structure_split", ["train", "test"])
def test_splits_of_held_out_structures_are_disjoint_too(structure_split):
    worlds = [build_world(NEWS, 3, split, structure_split=structure_split, world_seed=2) for split in SPLITS]
    for one, other in itertools.combinations(worlds, 2):
        assert not users_of(one) & users_of(other)
        assert not items_of(one) & items_of(other)


@pytest.mark.skipif("MovieLens" not in SCENARIO_NAMES, reason="no ratings log")
def test_user_split_takes_users_of_another_split_of_a_log():
    mixed = build_world(MOVIELENS, 0, "test", user_split="train")
    train, test = build_world(MOVIELENS, 0, "train"), build_world(MOVIELENS, 0, "test")
    assert mixed.users.rating_bias.tobytes() == train.users.rating_bias.tobytes()
    assert items_of(mixed) == items_of(test)
    everyone = build_world(MOVIELENS, 0, "all", user_split="train")
    assert everyone.users.rating_bias.tobytes() == train.users.rating_bias.tobytes()


@pytest.mark.parametrize("split", SPLITS)
def test_items_arrive_in_order_and_numbers_are_finite(scenario_name, split):
    world = build_world(scenario_named(scenario_name), 0, split)
    records = world.item_records
    assert (np.diff(records["release_step"]) >= 0).all()
    assert (np.diff(records["retire_step"]) >= 0).all()
    assert (records["retire_step"] > records["release_step"]).all()
    for name, array in arrays_of(world).items():
        if array.dtype.kind == "f":
            assert np.isfinite(array).all(), name
    for name in ("factors", "topics", "quality", "appeal"):
        np.testing.assert_array_equal(records[name], getattr(world.items, name))
    np.testing.assert_allclose(world.items.topics.sum(1), 1.0)
    assert world.items.topics.min() >= 0.0
    for observable in (world.items.features, world.users.profiles):
        assert observable.dtype == np.float32
        assert np.abs(observable).max() <= 1.0
    assert (world.users.patience > 0.0).all()
    assert (world.users.rating_scale > 0.0).all()
    assert world.users.receptiveness.min() >= 0.0
    assert world.users.receptiveness.max() <= 1.0
    assert world.users.budget.min() >= 0.0
    assert world.items.prices.min() >= 0.0
    assert 0 <= world.items.creators.min() <= world.items.creators.max() < world.sizes.num_creators
    for column, name in (("prices", "price"), ("creators", "creator")):
        np.testing.assert_array_equal(records[name], getattr(world.items, column))
    np.testing.assert_array_equal(records["index"], np.arange(len(records)))


def test_statistics_start_at_0_and_converge_with_age(scenario_name):
    statistics = build_world(scenario_named(scenario_name)).item_statistics
    assert not statistics[0].any()
    assert statistics.min() >= 0.0
    assert statistics[..., :3].max() <= 1.0
    impressions = statistics[..., 0]
    assert (np.diff(impressions, axis=0) >= 0.0).all()
    assert (np.diff(statistics[..., 3], axis=0) >= 0.0).all()  # ratings
    overrides = np.abs(np.diff(statistics[..., 1], axis=0)).mean(1)
    assert overrides[-1] < overrides[4] / 4.0


def test_click_rates_and_mean_ratings_show_appeal_and_quality():
    # Spreads of their own, so that what is claimed of the statistics does not move with the preset.
    catalog = dataclasses.replace(VIDEO.catalog, quality_sd=0.7, appeal_sd=1.0)
    population = dataclasses.replace(VIDEO.population, cluster_scale=1.5, interest_sd=0.8)
    world = build_world(dataclasses.replace(VIDEO, catalog=catalog, population=population))
    oldest = world.item_statistics[-1]
    assert stats.spearmanr(oldest[:, 1], world.items.appeal).statistic > 0.9
    assert stats.spearmanr(oldest[:, 2], world.items.quality).statistic > 0.8


def test_every_session_starts_and_ends_while_items_arrive(scenario_name):
    world = build_world(scenario_named(scenario_name))
    first, number = world.session_starts(50)
    release = world.item_records["release_step"]
    assert number > 100
    assert first + number - 1 + 50 <= release[-1]
    available = [
        ((release <= now) & (now < world.item_records["retire_step"])).sum() for now in (first, first + number - 1 + 50)
    ]
    assert min(available) > 20  # as many as candidates are drawn


@pytest.mark.filterwarnings("error")
@given(rate=st.floats(0.0, 1e6) | st.sampled_from([5e-324, 1e-308, 1e-300]), num_items=st.integers(2, 50))
def test_release_steps_ascend_at_any_rate(rate, num_items):
    released = release_steps(num_items, rate, np.random.default_rng(0))
    assert released.dtype == np.int64
    assert released[0] >= 0
    assert (np.diff(released) >= 0).all()


def test_releases_are_a_poisson_process():
    released = release_steps(40_000, 2.0, np.random.default_rng(0))
    counts = np.bincount(released)[:-1]
    observed = np.bincount(counts, minlength=8)[:8]
    observed[7] = len(counts) - observed[:7].sum()
    expected = stats.poisson.pmf(np.arange(8), 2.0)
    expected[7] = 1.0 - expected[:7].sum()
    assert stats.chisquare(observed, len(counts) * expected).pvalue > UNLIKELY


def test_synthetic_populations_have_taste_clusters():
    interests = build_world(VIDEO).users.interests
    config = VIDEO.population
    between = interests.var(0).mean() - config.interest_sd**2
    assert between == pytest.approx(config.cluster_scale**2, rel=0.5)
    gaps = stats.kurtosis(interests, axis=0)
    assert (np.abs(gaps) > 0.05).any()  # a mixture, not one Gaussian


def test_prices_and_budgets_have_the_configured_mean_and_sd_and_prices_are_observed():
    world, config, population = build_world(ECOMMERCE), ECOMMERCE.catalog, ECOMMERCE.population
    for values, mean, sd in (
        (world.items.prices, config.price_mean, config.price_sd),
        (world.users.budget, population.budget_mean, population.budget_sd),
    ):
        assert values.mean() == pytest.approx(mean, rel=5.0 * sd / np.sqrt(len(values)))
        assert np.log(values).std() == pytest.approx(sd, rel=0.05)
    assert world.items.feature_names[-1] == "price / (price + mean price)"
    shown = world.items.features[:, -1].astype(np.float64)
    np.testing.assert_allclose(shown / (1.0 - shown), world.items.prices / config.price_mean, rtol=1e-5)
    assert not build_world(VIDEO).items.prices.any()
    assert not build_world(VIDEO).users.budget.any()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_topics_and_of_the_variance_of_quality_is_the_creators(share):
    catalog = dataclasses.replace(SOCIAL.catalog, creator_share=share, num_creators=1_000, num_items=40_000)
    items = build_world(dataclasses.replace(SOCIAL, catalog=catalog)).items
    counts = np.maximum(np.bincount(items.creators, minlength=1_000), 1)
    means = np.bincount(items.creators, items.quality, 1_000) / counts
    between = means[items.creators].var() / items.quality.var()
    assert between == pytest.approx(share + (1.0 - share) / 40, abs=0.05)
    assert items.quality.std() == pytest.approx(catalog.quality_sd, rel=0.05)
    first = items.topics[:, 0]
    means = np.bincount(items.creators, first, 1_000) / counts
    squares = share**2 + (1.0 - share) ** 2  # of two independent mixtures of the same variance
    expected = (share**2 + (1.0 - share) ** 2 / 40) / squares
    assert means[items.creators].var() / first.var() == pytest.approx(expected, abs=0.05)


def test_creators_are_uniform_and_a_single_creator_has_no_effect():
    creators = build_world(SOCIAL).items.creators
    assert stats.chisquare(np.bincount(creators, minlength=SOCIAL.catalog.num_creators)).pvalue > UNLIKELY
    assert not build_world(VIDEO).items.creators.any()


def test_moods_are_equal_for_all_populations_and_a_single_mood_has_no_effect():
    moods = [build_world(MUSIC, seed, split).moods for seed, split in ((0, "all"), (0, "train"), (1, "test"))]
    assert all(each.tobytes() == moods[0].tobytes() for each in moods)
    assert moods[0].std() == pytest.approx(MUSIC.population.mood_scale, rel=0.4)
    assert not build_world(VIDEO).moods.any()
    population = dataclasses.replace(VIDEO.population, num_moods=1, mood_scale=3.0)
    assert not build_world(dataclasses.replace(VIDEO, population=population)).moods.any()


def test_a_shop_has_ratings_only_of_what_is_bought():
    behaviour = dataclasses.replace(ECOMMERCE.behaviour, rating_probability=1.0)
    for is_shop in (False, True):
        changed = dataclasses.replace(behaviour, is_shop=is_shop)
        statistics = build_world(dataclasses.replace(ECOMMERCE, behaviour=changed)).item_statistics[-1]
        clicks = statistics[:, 1] * (2.0 ** (32.0 * statistics[:, 0].astype(np.float64)) - 1.0)
        rated = statistics[:, 3].sum() / clicks.sum()
        assert (0.05 < rated < 0.8) if is_shop else rated == pytest.approx(1.0, abs=1e-3)


def test_titles_are_words_and_persistent(scenario_name):
    items = build_world(scenario_named(scenario_name)).items
    titles = [items.title(item) for item in range(30)]
    assert titles == [items.title(item) for item in range(30)]
    assert all(title.strip() and "\n" not in title for title in titles)
    assert len(set(titles)) > 20


@pytest.mark.parametrize("num_topics", [2, 16, 40])
def test_topics_have_distinct_names(num_topics):
    assert len(set(topic_names_of(num_topics))) == num_topics


def test_feature_and_profile_names_name_every_column(scenario_name):
    world = build_world(scenario_named(scenario_name))
    assert len(world.items.feature_names) == world.items.features.shape[1]
    assert len(world.users.profile_names) == world.users.profiles.shape[1]
    assert len(world.items.topic_names) == world.items.topics.shape[1]
    sizes = WorldSizes(
        num_factors=world.items.factors.shape[1],
        num_topics=world.items.topics.shape[1],
        num_creators=world.scenario.catalog.num_creators,
        num_moods=world.scenario.population.num_moods,
        num_content_features=world.items.features.shape[1],
    )
    assert world.sizes == sizes
    assert world.item_records.dtype == dtypes(sizes)[ITEM]
    assert world.user_records.dtype == dtypes(sizes)[USER]
    assert world.moods.shape == (sizes.num_moods, sizes.num_topics)


def test_presets_are_found_by_name():
    assert all(scenario_named(name) is scenario and scenario.name == name for name, scenario in SCENARIOS.items())


def test_a_log_configured_later_is_used_from_then_on(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="MovieLens needs a ratings log"):
        build_world(MOVIELENS)
    lines = ["user,item,rating,timestamp"]
    lines += [f"{user},{item},{1 + (user * item) % 5},{user + item}" for user in range(12) for item in range(10)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines))
    monkeypatch.setenv("RECSIM_DATA", str(tmp_path / "ratings.csv"))
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path))
    assert len(build_world(MOVIELENS).items) == 10


@pytest.mark.parametrize("scenario", [VIDEO, RATINGS], ids=lambda scenario: scenario.name)
def test_users_of_one_part_can_be_combined_with_items_of_another(scenario):
    train, test = (build_world(scenario, 4, split) for split in ("train", "test"))
    mixed = build_world(scenario, 4, "test", user_split="train")
    np.testing.assert_array_equal(mixed.users.interests, train.users.interests)
    np.testing.assert_array_equal(mixed.items.features, test.items.features)
    assert build_world(scenario, 4, "test", user_split="test") is test
    with pytest.raises(ValueError, match="user_split='people': unknown; must be one of all, train, validation, test"):
        build_world(scenario, 4, "test", user_split="people")


@pytest.mark.parametrize(("shares", "correlation"), [((0.0, 0.0), 0.0), ((0.8, 0.8), 0.8), ((0.9, 0.4), 0.6)])
def test_a_user_has_correlated_tastes_in_two_scenarios(shares, correlation):
    first, second = (
        build_world(scenario.override({"population": {"shared_taste": share, "num_users": 4_000}}), 5, "test")
        for scenario, share in zip((VIDEO, MUSIC), shares, strict=True)
    )
    num_topics = min(first.sizes.num_topics, second.sizes.num_topics)
    columns = [(first.users.interests[:, k], second.users.interests[:, k]) for k in range(num_topics)]
    found = np.mean([np.corrcoef(*each)[0, 1] for each in columns])  # clusters move that of one topic
    assert found == pytest.approx(correlation, abs=0.05)
    spreads = [world.users.interests.std() for world in (first, build_world(VIDEO, 5, "test"))]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.1)
