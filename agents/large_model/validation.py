"""How a model does in training's scenarios with users and catalogues that no training sees.

Catalogues and sessions are not the ones of the benchmark; people are drawn from the same half as its people. A training
goes to its end whatever is found here.
"""

from typing import Any

import numpy as np
import torch

from agents.large_model.rollout import Behaviour, play
from agents.large_model.training import Training
from agents.large_model.worlds import make_env
from agents.networks.item_content import ItemContent

CATALOG_SEED, SESSIONS_SEED = 600_000_011, 700_000_001


class Validation:
    """Plays the policy's best and what supervision alone finds best, each in the same sessions.

    Args:
        training: whose model it is.
        num_sessions: of each scenario.
    """

    def __init__(self, training: Training, num_sessions: int) -> None:
        self._training, self._num_sessions = training, num_sessions
        self._worlds: dict[str, tuple[Any, ItemContent]] = {}

    def evaluate(self) -> dict[str, float]:
        """Mean returns: `evaluation`, `evaluation_expected` over all scenarios, and of each if there are several."""
        config = self._training.config
        found: dict[str, float] = {}
        for name, behaviour in (
            ("evaluation", Behaviour(play="best")),
            ("evaluation_expected", Behaviour(play="expected")),
        ):
            each = {env_id: self._mean_return(env_id, behaviour) for env_id in config.env_ids}
            found[name] = float(np.mean(list(each.values())))
            if len(each) > 1:
                found |= {f"{name}/{env_id}": value for env_id, value in each.items()}
        return found

    def _mean_return(self, env_id: str, behaviour: Behaviour) -> float:
        training = self._training
        if env_id not in self._worlds:
            options = {**training.config.env_options, "split": "test", "catalog_seed": CATALOG_SEED}
            env = make_env(env_id, self._num_sessions, **options)
            self._worlds[env_id] = env, training.model.content_of(env)
        env, content = self._worlds[env_id]
        generator = torch.Generator(training.processes.device).manual_seed(0)
        with training.playing():
            sessions = play(training.model, env, content, seed=SESSIONS_SEED, generator=generator, behaviour=behaviour)
        return float(sessions.returns.mean())
