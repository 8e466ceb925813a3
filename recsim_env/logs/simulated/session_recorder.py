"""Records the sessions of a vector env, step by step, as columns of a log.

Shape legend: N lanes, S slots of a slate, M candidates.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode

from recsim_env.logs.simulated.event_schema import REWARD_COLUMNS
from recsim_env.simulation.records import NO_ITEM

if TYPE_CHECKING:
    from recsim_env.envs.vector import RecommenderVectorEnv

_CONSUMPTION, _RATING, _PURCHASE, _FOLLOW = range(4)  # columns of `slot_feedback`


class SessionRecorder:
    """Steps the sessions of a vector env; when one ends, the lane's next session starts at once.

    Feedback is read from the simulator before that, so that it includes the feedback on the last slate of a session,
    and every step has a row for each lane.

    Args:
        env: its `autoreset_mode` must not be `SAME_STEP`, since the env then starts the next session itself.

    Raises:
        ValueError: an unsupported env or autoreset mode.
    """

    def __init__(self, env: Any) -> None:
        own = getattr(env, "unwrapped", env)
        if not (hasattr(own, "simulator") and hasattr(own, "num_envs")):
            raise ValueError(f"env={type(own).__name__}: must be a RecommenderVectorEnv, from gymnasium.make_vec(...)")
        if own.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP:
            raise ValueError("autoreset_mode='SameStep': must be 'NextStep', the default, or 'Disabled'")
        self.env: RecommenderVectorEnv = own
        self._lanes = np.arange(own.num_envs)

    def reset(self, seed: int) -> None:
        """Start the first session of each lane; lane i is seeded with `seed` + i."""
        self.observations, _ = self.env.reset(seed=seed)
        self.next_observations: Any = None
        """Observations after the last step, before the next sessions start; None before the first step."""
        self.episode_start = np.ones(self.env.num_envs, np.bool_)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue the sessions of a `Simulator.state` that was saved between two steps of a recorder."""
        self.env.simulator.restore(state)
        self.observations = self.env.simulator.observe(self.env.observation_kind)
        self.next_observations = None
        self.episode_start = self.env.simulator.sessions["step"] == 0

    def start_session(self, lanes: np.ndarray, sessions: np.ndarray) -> None:
        """Start the sessions with these indices, those of the column `session`, in their lanes [n] int64."""
        self.env.simulator.sessions["episode"][lanes] = sessions // self.env.num_envs - 1
        self.observations, _ = self.env.reset(options={"reset_mask": np.isin(self._lanes, lanes)})
        self.episode_start[lanes] = True

    @property
    def candidates(self) -> np.ndarray:
        """[N, M] int32: ids of the candidates, `NO_ITEM` where there are too few; a copy."""
        return np.array(self.env.simulator.sessions["candidates"])

    def step(self, actions: Any) -> dict[str, np.ndarray]:
        """Show slates and return the rows of the log: [N, ...] for each column except `log_propensity`."""
        env, sessions = self.env, self.env.simulator.sessions
        num_envs, slate_size = env.num_envs, env.simulator.config.slate_size
        items = _without_repeats(env.shown_items(actions))  # first, since it rejects invalid actions
        columns = {
            "session": sessions["episode"] * num_envs + self._lanes,
            "step": sessions["step"].astype(np.int32),
            "visit": (sessions["num_visits"] - 1).astype(np.int32),
            "time": sessions["start_step"] + sessions["step"],
            "user": sessions["user"].astype(np.int32),
            "candidates": self.candidates,
            "action": np.array(actions).reshape(num_envs, -1),
            "item": items,
        }
        following, rewards, terminated, truncated, infos = env.step(actions)
        is_clicked = sessions["clicked"][:, :slate_size] == 1
        feedback = np.where(is_clicked[:, :, None], sessions["slot_feedback"][:, :slate_size], 0.0)
        columns |= {
            "click": is_clicked,
            "consumption": feedback[:, :, _CONSUMPTION].astype(np.float32),
            "rating": feedback[:, :, _RATING].astype(np.float32),
            "purchase": feedback[:, :, _PURCHASE] > 0.0,
            "follow": feedback[:, :, _FOLLOW].astype(np.int8),
            "reward": rewards,
            **{name: infos[name] for name in REWARD_COLUMNS},
            "terminated": terminated,
            "truncated": truncated,
        }
        self.observations = self.next_observations = following
        self.episode_start = terminated | truncated
        if self.episode_start.any():
            self.observations, _ = env.reset(options={"reset_mask": self.episode_start})
        return columns


def _without_repeats(items: np.ndarray) -> np.ndarray:
    """[N, S]: the items shown; a slot is empty if a higher slot has the same item."""
    is_repeated = np.zeros(items.shape, np.bool_)
    for slot in range(1, items.shape[1]):
        is_repeated[:, slot] = (items[:, :slot] == items[:, slot : slot + 1]).any(1)
    return np.where(is_repeated, NO_ITEM, items)
