"""Algorithms of Stable-Baselines3 and sb3-contrib as agents, and models that were trained with them elsewhere.

PPO, A2C, DQN, TRPO, RecurrentPPO, MaskablePPO and QR-DQN show one of the candidates; SAC, TD3 and DDPG show the
candidate nearest to a point in content space.
"""

import copy
import importlib
import inspect
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.agent import Agent, Env, Learner, NotFittedError, Observations, Starts, State, check_arguments
from agents.reinforcement.content_policies import CONTENT_POLICIES, check_shows_points
from agents.rollouts.evaluation import evaluate
from agents.tracking.tracker import numbers_in
from recsim_env.config import check_number
from recsim_env.envs.spaces_and_actions import action_space
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.sb3 import RecommenderSB3VecEnv
from recsim_env.sb3.policies import CANDIDATE_POLICIES, check_shows_one_item

CONTRIB_ALGORITHMS = ("TRPO", "RecurrentPPO", "MaskablePPO", "QRDQN")
ALGORITHMS = (*CANDIDATE_POLICIES, *CONTENT_POLICIES, *CONTRIB_ALGORITHMS)
"""Names of algorithms; those of `CONTRIB_ALGORITHMS` need sb3-contrib."""

POLICIES = ("candidate", "MultiInputPolicy", "MlpPolicy")
"""`candidate` scores all candidates with one network (`recsim_env.sb3`, and `content_policies` for points in
content space); the others are the library's own, over concatenated observations."""

_NUM_VALIDATION_SESSIONS = 500
_VALIDATION_CATALOG = 1_000  # added to the training env's `catalog_seed`

_ZIP_ALGORITHMS = ("PPO", "A2C", "DQN", "SAC", "TD3", "RecurrentPPO", "MaskablePPO", "QRDQN", "TQC", "CrossQ", "ARS")


