"""One session as a `gymnasium.Env`: the simulator with a batch of one."""

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from recsim_env.config import Scenario
from recsim_env.envs.session_recording import SessionTrace
from recsim_env.envs.session_text import session_as_text
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS, Adapter, BehindAdapter
from recsim_env.envs.vector import RecommenderVectorEnv

if TYPE_CHECKING:
    from recsim_env.envs.session_figure import SessionWindow

_FIRST = np.zeros(1, np.int64)


class RecommenderEnv(BehindAdapter, gymnasium.Env):
    """
    ## Description
    One episode is one session of one person who visits a recommender. In each step the agent shows one item, or a
    slate, out of M candidates; the person looks, clicks or not, consumes, rates, and is changed by it. Interests,
    satiation, trust, patience and budget are latent. Items are released and retired while the session runs. What a
    scenario has besides (purchases, creators, moods, repeats) is in `docs/scenarios`.

    ## Action Space
    `action="candidate"`: `Discrete(M)`, the index of a candidate; with `slate_size` S > 1 `MultiDiscrete([M] * S)`,
    top slot first. A repeated or missing candidate leaves its slot empty, which rates 0. `action="content"`:
    `Box(-1, 1, (S * F,))`, a point in content space for each slot, matched to the nearest candidate;
    `action="catalog"`: the same, matched to the nearest of all items that are there.

    ## Observation Space
    `observation="dict"`: float32 vectors in [-1, 1].

    | key | length | content |
    |---|---|---|
    | `user` | P + 2 + Q | noisy profile, `observation.CONTEXT`, the mood that shows (where there are Q > 1 moods) |
    | `history` | H * (F + 7) | most recent first: content, then `observation.FEEDBACK` |
    | `candidates` | M * (F + 6) | content, then `observation.CANDIDATE_COLUMNS` |
    | `candidate_mask` | M | 1 where there is a candidate |

    `"flat"` is one vector of the four in this order. `"compact"` holds `user`, item ids, feedback and the platform's
    time, for learners that keep the catalogue (`catalog_features`, `catalog_statistics`, `catalog_release_steps`) on
    their device.

    ## Rewards
    The weighted sum of the terms in `RewardConfig`, by default the mean rating over the slate: 1 to 5 stars for
    what was consumed, 0 for what was not. `info` holds each term by its name.

    ## Starting State
    A person drawn from the population at a random time of the catalogue's life; a warm one brings a logged history.
    `reset(seed=s)` fixes everything; `options={"user_seed": .., "noise_seed": .., "world_seed": ..}` replaces one of
    the three seeds.

    ## Episode End
    `terminated` when patience is used up (the person left), `truncated` after `session_length` steps.

    ## Arguments
    `scenario`: a name in `scenarios.SCENARIOS` or a `Scenario`; `overrides`: other numbers for it, such as
    `{"population": {"warm_share": 1.0}, "reward": {"purchase": 5.0}}`; `observation`; `action`; `slate_size`;
    `num_candidates`; `session_length`; `history_length`; `catalog_seed`; `split`: `"all"`, `"train"` or `"test"`,
    parts that share no item and no user; `user_split`: another part for the users; `world`: a fitted world (.npz) or
    a ratings log, for scenarios that need one; `user_model`: functions of your own in place of the user model's
    (`custom_user_model.UserModel`); `live_platform`: item statistics go on from session to session and grow by their feedback
    (see `RecommenderVectorEnv`); `num_threads`;
    `render_mode`: `None`, `"ansi"` for the session in words, `"rgb_array"` for a picture of it, an image of
    `session_figure.HEIGHT` by `WIDTH` pixels, or `"human"` for the picture in a window. A picture shows latent truth
    beside what came of each slate, and needs Matplotlib: `pip install 'recsim-env[render]'`.

    ## Version History
    * v0: first release.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, scenario: str | Scenario = "Video", *, render_mode: str | None = None, **options: Any):
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode={render_mode!r}: must be None, 'human', 'rgb_array' or 'ansi'")
        self._adapter = Adapter(1, scenario=scenario, **options)
        self._arguments = {"scenario": scenario, **options}
        self.observation_space = self._adapter.observation_space
        self.action_space = self._adapter.action_space
        self.render_mode = render_mode
        self.trace: SessionTrace | None = None
        """The session so far, for `session_figure`; kept from `reset` on, with the render modes that draw pictures."""
        self._window: SessionWindow | None = None
        self._is_over = self.simulator.sessions["is_over"]  # a view, which `restore` writes to as well

    def remake(self, **arguments: Any) -> RecommenderVectorEnv:
        """A vector env with this env's arguments, except for those given: `env.remake(num_envs=64)`."""
        return RecommenderVectorEnv(**{"num_envs": 1, **self._arguments, **arguments})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin a session; see Starting State. Without a seed, the next episode of the seed given before."""
        super().reset(seed=seed)
        self._adapter.check_options(options)
        if seed is None and (options or not self.simulator.has_started):
            seed = int(self.np_random.integers(2**63))
        if seed is None:
            self.simulator.start(_FIRST)
        else:
            self.simulator.start(_FIRST, self._adapter.session_seeds([seed], options))
        self.trace = SessionTrace(self.simulator) if self.render_mode in ("human", "rgb_array") else None
        if self.render_mode == "human":
            self.render()
        return self._observation(), {}

    def step(self, action: Any):
        """Show an item or a slate; `ValueError` for an action outside the action space."""
        if self._is_over[0]:
            raise gymnasium.error.ResetNeeded("the session is over, or has not begun: call reset()")
        outcome = self.simulator.step(self._adapter.slate(action))[0].item()
        reward, *terms, terminated, truncated = outcome
        info = dict(zip(REWARD_INFO_KEYS, terms, strict=True))
        if self.trace is not None:
            self.trace.record(reward, info, terminated)
            if self.render_mode == "human":
                self.render()
        return self._observation(), reward, terminated, truncated, info

    def _observation(self):
        kind, simulator = self._adapter.observation, self.simulator
        if kind == "compact":
            return {name: values[0] for name, values in simulator.observe(kind).items()}
        flat = simulator.observe("flat")[0]
        return simulator.layout.parts(flat) if kind == "dict" else flat

    def action_masks(self) -> np.ndarray:
        """[S * M] bool: which candidates are there, once for each slot."""
        return self._adapter.action_masks()[0]

    def latent_state(self) -> dict[str, np.ndarray]:
        """Privileged: `Simulator.latent_state` of this one session."""
        return {name: values[0] for name, values in self.simulator.latent_state().items()}

    def render(self) -> str | np.ndarray | None:  # type: ignore[override]
        """The session so far.

        `"ansi"`: in words, only what an agent may see too. `"rgb_array"`: a picture, [H, W, 3] uint8, latent truth
        included. `"human"`: that picture in a window, which `reset` and `step` draw anew as well.

        Raises:
            gymnasium.error.DependencyNotInstalled: a picture without Matplotlib.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs a render mode: gymnasium.make(..., render_mode='ansi')")
            return None
        if self.render_mode == "ansi":
            return session_as_text(self.simulator, 0)
        if self.trace is None:
            raise gymnasium.error.ResetNeeded("no session has begun: call reset()")
        if self.render_mode == "rgb_array":
            from recsim_env.envs.session_figure import session_pixels  # here, as it loads Matplotlib

            return session_pixels(self.trace)
        if self._window is None:
            from recsim_env.envs.session_figure import SessionWindow

            self._window = SessionWindow()
        self._window.show(self.trace, 1.0 / self.metadata["render_fps"])
        return None

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
        self.simulator.close()
