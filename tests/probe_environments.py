"""Tiny environments with known values, each of which reveals one class of faults in a learner.

They have the interface of `RecommenderVectorEnv`. A session has one or two steps; a candidate has one content feature,
and the order of candidates changes in each step; the user observes a signal of -1 or 1. CleanRL and rejax check their
learners by such probe environments.

Shape legend: N sessions, B rows of a batch, M candidates, S slots of a slate, H shown items in the history.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK, ObservationLayout

SIGNALS = (-1.0, 1.0)
"""Signals of users."""

NOTHING = -2.0
"""In place of a content: nothing was chosen, or there is no previous step."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Ratings of a probe environment, and the values of first actions."""

    ratings: Callable[[Any, Any, Any, Any], Any]
    """From signal, step, content chosen and content chosen in the step before [N] each to the rating [N]."""
    first_values: Callable[[float], list[list[float]]]
    """From gamma to the value [signal, candidate] of showing it alone in the first step, and the best thereafter."""
    num_steps: int = 1
    contents: tuple[float, ...] = (-1.0, 1.0)
    weights: tuple[float, ...] = (np.inf, np.inf)
    """For each content, how often it is chosen for each time that nothing is; inf: the top of the slate, always."""


def _always(value: float) -> list[list[float]]:
    return [[value, value], [value, value]]


PROBES = {
    "constant": Probe(
        ratings=lambda signal, step, chosen, before: 2.0 + 0.0 * signal,
        first_values=lambda gamma: _always(2.0),
    ),
    "observation": Probe(
        ratings=lambda signal, step, chosen, before: 2.0 + signal,
        first_values=lambda gamma: [[1.0, 1.0], [3.0, 3.0]],
    ),
    "two-steps": Probe(
        num_steps=2,
        ratings=lambda signal, step, chosen, before: 1.0 + step,
        first_values=lambda gamma: _always(1.0 + gamma * 2.0),
    ),
    "later": Probe(
        num_steps=2,
        ratings=lambda signal, step, chosen, before: 3.0 * step,
        first_values=lambda gamma: _always(gamma * 3.0),
    ),
    "now-or-later": Probe(
        num_steps=2,
        ratings=lambda signal, step, chosen, before: np.where(step == 0, 2.0 * (chosen < 0), 3.0 * (before > 0)),
        first_values=lambda gamma: [[2.0, gamma * 3.0]] * 2,
    ),
    "action": Probe(
        ratings=lambda signal, step, chosen, before: 2.0 + chosen,
        first_values=lambda gamma: [[1.0, 3.0]] * 2,
    ),
    "action-and-observation": Probe(
        ratings=lambda signal, step, chosen, before: 2.0 + chosen * signal,
        first_values=lambda gamma: [[3.0, 1.0], [1.0, 3.0]],
    ),
    "nothing-clicked": Probe(
        num_steps=2,
        weights=(1.0, 1.0),
        ratings=lambda signal, step, chosen, before: 3.0 * step,
        first_values=lambda gamma: _always(gamma * 3.0),
    ),
    "choice": Probe(
        contents=(-1.0, 0.0, 1.0),
        weights=(4.0, 2.0, 1.0),
        ratings=lambda signal, step, chosen, before: np.select(
            [chosen == -1.0, chosen == 0.0, chosen == 1.0], [1, 4, 2]
        ),
        first_values=lambda gamma: [[0.8, 8 / 3, 1.0]] * 2,
    ),
}
"""`constant`: is the value the reward? `observation`: does the value depend on the user? `two-steps`: are rewards
added up?
`later`: is the bootstrap that of the next state? `now-or-later`: is the future discounted?

`action`: does it find the better candidate, wherever it stands? `action-and-observation`: for this user?
`nothing-clicked`: does a session go on when nothing is chosen? `choice`: what is worth least is chosen most."""


class _Simulator:
    """The attributes of a simulator that agents read."""

    def __init__(self, num_sessions: int, layout: ObservationLayout, config: Any) -> None:
        self.num_sessions, self.layout, self.config = num_sessions, layout, config

    def __len__(self) -> int:
        return self.num_sessions


@dataclass(frozen=True)
class _Config:
    slate_size: int
    reward_scale: float = 1.0


