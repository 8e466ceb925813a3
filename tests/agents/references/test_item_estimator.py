"""Estimated items: close to the latent attributes, from observable ones alone."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.references.bayes_filter import BayesFilter
from agents.references.bayes_filter_observed import BayesFilterObserved
from agents.references.item_estimator import ItemEstimator
from recsim_env.scenarios import VIDEO
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT
from recsim_env.world.world import build_world


def fitted() -> ItemEstimator:
    estimator = ItemEstimator(num_catalogs=2, num_epochs=8)
    estimator.fit(gymnasium.make_vec("recsim_env/Video-v0", 1, split="train", catalog_seed=0, observation="full"))
    return estimator


@pytest.fixture(scope="module")
def estimator():
    return fitted()


@pytest.fixture(scope="module")
def held_out():
    options = {"split": "test", "catalog_seed": 1, "observation": "compact"}
    return gymnasium.make_vec(
        "recsim_env/Video-v0", 20, vectorization_mode="vector_entry_point", **{"observation": "full", **options}
    )


def explained(estimate: np.ndarray, truth: np.ndarray) -> float:
    return 1.0 - float(((estimate - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum())


def test_content_predicts_topics_and_statistics_predict_quality_and_appeal(estimator, held_out):
    truth, estimates = held_out.simulator.world.item_records, estimator.estimates(held_out)
    assert estimates.shape == (REFRESH_AT[-1] + 1, len(truth))
    assert 0.75 < explained(estimates["topics"][0], truth["topics"]) < 1.0
    for name in ("quality", "appeal"):
        at_release, later = (explained(estimates[name][refresh], truth[name]) for refresh in (0, 10))
        assert 0.05 < at_release < later < 1.0, name
        assert later > {"quality": 0.4, "appeal": 0.8}[name], name  # a linear regression has 0.50 and 0.90
    np.testing.assert_allclose(estimates["topics"].sum(2), 1.0)


def test_observable_attributes_are_the_true_ones(estimator, held_out):
    truth, estimates = held_out.simulator.world.item_records, estimator.estimates(held_out)
    for name in ("index", "price", "creator", "release_step", "retire_step"):
        assert (estimates[name] == truth[name]).all(), name


def test_estimates_do_not_read_latent_attributes(estimator, held_out):
    """With other latent attributes behind the same content, the estimates are the same."""
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


def test_an_estimator_is_reproducible_and_can_be_restored(estimator, held_out):
    restored = ItemEstimator()
    restored.restore(*estimator.learned())
    expected = estimator.estimates(held_out)
    for other in (fitted(), restored):
        np.testing.assert_array_equal(other.estimates(held_out), expected)


def test_an_untrained_estimator_is_refused(held_out):
    with pytest.raises(NotFittedError):
        ItemEstimator().estimates(held_out)


def test_the_filter_uses_the_estimate_of_the_time_when_an_item_was_shown(estimator, held_out):
    agent = BayesFilterObserved(held_out, num_particles=8, num_threads=1)
    agent.population, agent.estimator = build_world(VIDEO, 0, "train"), estimator
    release = held_out.catalog_release_steps
    items = np.array([[3, NO_ITEM, 5]])
    times = release[3] + np.array([[0, 7, 100]])
    places = agent.item_places(items, times)
    ages = (times - release[items]).clip(0, MAX_AGE)
    assert places[0, 1] == NO_ITEM
    estimates, assumed = estimator.estimates(held_out), agent.initial_state(2).items
    for column in (0, 2):
        expected = estimates[REFRESH_AT[ages[0, column]], items[0, column]]
        assert assumed[places[0, column]]["quality"] == expected["quality"]
        assert assumed[places[0, column]]["index"] == items[0, column]


def test_the_filter_with_known_items_uses_the_true_ones(held_out):
    agent = BayesFilter(held_out, num_particles=8, num_threads=1)
    agent.population = build_world(VIDEO, 0, "train")
    truth = held_out.simulator.world.item_records
    assert agent.initial_state(2).items["quality"].tolist() == truth["quality"].tolist()
