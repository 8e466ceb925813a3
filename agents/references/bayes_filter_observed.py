"""Knows how people behave, and sees of them and of items only what an agent sees: what foresight makes of that.

The Bayes-filter player is told what every item is. Nobody else is, so the distance to it says how much an agent lacks,
and not how much of that it could have. This one estimates items from content, age and statistics. It looks ahead by
`foresight`, as the other does, so a policy that plans better may stand above it.

Shape legend: N sessions, M candidates, I items, A refreshes.
"""

from typing import Any

import numpy as np

from agents.agent import Env
from agents.references.bayes_filter import BayesFilter
from agents.references.item_estimator import ItemEstimator
from recsim_env.simulation.observation import MAX_AGE, REFRESH_AT
from recsim_env.simulation.records import NO_ITEM


class BayesFilterObserved(BayesFilter):
    """The Bayes-filter player that has to make do with what can be seen of items.

    Args:
        num_catalogs: catalogues that `ItemEstimator` learns from.
        num_epochs: times that it looks at each of their items, at most.
        others: as for `BayesFilter`.
    """

    def __init__(self, *, num_catalogs: int = 8, num_epochs: int = 12, **others: Any) -> None:
        super().__init__(**others)
        self.estimator = ItemEstimator(num_catalogs=num_catalogs, num_epochs=num_epochs)

    def choose(self, env: Any) -> None:
        super().choose(env)
        self.estimator.learn(**self._learnt_in)

    def known_items(self, env: Env) -> np.ndarray:
        """[A x I] records: what each item seems to be after each refresh of its statistics."""
        self._release_steps = env.unwrapped.catalog_release_steps
        return self.estimator.estimates(env).reshape(-1)

    def places(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        ages = (times - self._release_steps[items]).clip(0, MAX_AGE)
        return np.where(items == NO_ITEM, NO_ITEM, REFRESH_AT[ages] * len(self._release_steps) + items)

    def learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        (tensors, settings), (weights, schema) = super().learnt(), self.estimator.learnt()
        return {**tensors, **weights}, {**settings, "schema": schema}

    def take(self, tensors: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        super().take(tensors, {name: x for name, x in settings.items() if name != "schema"})
        self.estimator.take({name: x for name, x in tensors.items() if name != "care"}, settings["schema"])
