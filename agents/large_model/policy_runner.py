"""Plays with a trained model whatever sessions come, as they come: what agents and commands share.

Shape legend: N sessions (lanes of an env), S slots, M candidates.
"""

from typing import Any

import numpy as np
import torch

from agents.large_model.model import LargeModel, Scores
from agents.large_model.rollout import Behaviour, check_remembers_a_step
from agents.large_model.session_state import ObservationReader, Reading, SessionReader


class Follower:
    """Follows N sessions, each of which may end and be followed by the next at any step.

    Args:
        model: what scores.
        env: of compact observations, a vector env or a single one.
        behaviour: how slates are chosen.
        seed: of what is drawn.
        reads_history: False shows what the model makes of a profile and candidates alone.
    """

    def __init__(
        self, model: LargeModel, env: Any, behaviour: Behaviour, seed: int = 0, reads_history: bool = True
    ) -> None:
        simulator = env.unwrapped.simulator
        check_remembers_a_step(simulator)
        device = next(model.parameters()).device
        self.model, self.behaviour, self.reads_history = model, behaviour, reads_history
        self._num_slots = simulator.config.slate_size
        self._generator = torch.Generator(device).manual_seed(seed)
        content = model.content_of(env.unwrapped)
        with torch.no_grad():
            tables = model.item_tables(content)
        self._read = ObservationReader(simulator, model.schema, device)
        self._memory = SessionReader(
            model,
            content,
            tables,
            num_sessions=len(simulator),
            num_slots=self._num_slots,
            max_steps=simulator.config.session_length,
            history_length=simulator.config.history_length,
        )
        self._num_shown = torch.zeros(len(simulator), dtype=torch.int64, device=device)

    @torch.no_grad()
    def slates(self, observations: dict[str, np.ndarray], is_first: np.ndarray) -> np.ndarray:
        """[N, S] int64: what to show next; `is_first` [N] marks the sessions that have just begun."""
        reading = self._read(observations)
        scores = self.scores(reading, is_first)
        slates = self.behaviour.draw(scores, reading.candidates, self._num_slots, self._generator)
        return slates.cpu().numpy()

    @torch.no_grad()
    def scores(self, reading: Reading, is_first: np.ndarray) -> Scores:
        """Scores of the candidates, after what has come of the step before is read."""
        begins = torch.as_tensor(is_first).to(self._num_shown.device)
        if not self.reads_history:
            reading, begins = reading.without_history(), torch.ones_like(begins)
        if begins.all():
            self._memory.begin(reading)
        elif not begins.any():
            self._memory.go_on(reading, self._num_shown)
        else:
            for which, step in ((begins, self._memory.begin), (~begins, self._go_on)):
                lanes = which.nonzero()[:, 0]
                step(reading.some(lanes), lanes)
        self._num_shown = (reading.candidates >= 0).sum(1).clamp(max=self._num_slots)
        return self._memory.scores(reading, self._memory.dynamics(reading))

    def _go_on(self, reading: Reading, which: torch.Tensor) -> None:
        self._memory.go_on(reading, self._num_shown[which], which)
