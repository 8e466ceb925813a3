"""Selection of weights: the best of several evaluations during a training, on the split `validation`."""

import copy
from typing import Any

import torch

from agents.large_model.training import Training
from agents.networks.item_content import ItemContent

_CATALOG_SEED, _SESSIONS_SEED = 800_000_003, 900_000_001
_NUM_SESSIONS = 400


class Validation:
    """Evaluations in an env like the training's, with users and items of the split `validation`."""

    def __init__(self, env: Any) -> None:
        self.env = env.remake(num_envs=_NUM_SESSIONS, split="validation", user_split=None, catalog_seed=_CATALOG_SEED)
        self._content: ItemContent | None = None
        self._highest = -float("inf")
        self._best: dict[str, torch.Tensor] = {}

    def keep_best(self, training: Training) -> float:
        """The mean return of the present weights, which are kept if it is the highest so far."""
        if self._content is None:
            self._content = training.network.content_of(self.env)
        mean_return = training.mean_return(self.env, self._content, _SESSIONS_SEED)
        if mean_return > self._highest:
            self._highest, self._best = mean_return, copy.deepcopy(training.network.trained_weights())
        return mean_return

    def restore(self, training: Training) -> None:
        """Give the best weights back to the network."""
        training.network.load_state_dict(self._best, strict=False)