class _SB3Agent(Agent):
    """Acts by a model of Stable-Baselines3 or sb3-contrib."""

    _model: Any = None

    @property
    def model(self) -> Any:
        """The model of the library; `NotFittedError` before training."""
        if self._model is None:
            raise NotFittedError
        return self._model

    def initial_state(self, num_sessions: int) -> dict[str, Any] | None:
        """RecurrentPPO's `lstm` states, None before the first step."""
        return {"lstm": None} if hasattr(self.model.policy, "lstm_actor") else None

    def act(
        self, observations: Observations, state: dict[str, Any] | None, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        if state is not None:
            actions, state["lstm"] = self.model.predict(observations, state["lstm"], episode_start, deterministic)
            return actions
        return self.model.predict(observations, deterministic=deterministic, **self._masks(observations))[0]

    @torch.no_grad()
    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        policy, masks = self.model.policy, self._masks(observations)
        if not (isinstance(policy, ActorCriticPolicy) or masks):
            return super().log_probabilities(observations, actions, state, episode_start)
        tensors, _ = policy.obs_to_tensor(observations)
        if hasattr(policy, "lstm_actor"):
            zeros = np.zeros((policy.lstm_actor.num_layers, len(actions), policy.lstm_actor.hidden_size))
            lstm = state["lstm"] if state and state["lstm"] else (zeros, zeros)
            starts: Any = np.zeros(len(actions)) if episode_start is None else episode_start
            hidden, cell, starts = (torch.as_tensor(part, device=policy.device).float() for part in (*lstm, starts))
            distribution, _ = policy.get_distribution(tensors, (hidden, cell), starts)
        else:
            distribution = policy.get_distribution(tensors, **masks)
        log_probabilities = distribution.log_prob(torch.as_tensor(actions, device=policy.device))
        return log_probabilities.cpu().numpy().astype(np.float64)

    @torch.no_grad()
    def candidate_scores(self, observations: Observations) -> np.ndarray:
        """Logits of the policy, or action values, of models without a memory that show one item."""
        policy, num_candidates = self.model.policy, self.layout.num_candidates
        if getattr(self.model.action_space, "n", 0) == num_candidates and not hasattr(policy, "lstm_actor"):
            tensors, _ = policy.obs_to_tensor(observations)
            if isinstance(policy, ActorCriticPolicy):
                return policy.get_distribution(tensors, **self._masks(observations)).distribution.logits.cpu().numpy()
            if hasattr(policy, "q_net"):
                return policy.q_net(tensors).cpu().numpy()
        return super().candidate_scores(observations)

    def _masks(self, observations: Observations) -> dict[str, np.ndarray]:
        """For MaskablePPO, `action_masks` [N, S * M] bool: which candidates are available, once for each slot."""
        if type(self.model).__name__ != "MaskablePPO":
            return {}
        is_dict = isinstance(observations, dict)
        mask = observations["candidate_mask"] if is_dict else observations[:, self.layout.slices["candidate_mask"]]
        return {"action_masks": np.tile(mask > 0, (1, self.slate_size))}


class SB3Learner(_SB3Agent, Learner):
    """An algorithm with the candidate-wise policy, or with one of the library's own.

    Args:
        env: see `Agent`. SAC, TD3 and DDPG play `recsim_env/{scenario}Content-v0`.
        algorithm: one of `ALGORITHMS`.
        policy: one of `POLICIES`. `candidate` reads `"full"` observations, `MlpPolicy` `"flat"`, and `MultiInputPolicy`
            `"dict"`, or `"full"` for SAC, TD3 and DDPG.
        reward_scale: factor on unscaled rewards during training; None for the env's own. Stable-Baselines3 clips the
            gradients of policy and value together: with unscaled ratings the value's would dominate.
        has_fixed_horizon: treats truncation like termination: sessions have a fixed length, and observations contain
            the elapsed time. False bootstraps at truncation, as Stable-Baselines3 does.
        num_validations: number of times during training that the policy plays 500 sessions of the split `validation`,
            the same ones each time; the best policy is kept. 0 keeps the last one.
        num_catalogs: see `Learner`.
        device: where the networks compute: "cpu", "cuda".
        seed: see `Agent`.
        settings: keyword arguments of the algorithm's constructor. `action_noise` may be a number: the standard
            deviation of normal noise on each content feature. `buffer_size` defaults to the number of training steps.

    Raises:
        ValueError: an unknown algorithm or policy, or an env whose actions it does not take.
        TypeError: the algorithm has no such argument.
        ImportError: sb3-contrib is needed and not installed.
    """

    algorithms: tuple[str, ...] = ALGORITHMS

    def __init__(
        self,
        env: Env | str | None = None,
        *,
        algorithm: str,
        policy: str = "candidate",
        reward_scale: float | None = 0.03,
        has_fixed_horizon: bool = True,
        num_validations: int = 0,
        num_catalogs: int = 1,
        device: str = "cpu",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if algorithm not in self.algorithms:
            raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(self.algorithms)}")
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: must be one of {', '.join(POLICIES)}")
        if policy == "MlpPolicy" and algorithm in CONTENT_POLICIES:
            raise ValueError(f"policy={policy!r}: reads no content, which {algorithm} chooses; use MultiInputPolicy")
        self.algorithm, self.policy, self.algorithm_settings = algorithm, policy, settings
        self.reward_scale, self.has_fixed_horizon, self.device = reward_scale, has_fixed_horizon, device
        self.num_validations = num_validations
        check_number("num_validations", num_validations, 0, 1_000, int)
        self.num_catalogs = num_catalogs
        check_number("num_catalogs", num_catalogs, 1, 10_000, int)
        self.observation, self.env_variant = self.env_requirements(algorithm=algorithm, policy=policy)
        known = [name for name in inspect.signature(self.algorithm_class()).parameters if name[0] != "_"]
        check_arguments(f"{type(self).__name__}({algorithm!r})", settings, known)
        super().__init__(env, seed=seed)

    @classmethod
    def env_requirements(cls, *, algorithm: str = "", policy: str = "candidate", **settings: Any) -> tuple[str, str]:
        shows_points = algorithm in CONTENT_POLICIES
        kinds = {"MlpPolicy": "flat", "MultiInputPolicy": "full" if shows_points else "dict"}
        return kinds.get(policy, "full"), "Content" if shows_points else ""

    def set_env(self, env: Env | str) -> None:
        super().set_env(env)
        space = getattr(self.env, "single_action_space", self.env.action_space)
        if self.env_variant:
            num_slots = 1 if self.policy == "candidate" else self.slate_size
            check_shows_points(space, num_slots * self.layout.num_content_features)
        elif self.policy == "candidate" or "DQN" in self.algorithm:
            check_shows_one_item(space)

    def algorithm_class(self) -> type[BaseAlgorithm]:
        """The class of the algorithm."""
        return algorithm_named(self.algorithm)

    def policy_class(self) -> type[BasePolicy] | str:
        """The policy, as the constructor of the algorithm takes it."""
        if self.policy != "candidate":
            return self.policy.replace("Policy", "LstmPolicy") if self.algorithm == "RecurrentPPO" else self.policy
        if self.algorithm in CONTRIB_ALGORITHMS:
            from agents.reinforcement.sb3_contrib_policies import CONTRIB_POLICIES

            return CONTRIB_POLICIES[self.algorithm]
        return (CANDIDATE_POLICIES | CONTENT_POLICIES)[self.algorithm]

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        vector_env = self.training_env(total_timesteps)
        own_scale = vector_env.simulator.config.reward_scale
        factor = 1.0 if self.reward_scale is None else self.reward_scale / own_scale
        env: VecEnv = _TrainingRewards(RecommenderSB3VecEnv(vector_env), factor, self.has_fixed_horizon)
        restored, seed = self._model, self.seed + self.num_timesteps
        settings = copy.deepcopy(self.algorithm_settings)  # SB3 modifies what it is given
        if issubclass(self.algorithm_class(), OffPolicyAlgorithm):
            settings.setdefault("buffer_size", total_timesteps)  # the library's own default takes gigabytes
        if isinstance(settings.get("action_noise"), int | float):
            scale = np.full(env.action_space.shape or (), settings["action_noise"])
            settings["action_noise"] = NormalActionNoise(np.zeros_like(scale), scale)
        self._model = self.algorithm_class()(self.policy_class(), env, seed=seed, device=self.device, **settings)
        if restored is not None:
            self._model.policy.load_state_dict(restored.policy.state_dict())
        # The default logger makes a folder for each training.
        self._model.set_logger(Logger(folder=None, output_formats=[_LatestMetrics(self.training_metrics)]))
        if not update(0):
            return
        callbacks: list[BaseCallback] = [ConvertCallback(lambda *_: update(self._model.num_timesteps))]
        if self.num_validations:
            callbacks.append(_KeepBestPolicy(self._validate(vector_env), total_timesteps // self.num_validations))
        self._model.learn(total_timesteps, callback=callbacks)

    def _validate(self, env: RecommenderVectorEnv) -> Callable[[], float]:
        """A function that returns the mean return in the validation sessions, the same in each call."""
        catalog_seed = int(env.simulator.catalog_seed) + _VALIDATION_CATALOG
        held_out = {"num_envs": _NUM_VALIDATION_SESSIONS, "split": "validation", "catalog_seed": catalog_seed}
        sessions = self.closed_after_training(env.remake(**held_out))
        return lambda: float(evaluate(self, sessions, seed=self.seed).returns.mean())

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        weights = self.model.policy.state_dict()
        return {name: weight.cpu().numpy() for name, weight in weights.items()}, {}

    def restore(self, tensors: Mapping[str, np.ndarray], learned: Mapping[str, Any]) -> None:
        settings = copy.deepcopy(self.algorithm_settings)
        if issubclass(self.algorithm_class(), OffPolicyAlgorithm):
            settings["buffer_size"] = 1
        settings.pop("action_noise", None)
        model: Any = self.algorithm_class()(
            self.policy_class(), None, device=self.device, seed=None, _init_setup_model=False, **settings
        )
        model.observation_space = self.layout.space(self.observation)
        action_kind = "content" if self.env_variant else "candidate"
        model.action_space = action_space(action_kind, self.slate_size, self.layout)
        model.n_envs, model.env = 1, SimpleNamespace(action_space=model.action_space)  # of which SAC reads the size
        with torch.random.fork_rng():
            model._setup_model()
        model.env = None
        model.policy.load_state_dict({name: torch.as_tensor(weight) for name, weight in tensors.items()})
        self._model = model


class SB3Model(_SB3Agent):
    """A model that was trained and saved with Stable-Baselines3 or sb3-contrib; it is not trained any further.

    The kind of observation follows from its observation space; it plays the id with points in content space if its
    action space is a Box.

    Args:
        model: of the library.
        env: see `Agent`.
        seed: see `Agent`.
    """

    def __init__(self, model: BaseAlgorithm, env: Env | str | None = None, *, seed: int = 0) -> None:
        self._model = model
        parts = getattr(model.observation_space, "spaces", None)
        self.observation = "flat" if parts is None else "full" if "history" in parts else "dict"
        self.env_variant = "Content" if isinstance(model.action_space, spaces.Box) else ""
        super().__init__(env, seed=seed)
        self.settings = {}

    @classmethod
    def from_zip(cls, path: Path | str, env: Env | str | None = None, device: str = "cpu") -> "SB3Model":
        """The model in a `.zip` that `model.save` wrote, of any algorithm.

        Reading such a file executes code in it: never read one from an untrusted source.

        Raises:
            ValueError: the file is missing or holds no model; one line that says which.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
        reasons = []
        for name in _ZIP_ALGORITHMS:
            try:
                return cls(algorithm_named(name).load(io.BytesIO(content), device=device), env)
            except Exception as error:  # a file of another algorithm can fail in any way
                reasons.append(" ".join(str(error).split()))
        raise ValueError(f"{path}: not a model of Stable-Baselines3 or sb3-contrib ({reasons[0]})")

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        raise NotImplementedError("SB3Model: save the model itself, by model.save(path)")


def algorithm_named(name: str) -> type[BaseAlgorithm]:
    """The class of an algorithm of Stable-Baselines3 or sb3-contrib.

    Raises:
        ValueError: neither has it.
        ImportError: sb3-contrib is needed and not installed.
    """
    if hasattr(stable_baselines3, name):
        return getattr(stable_baselines3, name)
    try:
        contrib = importlib.import_module("sb3_contrib")
    except ImportError:
        raise ImportError(f"algorithm {name!r}: needs sb3-contrib: pip install 'sb3-contrib>=2.7'") from None
    if not hasattr(contrib, name):
        raise ValueError(f"algorithm {name!r}: neither Stable-Baselines3 nor sb3-contrib has it")
    return getattr(contrib, name)


class _LatestMetrics(KVWriter):
    """Keeps the latest values of the library's logger: `train/loss`, `rollout/ep_rew_mean`, ..."""

    def __init__(self, metrics: dict[str, float]) -> None:
        self._metrics = metrics

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._metrics.update(numbers_in(key_values))

    def close(self) -> None:
        """Nothing is open."""


class _KeepBestPolicy(BaseCallback):
    """Validates the policy every `num_steps` steps and at the end, always after an update; at the end it has the
    weights of the best one."""

    def __init__(self, validate: Callable[[], float], num_steps: int) -> None:
        super().__init__()
        self._validate, self._num_steps, self._next = validate, num_steps, num_steps
        self._best = -math.inf
        self._weights: dict[str, torch.Tensor] = {}

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._next = self.num_timesteps + self._num_steps
            self._compare()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._compare()
        self.model.policy.load_state_dict(self._weights)

    def _compare(self) -> None:
        mean_return = self._validate()
        if mean_return > self._best:
            self._best, self._weights = mean_return, copy.deepcopy(self.model.policy.state_dict())


class _TrainingRewards(VecEnvWrapper):
    """Scales rewards and, with a fixed horizon, hides truncation, so that no value is bootstrapped there."""

    def __init__(self, env: VecEnv, reward_scale: float, has_fixed_horizon: bool) -> None:
        super().__init__(env)
        self._scale, self._has_fixed_horizon = np.float32(reward_scale), has_fixed_horizon

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        if self._has_fixed_horizon:
            for info in infos:
                info["TimeLimit.truncated"] = False
        return observations, rewards * self._scale, dones, infos
