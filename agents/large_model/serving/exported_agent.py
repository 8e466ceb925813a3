"""An exported large model as an agent, to be evaluated like all others.

Shape legend: N sessions, M candidates, S slots.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Agent, Env, Observations
from agents.large_model.serving.exported_model import CachedSession, CatalogTables, ExportedModel, ServedScores


class ExportedRunner:
    """Scores the candidates of N sessions step by step; a session may end, and the next one start, at any step."""

    def __init__(self, model: ExportedModel, tables: CatalogTables, num_sessions: int) -> None:
        self.num_sessions = num_sessions
        self.tables, self._model = tables, model
        self._sessions: list[CachedSession | None] = [None] * num_sessions
        self._num_shown = np.zeros(num_sessions, np.int64)

    def scores(self, observations: Mapping[str, np.ndarray], episode_start: np.ndarray) -> ServedScores:
        """Scores of the candidates [N, M]; `episode_start` [N] marks the sessions that have just begun."""
        is_new = episode_start | np.array([session is None for session in self._sessions])
        parts = []
        for lanes in (np.flatnonzero(is_new), np.flatnonzero(~is_new)):
            if len(lanes) == 0:
                continue
            own = {name: part[lanes] for name, part in observations.items()}
            if is_new[lanes[0]]:
                scores, sessions = self._model.start(self.tables, own)
            else:
                before: list[Any] = [self._sessions[lane] for lane in lanes]
                scores, sessions = self._model.step(self.tables, before, own, self._num_shown[lanes])
            for lane, session in zip(lanes, sessions, strict=True):
                self._sessions[lane] = session
            parts.append((lanes, scores))
        num_candidates = (observations["candidate_items"] >= 0).sum(1)
        self._num_shown = np.minimum(num_candidates, int(self.tables.slate_size))
        order = np.argsort(np.concatenate([lanes for lanes, _ in parts]))
        return ServedScores(
            *(np.concatenate([getattr(scores, name) for _, scores in parts])[order] for name in ServedScores._fields)
        )


class ExportedAgent(Agent):
    """Shows the best slate by an exported large model.

    Args:
        folder: that of the export.
        env: what it acts in, or an id.
        precision: one of those that were exported.

    Raises:
        ValueError: the folder is no export, or does not have the precision.
    """

    observation = "compact"
    state_class = ExportedRunner

    def __init__(
        self, folder: Path | str, env: Env | str | None = None, *, precision: str = "fp32", seed: int = 0
    ) -> None:
        self.model = ExportedModel(folder, precision=precision)
        self._tables: tuple[Any, CatalogTables] | None = None
        super().__init__(env, seed=seed)

    def initial_state(self, num_sessions: int) -> ExportedRunner:
        if self._tables is None or self._tables[0] is not self.env:
            self._tables = self.env, self.model.catalog(self.env)
        return ExportedRunner(self.model, self._tables[1], num_sessions)

    def act(
        self, observations: Observations, state: ExportedRunner, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        """The best slate, whether `deterministic` or not."""
        scores = state.scores(observations, episode_start).logits
        slates = np.argsort(-scores, axis=1, kind="stable")[:, : self.slate_size]
        return slates[:, 0] if self.slate_size == 1 else slates