class ProbeVectorEnv(VectorEnv):
    """N sessions of a probe: `observation="full"`, actions of the kind `candidate` or (one item a step) `content`.

    Sessions end by `terminated`, or with `is_truncated=True` by `truncated`. The reward is the rating divided by S.
    """

    observation_kind = "full"
    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        probe: str,
        observation: str = "full",
        action: str = "candidate",
        slate_size: int = 1,
        is_truncated: bool = False,
        split: str = "all",
        catalog_seed: int = 0,
    ) -> None:
        assert observation == "full"
        self.num_envs, self.probe, self.action, self.is_truncated = num_envs, PROBES[probe], action, is_truncated
        self.render_mode = None
        self.contents = np.array(self.probe.contents)
        layout = ObservationLayout(
            num_profile_features=1,
            num_moods=1,
            num_content_features=1,
            num_items=len(self.contents),
            num_candidates=len(self.contents),
            history_length=2 * slate_size,
            has_purchases=False,
        )
        self.simulator = _Simulator(num_envs, layout, _Config(slate_size))
        self.single_observation_space = layout.space("full")
        num_candidates = len(self.contents)
        if action == "content":
            self.single_action_space: spaces.Space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        elif slate_size == 1:
            self.single_action_space = spaces.Discrete(num_candidates)
        else:
            self.single_action_space = spaces.MultiDiscrete(np.full(slate_size, num_candidates))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def remake(self, **arguments: Any) -> "ProbeVectorEnv":
        """No learner of these tests needs another env."""
        raise NotImplementedError

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:  # type: ignore[override]
        if seed is not None or not hasattr(self, "_random"):
            self._random = np.random.default_rng(seed)
        layout = self.simulator.layout
        self._step = np.zeros(self.num_envs, np.int64)
        self._signal, self._before = np.zeros(self.num_envs), np.zeros(self.num_envs)
        self._history = np.zeros((self.num_envs, *layout.history_shape), np.float32)
        self._begin(np.ones(self.num_envs, np.bool_))
        self._draw_order()
        return self._observations(), {}

    def step(self, actions: Any) -> tuple[Any, ...]:  # type: ignore[override]
        shown = self._shown(np.asarray(actions))
        slot = self._choose(shown)
        lanes = np.arange(self.num_envs)
        chosen = np.where(slot >= 0, shown[lanes, slot], NOTHING)
        ratings = np.asarray(self.probe.ratings(self._signal, self._step, chosen, self._before), np.float64)
        rewards = ratings * np.ones(self.num_envs) / shown.shape[1]
        self._remember(shown, slot)
        self._before, self._step = chosen, self._step + 1
        is_over = self._step == self.probe.num_steps
        self._draw_order()
        terms = {name: np.zeros(self.num_envs) for name in REWARD_INFO_KEYS}
        terms["reward_rating"], terms["reward_click"] = rewards.copy(), (slot >= 0) / shown.shape[1]
        infos: dict[str, Any] = {name: term * ~is_over for name, term in terms.items()}
        if is_over.any():
            last = self._observations()
            infos["final_obs"] = np.full(self.num_envs, None, dtype=object)
            for lane in np.flatnonzero(is_over):
                infos["final_obs"][lane] = {name: part[lane] for name, part in last.items()}
            infos["_final_obs"] = infos["_final_info"] = is_over
            infos["final_info"] = {name: term * is_over for name, term in terms.items()}
            self._begin(is_over)
        no_lane = np.zeros(self.num_envs, np.bool_)
        ends = (no_lane, is_over) if self.is_truncated else (is_over, no_lane)
        return self._observations(), rewards, *ends, infos

    def _begin(self, lanes: np.ndarray) -> None:
        self._step[lanes], self._before[lanes], self._history[lanes] = 0, NOTHING, 0.0
        self._signal[lanes] = self._random.choice(SIGNALS, lanes.sum())

    def _draw_order(self) -> None:
        self._candidates = self._random.permuted(np.tile(self.contents, (self.num_envs, 1)), axis=1)

    def _shown(self, actions: np.ndarray) -> np.ndarray:
        """[N, S] contents."""
        if self.action == "content":
            return self.contents[np.abs(actions - self.contents).argmin(1)][:, None]
        return np.take_along_axis(self._candidates, actions.reshape(self.num_envs, -1), 1)

    def _choose(self, shown: np.ndarray) -> np.ndarray:
        """[N] int64: the slot that is chosen, or -1."""
        if np.isinf(self.probe.weights).all():
            return np.zeros(self.num_envs, np.int64)
        weights = np.array(self.probe.weights)[np.searchsorted(self.contents, shown)]
        ends = np.cumsum(np.concatenate([np.ones((self.num_envs, 1)), weights], 1), 1)
        return (self._random.random((self.num_envs, 1)) * ends[:, -1:] >= ends).sum(1) - 1

    def _remember(self, shown: np.ndarray, slot: np.ndarray) -> None:
        num_slots = shown.shape[1]
        self._history = np.roll(self._history, num_slots, axis=1)
        for place in range(num_slots):  # what was shown last, the lowest slot, is row 0
            row = self._history[:, num_slots - 1 - place]
            row[:] = 0.0
            row[:, 0], row[:, 1], row[:, 2], row[:, 3] = shown[:, place], 1.0, place / 10, slot == place

    def _observations(self) -> dict[str, np.ndarray]:
        return observations_of(self._signal, self._step / self.probe.num_steps, self._history, self._candidates)


def observations_of(signal: Any, elapsed: Any, history: np.ndarray, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """`"full"` observations of signals [N], shares of the session [N], histories [N, H, 8] and contents [N, M]."""
    num_sessions, num_candidates = candidates.shape
    seen = np.zeros((num_sessions, num_candidates, 1 + len(CANDIDATE_COLUMNS)), np.float32)
    seen[:, :, 0] = candidates
    user = np.stack([signal, elapsed, np.zeros(num_sessions)], 1)
    return {
        "user": user.astype(np.float32),
        "history": history.reshape(num_sessions, -1).copy(),
        "candidates": seen.reshape(num_sessions, -1),
        "candidate_mask": np.ones((num_sessions, num_candidates), np.float32),
    }


def first_observations(name: str, slate_size: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Every observation with which a session of the probe can begin (B of them), the row of `first_values` that each
    stands for [B], and for each of its candidates the column [B, M]."""
    contents = np.array(PROBES[name].contents)
    orders = np.array(list(itertools.permutations(range(len(contents)))))
    rows = np.repeat(np.arange(len(SIGNALS)), len(orders))
    columns = np.tile(orders, (len(SIGNALS), 1))
    history = np.zeros((len(rows), 2 * slate_size, 1 + len(FEEDBACK)), np.float32)
    return observations_of(np.array(SIGNALS)[rows], np.zeros(len(rows)), history, contents[columns]), rows, columns


for _name in PROBES:
    gymnasium.register(f"probes/{_name}-v0", vector_entry_point=ProbeVectorEnv, kwargs={"probe": _name})
