"""The Bayes filter with estimated items: it knows the user model, and observes of items what agents observe.

The distance to `BayesFilter`, which observes true item attributes, is the value of knowing the items; the distance to
other agents is what they could still gain. It looks one step ahead, so an agent that plans better may exceed it.

Shape legend: N sessions, M candidates, I items, A refreshes of the item statistics.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.references.bayes_filter import BayesFilter
from agents.references.item_estimator import ItemEstimator
from recsim_env.config import count
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT


@dataclass(kw_only=True, eq=False, repr=False)
class BayesFilterObserved(BayesFilter):
    """The Bayes filter with items that are estimated from content, age and statistics."""

    num_catalogs: int = count(8, 1, 10_000)
    """Catalogues that `ItemEstimator` is trained on."""
    num_epochs: int = count(12, 1, 10_000)
    """Epochs of its training, at most."""

    def __post_init__(self, env: Any) -> None:
        super().__post_init__(env)
        self.estimator = ItemEstimator(num_catalogs=self.num_catalogs, num_epochs=self.num_epochs)

    def tune(self, env: RecommenderVectorEnv) -> None:
        super().tune(env)
        self.estimator.fit(env)

    def assumed_items(self) -> np.ndarray:
        """[A x I] records: estimates after each refresh of the statistics."""
        return self.estimator.estimates(self.env).reshape(-1)

    def item_places(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        release_steps = self.env.catalog_release_steps
        ages = (times - release_steps[items]).clip(0, MAX_AGE)
        return np.where(items == NO_ITEM, NO_ITEM, REFRESH_AT[ages] * len(release_steps) + items)

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        (_, learned), (weights, schema) = super().learned(), self.estimator.learned()
        return weights, {**learned, "schema": schema}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned)
        self.estimator.restore(tensors, learned["schema"])
