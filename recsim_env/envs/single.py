"""One session as a `gymnasium.Env`: the simulator with a batch of one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import gymnasium
import numpy as np

from recsim_env.config import Scenario
from recsim_env.envs.session_recording import SessionRecording
from recsim_env.envs.spaces_and_actions import (
    REWARD_INFO_KEYS,
    SimulatorAccess,
    check_options,
    checked_seed,
    session_seeds,
)
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel

if TYPE_CHECKING:
    from recsim_env.envs.session_figure import SessionWindow

_FIRST, _ZEROS = np.zeros(1, np.int64), np.zeros(len(REWARD_INFO_KEYS))


class RecommenderEnv(SimulatorAccess, gymnasium.Env[Any, Any]):
    """
    ## Description
    An episode is one session of one user, or a life of several visits. In each step the agent shows one item, or a
    slate of S items, from M candidates. The user examines the slate, clicks items or none, consumes and rates them, and
    changes: interests, satiation, trust, patience and budget are latent. Items are released and retired during the
    session. The pages of the scenarios describe further mechanisms: purchases, creators, moods and repeats.

    ## Action Space
    * `action="candidate"`: `Discrete(M)`, the index of a candidate; `MultiDiscrete([M] * S)` for `slate_size` S > 1,
      top slot first. A missing candidate, or one that is already in a higher slot, leaves its slot empty.
    * `action="content"`: `Box(-1, 1, (S * F,))`, a point in content space per slot; it shows the nearest candidate.
    * `action="catalog"`: the same, for the nearest available item.

    ## Observation Space
    `observation="dict"` is a `Dict` of float32 vectors in [-1, 1], small enough for generic networks:

    | key | length | content |
    |---|---|---|
    | `user` | 4 + Q | `observation.USER_FEEDBACK`, `observation.CONTEXT`, the visible mood (with Q > 1 moods) |
    | `candidates` | M * 3 | `observation.RELEVANCE_COLUMNS`: the predicted answer of this user |
    | `candidate_mask` | M | 1 for each candidate that exists |

    In lifetimes, `user` has four more columns, `observation.VISIT_CONTEXT`. `"flat"` concatenates the three in this
    order. `"full"` is a `Dict` of everything that is observed, for networks that score each candidate, such as
    `recsim_env.sb3.CandidatePolicy`:

    | key | length | content |
    |---|---|---|
    | `user` | P + 2 + Q | noisy profile, `observation.CONTEXT`, the visible mood |
    | `history` | H * (F + 7) | items shown, most recent first: content, then `observation.FEEDBACK` |
    | `candidates` | M * (F + 9) | content, then `observation.CANDIDATE_COLUMNS` |
    | `candidate_mask` | M | as above |

    `"compact"` holds `user`, item ids, feedback and the platform's time, for agents that keep the catalogue
    (`catalog_features`, `catalog_statistics`, `catalog_release_steps`).

    ## Rewards
    `reward_scale` times the weighted sum of the terms in `RewardConfig`: by default the mean over the slate of the
    rating minus the scenario's neutral rating, with 0 for every slot without a rating. `info` holds each unweighted and
    unscaled term: `reward_rating`, `reward_click`, `reward_consumption`, `reward_purchase`, `reward_retention`,
    `reward_visit`, `reward_active_day`, as NumPy floats, 0 after `reset`. `reward_rating` includes ratings that the
    user did not submit.

    ## Starting State
    A user drawn from the population at a random time of the catalogue's life; a warm user has a logged history.
    `reset(seed=s)` determines the session, given the actions; `options={"user_seed": .., "noise_seed": ..,
    "candidate_seed": ..}` replaces one of its three seeds.

    ## Episode End
    `terminated` when the user leaves, `truncated` after `session_length` steps. In lifetimes: `terminated` when the
    user does not return within `LifetimeConfig.churn_days`, `truncated` after `num_days` or `session_length` steps.

    ## Arguments
    * `scenario`: a name in `recsim_env.SCENARIOS` or `LIFETIMES`, `Replay`, or a `Scenario`.
    * `observation`: `"dict"`, `"flat"`, `"full"` or `"compact"`; `action`: `"candidate"`, `"content"` or `"catalog"`.
    * `slate_size`, `num_candidates`, `session_length`, `history_length`: by default the scenario's; at most as
      many candidates as items.
    * `candidates`: `"random"`, or a stage of retrieval: `"popular"`, `"similar"` or `"mixed"`; see `SessionConfig`.
    * `candidate_order`: `"relevance"`, the platform's ranking for this user (see `recsim_env.simulation.relevance`);
      `"popularity"`, `"category"`, or `"random"`, where positions have no meaning.
    * `reward_scale`: factor of rewards, by default 1, or 1/8 where returns are large: MovieLens, Ratings, Replay,
      lifetimes.
    * `catalog_seed`: draws items and users. `split`: `"all"`, `"train"`, `"validation"` or `"test"`; the last three
      share no item and no user. `user_split`: another split for the users.
    * `world_seed`: draws the structure: clusters of users, profiles, moods, creators. `structure_split`: splits of
      structures, to hold out whole ones. Neither is for scenarios from a log.
    * `world`: for the scenario `MovieLens`, a fitted world (.npz), a MovieLens-100K folder or a CSV file; for `Replay`
      the log itself; for `Items`, whose users are not simulated, a table of items.
    * `overrides`: other values of the scenario, such as `{"population": {"warm_share": 1.0}}`.
    * `user_model`: a `UserModel` that replaces functions of the user model.
    * `live_platform`: item statistics grow with feedback and persist across sessions; see `RecommenderVectorEnv`.
    * `num_threads`: threads that share a step; results do not depend on it.
    * `render_mode`: `"ansi"` describes the session in text; `"rgb_array"` returns a picture of it, with latent state,
      and `"human"` shows that picture in a window. Pictures need Matplotlib: `pip install 'recsim-env[render]'`.

    ```python
    env = gymnasium.make("recsim_env/Video-v0", num_candidates=50, overrides={"reward": {"click": 0.5}})
    ```

    ## Version History
    * v0: first release.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        scenario: str | Scenario = "Video",
        *,
        observation: str = "dict",
        action: str = "candidate",
        slate_size: int | None = None,
        num_candidates: int | None = None,
        session_length: int | None = None,
        history_length: int | None = None,
        candidates: str | None = None,
        candidate_order: str | None = None,
        reward_scale: float | None = None,
        catalog_seed: int = 0,
        split: str = "all",
        user_split: str | None = None,
        world_seed: int = 0,
        structure_split: str = "all",
        world: str | Path | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        user_model: UserModel = DEFAULT_USER_MODEL,
        live_platform: bool = False,
        num_threads: int = 1,
        render_mode: str | None = None,
        **unknown: Never,
    ) -> None:
        self.observation_space, self.action_space = self._set_up(1, locals())
        self._layout = self.simulator.layout.of_kind(observation)
        self._reward_scale = self.simulator.config.reward_scale
        self._window: SessionWindow | None = None

    @property
    def recording(self) -> SessionRecording | None:
        """The session so far, for `session_figure`; kept in the render modes that draw pictures."""
        return self.recordings.get(0)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no window yet."""
        return {**self.__dict__, "_window": None}

    def remake(self, **arguments: Any) -> RecommenderVectorEnv:
        """A vector env with the arguments of this env, except for the given ones: `env.remake(num_envs=64)`."""
        return RecommenderVectorEnv(**{**self.arguments, "render_mode": None, **arguments})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a session; see Starting State. Without a seed: the next episode of the last seed."""
        check_options(options)
        if seed is not None:
            seed = checked_seed("seed", seed)
            super().reset(seed=seed)
        elif options or not self.simulator.has_started:
            seed = int(self.np_random.integers(2**63))
        if seed is None:
            self._start(_FIRST)
        else:
            self._start(_FIRST, session_seeds([seed], options))
        if self.render_mode == "human":
            self.render()
        return self._observation(), dict(zip(REWARD_INFO_KEYS, _ZEROS, strict=False))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Show an item or a slate; `ValueError` for an action outside the action space."""
        if self.simulator.is_over[0]:
            raise gymnasium.error.ResetNeeded("the session is over, or none has started: call reset()")
        reward, *_, terminated, truncated = self.simulator.step(self._slate(action)).item()
        info = dict(zip(REWARD_INFO_KEYS, self.simulator.reward_terms[0], strict=False))  # strict costs as much again
        if self.recordings:
            self.recordings[0].record()
            if self.render_mode == "human":
                self.render()
        return self._observation(), reward * self._reward_scale, terminated, truncated, info

    def _observation(self) -> Any:
        kind = self.observation_kind
        if kind == "compact":
            parts: Any = self.simulator.observe(kind)
            return {name: values[0] for name, values in parts.items()}
        vector = self.simulator.observed_vectors(kind)[0]
        return vector if kind == "flat" else self._layout.parts(vector)

    def action_masks(self, env: object = None) -> np.ndarray:
        """[S * M] bool: which candidates exist, once for each slot.

        `env` is not used: sb3-contrib's `ActionMasker(env, "action_masks")` passes it.
        """
        masks: np.ndarray = super().action_masks()[0]
        return masks

    def latent_state(self) -> dict[str, np.ndarray]:
        """Privileged: `Simulator.latent_state` of this session."""
        self._check_started()
        return {name: values[0] for name, values in self.simulator.latent_state().items()}

    def render(self) -> Any:
        """The session so far, in text or as a picture.

        `"ansi"` returns a string without latent state, `"rgb_array"` a picture [H, W, 3] uint8 with latent state, and
        `"human"` shows that picture in a window, as `reset` and `step` do.

        Raises:
            gymnasium.error.DependencyNotInstalled: a picture without Matplotlib, or a window without a display.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs a render mode: gymnasium.make(..., render_mode='ansi')")
            return None
        self._check_started()
        if self.render_mode != "human":
            return self.render_lane(0)
        from recsim_env.envs.session_figure import SessionWindow  # here, as it imports Matplotlib

        self._window = self._window or SessionWindow()
        self._window.show(self.recordings[0], 1.0 / self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window and end the threads, if there are any."""
        if self._window is not None:
            self._window.close()
        self.simulator.close()
