"""Plays whole sessions with a model and keeps them, to be learnt from.

Shape legend: N sessions, n of them that are still followed, T steps, S slots, M candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.large_model.model import LargeModel, Scores
from agents.large_model.plackett_luce import best_slates, draw_slates, slate_log_probabilities
from agents.large_model.session_state import ObservationReader, SessionReader
from agents.large_model.sessions import Sessions
from agents.large_model.timer import Stopwatch
from agents.networks.item_content import ItemContent

Teacher = Callable[[], np.ndarray]
"""Scores [N, M] of the present candidates of an env's sessions, in units of reward; called before each step."""

PLAYS = ("draw", "best", "expected")
"""What is shown: a draw of the policy, what it finds best, or what supervision alone expects most reward of."""

_WORTH_COPYING = 0.6  # share of followed sessions that still run, below which the others are dropped from the cache


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How slates are drawn while sessions are played to be learnt from."""

    exploration: float = 0.0
    """Share of the slates that are drawn at random."""
    play: str = "draw"
    """One of `PLAYS`."""

    def draw(
        self, scores: Scores, candidates: torch.Tensor, num_slots: int, generator: torch.Generator
    ) -> torch.Tensor:
        """[n, S]: slates from among candidates [n, M]."""
        logits = scores.logits
        if self.play == "expected":
            slates = best_slates(scores.worths.masked_fill(candidates < 0, -torch.inf), num_slots)
        elif self.play == "best":
            slates = best_slates(logits, num_slots)
        else:
            slates = draw_slates(logits, num_slots, generator)
        if self.exploration > 0.0:
            at_random = draw_slates(torch.zeros_like(logits).masked_fill(candidates < 0, -1e9), num_slots, generator)
            is_random = torch.rand(len(logits), 1, generator=generator, device=logits.device) < self.exploration
            slates = torch.where(is_random, at_random, slates)
        return slates


def check_remembers_a_step(simulator: Any) -> None:
    """`ValueError` if what came of a step cannot be seen after it."""
    config = simulator.config
    if config.history_length < config.slate_size:
        raise ValueError(
            f"history_length={config.history_length}: must be at least slate_size={config.slate_size}, or else the "
            "answers to a slate are forgotten before they can be read"
        )


@torch.no_grad()
def play(
    model: LargeModel,
    env: Any,
    content: ItemContent,
    *,
    seed: int,
    generator: torch.Generator,
    behaviour: Behaviour = Behaviour(),
    teacher: Teacher | None = None,
    stopwatch: Stopwatch | None = None,
) -> Sessions:
    """One session in each of the N lanes of a vector env of compact observations, the first one seeded `seed`.

    `stopwatch` takes the time spent in the env.
    """
    stopwatch = stopwatch or Stopwatch()
    config, device = env.simulator.config, content.features.device
    num_slots, num_sessions = config.slate_size, env.num_envs
    reader, tables = ObservationReader(env.simulator, model.schema, device), model.item_tables(content)
    observations, _ = env.reset(seed=seed)
    reading = reader(observations)
    memory = SessionReader(
        model,
        content,
        tables,
        num_sessions=num_sessions,
        num_slots=num_slots,
        max_steps=config.session_length,
        history_length=int(reading.num_rows.max()),
    )
    memory.begin(reading)
    record = _Record(num_sessions, config.session_length, device)
    lanes = torch.arange(num_sessions)  # of the sessions that are followed
    is_running = np.ones(num_sessions, np.bool_)
    while is_running.any():
        dynamics = memory.dynamics(reading)
        scores = memory.scores(reading, dynamics)
        slates = behaviour.draw(scores, reading.candidates, num_slots, generator)
        seen = {
            "users": reading.users,
            "num_rows": memory.num_rows.clone(),
            "candidates": reading.candidates,
            "dynamics": dynamics,
            "slates": slates,
            "log_probabilities": slate_log_probabilities(scores.logits, slates),
            "values": model.value(scores.values),
        }
        if teacher is not None:
            seen["teacher"] = torch.as_tensor(teacher()[lanes], dtype=torch.float32)
        actions = np.zeros((num_sessions, num_slots), np.int64)
        actions[lanes] = slates.cpu().numpy()
        with stopwatch.on("env"):
            observations, rewards, terminated, truncated, infos = env.step(actions[:, 0] if num_slots == 1 else actions)
        num_shown = (reading.candidates >= 0).sum(1).clamp(max=num_slots)
        num_shown = num_shown * torch.as_tensor(is_running)[lanes].to(device)  # of sessions that are over, nothing
        reading = reader(_after(observations, infos, lanes.numpy()))
        clicked = memory.go_on(reading, num_shown)
        record.add(lanes, **seen, clicked=clicked, rewards=torch.as_tensor(rewards[lanes], dtype=torch.float32))
        record.lengths += torch.as_tensor(is_running)
        is_running &= ~(terminated | truncated)
        still = torch.as_tensor(is_running)[lanes]
        if still.sum() < _WORTH_COPYING * len(lanes):
            record.add_rows(lanes, memory)
            which = still.nonzero()[:, 0]
            lanes, on_device = lanes[which], which.to(device)
            memory.keep(on_device)
            reading = reading.some(on_device)
    return record.sessions()


def _after(observations: dict[str, np.ndarray], infos: dict[str, Any], lanes: np.ndarray) -> dict[str, np.ndarray]:
    """Observations of some lanes right after a step: in those that have gone on to the next session, the old one's."""
    chosen = {name: part[lanes] for name, part in observations.items()}
    if "final_obs" in infos:
        for place in np.flatnonzero(infos["_final_obs"][lanes]):
            for name, value in infos["final_obs"][lanes[place]].items():
                chosen[name][place] = value
    return chosen


class _Record:
    """What is kept of sessions, whichever of them are still followed."""

    def __init__(self, num_sessions: int, max_steps: int, device: torch.device) -> None:
        self._num_sessions, self._max_steps, self._device = num_sessions, max_steps, device
        self._kept: dict[str, torch.Tensor] = {}
        self._step = 0
        self.lengths = torch.zeros(num_sessions, dtype=torch.int64)

    def add(self, lanes: torch.Tensor, **values: torch.Tensor) -> None:
        """The next step of the sessions in these lanes."""
        for name, value in values.items():
            if name not in self._kept:
                shape = (self._num_sessions, self._max_steps, *value.shape[1:])
                self._kept[name] = torch.zeros(shape, dtype=value.dtype, device=self._device)
            self._kept[name][lanes.to(self._device), self._step] = value.to(self._device)
        self._step += 1

    def add_rows(self, lanes: torch.Tensor, memory: SessionReader) -> None:
        """All rows so far, before sessions are dropped."""
        for name, value in (("row_items", memory.items), ("row_answers", memory.answers)):
            if name not in self._kept:
                self._kept[name] = torch.zeros((self._num_sessions, *value.shape[1:]), dtype=value.dtype).to(value)
            self._kept[name][lanes.to(self._device)] = value

    def sessions(self) -> Sessions:
        """Everything that was added."""
        kept = Sessions(**self._kept, lengths=self.lengths.to(self._device))
        return kept.part(torch.arange(self._num_sessions, device=self._device))
