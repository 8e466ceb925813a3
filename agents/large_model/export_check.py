"""Whether an export scores as PyTorch does, in random sessions.

Shape legend: N sessions, M candidates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.large_model.env import make_env
from agents.large_model.model import LargeModelNetwork
from agents.large_model.random_sessions import ENV_IDS, random_sessions
from agents.large_model.serving.export_folder import START, STEP
from agents.large_model.serving.exported_agent import ExportedRunner
from agents.large_model.serving.exported_model import ExportedModel
from agents.large_model.session_state import PolicyRunner

SPLIT = "validation"
LARGEST_DIFFERENCE, LEAST_SAME_BEST = 1e-4, 0.999

_NUM_LANES, _SEED = 50, 600_000_001


class Agreement(NamedTuple):
    """Of an exported graph with PyTorch."""

    num_observations: int
    largest_difference: float
    """Of two logits of the same candidate, in absolute value."""
    same_best: float
    """Share of observations with the same best candidate."""

    @property
    def is_close(self) -> bool:
        """Whether it is as close as rounding lets one expect."""
        return self.largest_difference <= LARGEST_DIFFERENCE and self.same_best >= LEAST_SAME_BEST


def agreements(
    network: LargeModelNetwork, folder: Path, precisions: Sequence[str], num_observations: int
) -> dict[str, dict[str, Agreement]]:
    """For each precision those of the graphs `start` and `step`, each in `num_observations` observations of random
    sessions, or some more, in equal parts from `ENV_IDS`."""
    compared = {precision: {START: _Comparison(), STEP: _Comparison()} for precision in precisions}
    models = {precision: ExportedModel(folder, precision=precision) for precision in precisions}
    number = -(-num_observations // len(ENV_IDS))
    lanes = min(_NUM_LANES, number)
    for env_id in ENV_IDS:
        env = make_env(env_id, lanes, split=SPLIT)
        content, everywhere = network.content_of(env), np.ones(lanes, np.bool_)
        followed, reread = (PolicyRunner(network, env.simulator, content, lanes) for _ in range(2))
        runners = {precision: ExportedRunner(model, model.catalog(env), lanes) for precision, model in models.items()}
        num_left = number
        for observations, starts in random_sessions(env, _SEED):
            is_there = observations["candidate_items"] >= 0
            step = followed.scores(observations, starts).logits.numpy(force=True)
            start = reread.scores(observations, everywhere).logits.numpy(force=True)
            for precision, runner in runners.items():
                graphs, model, tables = compared[precision], models[precision], runner.tables
                graphs[START].add(model.start(tables, observations)[0].logits, start, is_there)
                found = runner.scores(observations, starts).logits
                graphs[STEP].add(found[~starts], step[~starts], is_there[~starts])
            num_left -= int((~starts).sum())
            if num_left <= 0:
                break
    return {
        precision: {name: each.agreement() for name, each in graphs.items()} for precision, graphs in compared.items()
    }


class _Comparison:
    def __init__(self) -> None:
        self._num_observations, self._num_same, self._largest = 0, 0, 0.0

    def add(self, found: np.ndarray, expected: np.ndarray, is_there: np.ndarray) -> None:
        """Logits [n, M] of some sessions, where there are candidates."""
        self._num_observations += len(found)
        self._num_same += int((found.argmax(1) == expected.argmax(1)).sum())
        self._largest = max(self._largest, float(np.abs(found - expected)[is_there].max(initial=0.0)))

    def agreement(self) -> Agreement:
        return Agreement(self._num_observations, self._largest, self._num_same / max(self._num_observations, 1))
