"""Selection of weights: the best of several evaluations during a training, on the split `validation`."""

import copy
from typing import Any

import torch

from agents.large_model.training import Training
from agents.networks.item_content import ItemContent

_CATALOG_SEED, _SESSIONS_SEED = 800_000_003, 900_000_001
_NUM_CATALOGS, _NUM_SESSIONS = 4, 100  # several, as weights may suit one catalogue by chance


class Validation:
    """Evaluations in envs like the training's, with users and items of the split `validation`."""

    def __init__(self, env: Any) -> None:
        held_out = {"num_envs": _NUM_SESSIONS, "split": "validation", "user_split": None}
        self._envs = [env.remake(**held_out, catalog_seed=_CATALOG_SEED + n) for n in range(_NUM_CATALOGS)]
        self._contents: list[ItemContent] = []
        self._highest = -float("inf")
        self._best: dict[str, torch.Tensor] = {}

    def close(self) -> None:
        """Close the envs."""
        for env in self._envs:
            env.close()

    def keep_best(self, training: Training) -> float:
        """The mean return of the present weights, which are kept if it is the highest so far."""
        if not self._contents:
            self._contents = [training.network.content_of(env) for env in self._envs]
        returns = [
            training.mean_return(env, content, _SESSIONS_SEED + n * _NUM_SESSIONS)
            for n, (env, content) in enumerate(zip(self._envs, self._contents, strict=True))
        ]
        mean_return = sum(returns) / len(returns)
        if mean_return > self._highest:
            self._highest, self._best = mean_return, copy.deepcopy(training.network.trained_weights())
        return mean_return

    def restore(self, training: Training) -> None:
        """Give the best weights back to the network."""
        training.network.load_state_dict(self._best, strict=False)
