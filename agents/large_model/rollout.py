"""Sessions played with a network, and recorded for training.

Shape legend: N sessions, n active ones or those of a call, B sessions of a batch, T steps of the longest, K steps of
all sessions, H rows of an observed history, R rows of a session, F columns of a row, S slots, M candidates, J features
of a candidate that change over time, U user features, E width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch

from agents.imitation.teacher import Teacher
from agents.large_model.model import ROW_COLUMNS, LargeModelNetwork, Scores
from agents.large_model.session_state import ObservationReader, SessionState
from agents.large_model.speed import Timer
from agents.networks.item_content import ItemContent
from agents.networks.plackett_luce import best_slates, draw_slates, slate_log_probabilities
from recsim_env.envs.vector import last_observations
from recsim_env.simulation.observation import FEEDBACK

_NUM_FEEDBACK = len(FEEDBACK)
_CLICK = ROW_COLUMNS.index("click")
_COMPACT_BELOW = 0.6  # share of active sessions below which the others are dropped from the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFields:
    """Observations, actions and the network's outputs at the time; ... stands for B, T or for K."""

    users: torch.Tensor
    """[..., U] float32: as observed before each step."""
    num_rows: torch.Tensor
    """[...] int64: rows before each step."""
    candidates: torch.Tensor
    """[..., M] int64, -1 where missing."""
    dynamics: torch.Tensor
    """[..., M, J] float32: `item_content.DYNAMICS`."""
    slates: torch.Tensor
    """[..., S] int64: indices of the items shown among the candidates, top slot first."""
    log_probabilities: torch.Tensor
    """[..., S] float32: of each slot's candidate under the policy that showed it."""
    values: torch.Tensor
    """[...] float32: estimated remaining return."""
    rewards: torch.Tensor
    """[...] float32."""
    clicked: torch.Tensor
    """[..., S] bool: the slot that was clicked, if any."""
    teacher: torch.Tensor | None = None
    """[..., M, 3] float32: a teacher's `TeacherLabels` of the candidates."""
    teacher_values: torch.Tensor | None = None
    """[...] float32: remaining return as estimated by a teacher that is a network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps(StepFields):
    """K steps of some sessions."""

    sessions: torch.Tensor
    """[K] int64: the session of each step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sessions(StepFields):
    """B whole sessions in one catalogue, with T steps of each."""

    row_items: torch.Tensor
    """[B, R] int64: the user's history, then the items shown; padded with -1."""
    row_feedback: torch.Tensor
    """[B, R, F] float32: `model.ROW_COLUMNS` of each row."""
    lengths: torch.Tensor
    """[B] int64: steps."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def is_step(self) -> torch.Tensor:
        """[B, T] bool: whether the step took place."""
        return torch.arange(self.rewards.shape[1], device=self.rewards.device) < self.lengths[:, None]

    @property
    def num_steps(self) -> int:
        """Steps of all sessions."""
        return int(self.lengths.sum())

    @property
    def num_tokens(self) -> int:
        """Tokens of all sessions: a profile and the rows of each."""
        return len(self) + int((self.row_items >= 0).sum())

    @property
    def returns(self) -> torch.Tensor:
        """[B] float32: sums of rewards."""
        return (self.rewards * self.is_step).sum(1)

    @cached_property
    def steps(self) -> Steps:
        """All steps that took place, session by session."""
        sessions, steps = self.is_step.nonzero(as_tuple=True)
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(StepFields)}
        for name, value in values.items():
            values[name] = None if value is None else value[sessions, steps]
        return Steps(sessions=sessions, **values)

    def select(self, index: torch.Tensor) -> "Sessions":
        """Some of the sessions, without the padding that none of them needs."""
        lengths = self.lengths[index]
        num_steps = int(lengths.max())
        num_rows = int(self.num_rows[index, lengths - 1].max()) + self.slates.shape[2]

        def cut(name: str) -> Any:
            value = getattr(self, name)
            if value is None or name == "lengths":
                return value if value is None else lengths
            return value[index, : num_rows if name.startswith("row_") else num_steps]

        return Sessions(**{each.name: cut(each.name) for each in fields(self)})


def scores_of_sessions(
    network: LargeModelNetwork, sessions: Sessions, content: ItemContent, num_at_once: int
) -> Iterator[tuple[tuple[torch.Tensor, torch.Tensor], Steps, Scores]]:
    """Scores of all steps of recorded sessions, `num_at_once` sessions in each pass: the places of the pass's steps in
    [B, T], the steps, and their scores."""
    for index in torch.arange(len(sessions), device=sessions.lengths.device).split(num_at_once):
        part = sessions.select(index)
        yield (index[part.steps.sessions], part.is_step.nonzero(as_tuple=True)[1]), part.steps, network(part, content)


def select_slates(
    scores: Scores,
    candidates: torch.Tensor,
    num_slots: int,
    generator: torch.Generator,
    selection: str = "sample",
    exploration: float = 0.0,
) -> torch.Tensor:
    """[n, S]: slates of candidates [n, M].

    `selection` is as `config.Stage.selection`; a share `exploration` of the slates is uniformly random instead.
    """
    logits = scores.logits
    if selection == "supervised":
        slates = best_slates(scores.expected_rewards.masked_fill(candidates < 0, -torch.inf), num_slots)
    elif selection == "greedy":
        slates = best_slates(logits, num_slots)
    else:
        slates = draw_slates(logits, num_slots, generator)
    if exploration > 0.0:
        at_random = draw_slates(torch.zeros_like(logits).masked_fill(candidates < 0, -1e9), num_slots, generator)
        is_random = torch.rand(len(logits), 1, generator=generator, device=logits.device) < exploration
        slates = torch.where(is_random, at_random, slates)
    return slates


@torch.no_grad()
def play(
    network: LargeModelNetwork,
    env: Any,
    content: ItemContent,
    *,
    seed: int,
    generator: torch.Generator,
    selection: str = "sample",
    exploration: float = 0.0,
    teacher: Teacher | None = None,
    timer: Timer | None = None,
) -> Sessions:
    """One session in each of the N lanes of a vector env with compact observations, the first one seeded `seed`.

    `selection` and `exploration` are as for `select_slates`; `timer` measures the time spent in the env.
    """
    timer = timer or Timer()
    config, device = env.simulator.config, content.features.device
    num_slots, num_sessions = config.slate_size, env.num_envs
    read = ObservationReader(env.simulator, network.schema, device)
    observations, _ = env.reset(seed=seed)
    observation = read(observations)
    state = SessionState.of(network, config, content, num_sessions, int(observation.num_rows.max()))
    state.start(observation)
    recorder = Recorder(num_sessions, config.session_length, device)
    lanes = torch.arange(num_sessions)  # of the sessions in the cache
    is_running = np.ones(num_sessions, np.bool_)
    while is_running.any():
        dynamics = state.dynamics(observation)
        scores = state.scores(observation, dynamics)
        slates = select_slates(scores, observation.candidates, num_slots, generator, selection, exploration)
        step = {
            "users": observation.users,
            "num_rows": state.num_rows.clone(),
            "candidates": observation.candidates,
            "dynamics": dynamics,
            "slates": slates,
            "log_probabilities": slate_log_probabilities(scores.logits, slates),
            "values": network.value_head.mean(scores.values),
        }
        if teacher is not None:
            labels = np.stack(teacher(), 2)[lanes.numpy()]
            step["teacher"] = torch.as_tensor(labels, dtype=torch.float32)
        actions = np.zeros((num_sessions, num_slots), np.int64)
        actions[lanes] = slates.cpu().numpy()
        with timer.measure("env"):
            observations, rewards, terminated, truncated, infos = env.step(actions[:, 0] if num_slots == 1 else actions)
        rewards = rewards / env.simulator.config.reward_scale
        num_shown = (observation.candidates >= 0).sum(1).clamp(max=num_slots)
        num_shown = num_shown * torch.as_tensor(is_running)[lanes].to(device)  # nothing in sessions that are over
        last = last_observations(observations, infos)
        observation = read({name: part[lanes.numpy()] for name, part in last.items()})
        clicked = state.update(observation, num_shown)
        recorder.add(lanes, **step, clicked=clicked, rewards=torch.as_tensor(rewards[lanes], dtype=torch.float32))
        recorder.lengths += torch.as_tensor(is_running)
        is_running &= ~(terminated | truncated)
        is_active = torch.as_tensor(is_running)[lanes]
        if is_active.sum() < _COMPACT_BELOW * len(lanes):
            recorder.add_rows(lanes, state)
            index = is_active.nonzero()[:, 0]
            lanes, on_device = lanes[index], index.to(device)
            state.select(on_device)
            observation = observation.select(on_device)
    return recorder.sessions()


class Recorder:
    """Collects the steps of sessions, some of which are dropped from the cache on the way."""

    def __init__(self, num_sessions: int, max_steps: int, device: torch.device) -> None:
        self._num_sessions, self._max_steps, self._device = num_sessions, max_steps, device
        self._arrays: dict[str, torch.Tensor] = {}
        self._step = 0
        self.lengths = torch.zeros(num_sessions, dtype=torch.int64)

    def add(self, lanes: torch.Tensor, **values: torch.Tensor) -> None:
        """The next step of the sessions in these lanes."""
        for name, value in values.items():
            if name not in self._arrays:
                shape = (self._num_sessions, self._max_steps, *value.shape[1:])
                self._arrays[name] = torch.zeros(shape, dtype=value.dtype, device=self._device)
            self._arrays[name][lanes.to(self._device), self._step] = value.to(self._device)
        self._step += 1

    def add_rows(self, lanes: torch.Tensor, state: SessionState) -> None:
        """All rows so far, before sessions are dropped."""
        for name, value in (("row_items", state.items), ("row_feedback", state.feedback)):
            if name not in self._arrays:
                self._arrays[name] = torch.zeros((self._num_sessions, *value.shape[1:]), dtype=value.dtype).to(value)
            self._arrays[name][lanes.to(self._device)] = value

    def sessions(self) -> Sessions:
        """All sessions."""
        whole = Sessions(**self._arrays, lengths=self.lengths.to(self._device))
        return whole.select(torch.arange(self._num_sessions, device=self._device))
