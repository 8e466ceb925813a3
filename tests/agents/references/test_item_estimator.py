"""Estimates of items: as good as what is seen of them allows, and never better than what is told."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.references.bayes_filter import BayesFilter
from agents.references.bayes_filter_observed import BayesFilterObserved
from agents.references.item_estimator import ItemEstimator
from agents.references.value_weights import ValueWeights
from recsim_env.scenarios import VIDEO
from recsim_env.simulation.observation import MAX_AGE, REFRESH_AT
from recsim_env.simulation.records import NO_ITEM
from recsim_env.world.world import build_world

TRAIN = {"split": "train", "catalog_seed": 0}


@pytest.fixture(scope="module")
def estimator():
    made = ItemEstimator(num_catalogs=2, num_epochs=8)
    made.learn("recsim_env/Video-v0", TRAIN)
    return made


@pytest.fixture(scope="module")
def held_out():
    options = {"split": "test", "catalog_seed": 1, "observation": "compact"}
    return gymnasium.make_vec("recsim_env/Video-v0", 20, vectorization_mode="vector_entry_point", **options)


def explained(guess: np.ndarray, truth: np.ndarray) -> float:
    return 1.0 - float(((guess - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum())


def test_content_tells_topics_of_unseen_items_and_statistics_tell_quality_and_appeal(estimator, held_out):
    truth, found = held_out.simulator.world.item_records, estimator.estimates(held_out)
    assert found.shape == (REFRESH_AT[-1] + 1, len(truth))
    assert 0.75 < explained(found["topics"][0], truth["topics"]) < 1.0
    for name in ("quality", "appeal"):
        at_release, later = (explained(found[name][refresh], truth[name]) for refresh in (0, 10))
        assert 0.05 < at_release < later < 1.0, name
        assert later > {"quality": 0.4, "appeal": 0.8}[name], name  # a linear regression has .50 and .90
    np.testing.assert_allclose(found["topics"].sum(2), 1.0)


def test_what_anyone_can_see_of_an_item_is_as_it_is(estimator, held_out):
    truth, found = held_out.simulator.world.item_records, estimator.estimates(held_out)
    for name in ("index", "price", "creator", "release_step", "retire_step"):
        assert (found[name] == truth[name]).all(), name


def test_estimates_do_not_read_the_truth(estimator, held_out):
    """Only what is seen goes in: with other latent numbers behind the same content, the estimates are the same."""
    before = estimator.estimates(held_out)
    records = held_out.simulator.world.item_records
    kept = records.copy()
    for name in ("factors", "topics", "quality", "appeal"):
        records[name] = 0.123
    try:
        after = estimator.estimates(held_out)
    finally:
        records[:] = kept
    for name in ("factors", "topics", "quality", "appeal"):
        np.testing.assert_array_equal(after[name], before[name])


def test_what_was_learnt_can_be_handed_on_and_is_the_same_from_the_same_seed(estimator, held_out):
    again, taken = ItemEstimator(num_catalogs=2, num_epochs=8), ItemEstimator()
    again.learn("recsim_env/Video-v0", TRAIN)
    taken.take(*estimator.learnt())
    expected = estimator.estimates(held_out)
    for other in (again, taken):
        np.testing.assert_array_equal(other.estimates(held_out), expected)


def test_an_estimator_that_has_learnt_nothing_says_so(held_out):
    with pytest.raises(ValueError, match="call learn first"):
        ItemEstimator().estimates(held_out)


def test_the_filter_takes_an_item_for_what_it_seemed_to_be_when_it_was_shown(estimator, held_out):
    people = build_world(VIDEO, 0, "train")
    player = BayesFilterObserved(population=people, value_weights=ValueWeights(), num_particles=8, num_threads=1)
    player.estimator = estimator
    player.begin(held_out, 0)
    release = held_out.catalog_release_steps
    items = np.array([[3, NO_ITEM, 5]])
    times = release[3] + np.array([[0, 7, 100]])
    places = player.places(items, times)
    ages = (times - release[items]).clip(0, MAX_AGE)
    assert places[0, 1] == NO_ITEM
    estimates = estimator.estimates(held_out)
    for column in (0, 2):
        expected = estimates[REFRESH_AT[ages[0, column]], items[0, column]]
        assert player._items[places[0, column]]["quality"] == expected["quality"]
        assert player._items[places[0, column]]["index"] == items[0, column]


def test_the_filter_that_is_told_everything_has_items_as_they_are(held_out):
    player = BayesFilter(population=build_world(VIDEO, 0, "train"), num_particles=8, num_threads=1)
    player.begin(held_out, 0)
    truth = held_out.simulator.world.item_records
    assert player._items["quality"].tolist() == truth["quality"].tolist()
