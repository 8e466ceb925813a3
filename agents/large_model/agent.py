"""The large model as an agent: `LargeModel(env=env).learn(50_000)` trains the pretrained generalist further."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from agents.agent import Env, Learner, NotFittedError, Observations, unwrapped
from agents.explanation import Explanation
from agents.large_model.checkpoint import MOMENTS, load_network, rebuild
from agents.large_model.config import FINE_TUNING, FROM_SCRATCH, PRESETS, PRETRAINED, TrainingConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.model import LargeModelNetwork, Scores, policy_logits
from agents.large_model.session_state import PolicyRunner
from agents.large_model.training import Training
from agents.large_model.validation import Validation
from agents.networks.device import device_named
from agents.networks.item_content import ItemContent
from agents.networks.plackett_luce import best_slates, draw_slates, slate_log_probabilities
from agents.tracking.tracker import numbers_in
from recsim_env.config import MAX_TIMESTEPS, check_number, replace_fields

RANKINGS = ("policy", "supervised")

NETWORK_SETTINGS = ("preset", "model_overrides", "has_images", "has_audio", "lora_rank", "lora_alpha", "lora_targets")
"""Arguments that describe a new network; one with trained weights has had its own."""


class LargeModelState(NamedTuple):
    """The memory of N sessions, and the generator of sampled actions."""

    runner: PolicyRunner
    generator: torch.Generator

    @property
    def num_sessions(self) -> int:
        """N."""
        return self.runner.num_sessions


class LargeModel(Learner):
    """A Transformer over the items shown and their feedback.

    By default it starts from the generalist that comes with the package, which acts at once, and `learn` trains it
    further by distillation from an oracle (`config.FINE_TUNING`). A new network learns by supervision, then optionally
    by distillation, then by PPO (`config.FROM_SCRATCH`).

    Args:
        preset: `"pretrained"`, or the size of a new network, a name in `config.PRESETS`.
        env: what it acts in, or an id; several (a list) are trained in side by side, and the first is acted in.
        ranking: "policy" ranks candidates by the policy, "supervised" by the expected reward of the supervised heads.
        reads_history: False acts on the profile and the candidates alone.
        device: of the computations, "cpu" or "cuda".
        is_compiled: whether to compile the network for training (torch.compile), which pays on a GPU.
        weights: start from the network of this file or training, without the arguments of another one
            (`NETWORK_SETTINGS`); `language_model` may be where its language model is now.
        seed: seeds weights, training sessions and sampled slates.
        settings: fields of `config.TrainingConfig` in place of the recipe's, among them the shares of the stages;
            `num_envs` is that of the env by default. Where several envs cannot share `num_envs` or `batch_sessions`
            evenly, they are rounded, with a warning. `num_validations` is the number of evaluations with held-out users
            and items of the split `validation` during training, which keeps the best weights, those before it
            included; 0 keeps the last ones.

    Raises:
        ValueError: an unknown name, a value out of its range, or `weights`, of which `preset="pretrained"` are some,
            with an argument of another network.
    """

    observation = "compact"

    state_class = LargeModelState

    def __init__(
        self,
        preset: str = PRETRAINED,
        env: Env | str | Sequence[Any] | None = None,
        *,
        ranking: str = "policy",
        reads_history: bool = True,
        device: str = "cpu",
        is_compiled: bool = False,
        weights: Path | str = "",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if ranking not in RANKINGS:
            raise ValueError(f"ranking={ranking!r}: must be one of {', '.join(RANKINGS)}")
        self.ranking, self.reads_history, self.is_compiled = ranking, reads_history, is_compiled
        self.device = device_named(device)
        size, recipe = preset, FROM_SCRATCH
        if preset == PRETRAINED:
            size, recipe, weights = TrainingConfig.preset, FINE_TUNING, weights or PRETRAINED
        if weights:
            given = settings if preset == PRETRAINED else ("preset", *settings)
            others = ("language_model",) if str(weights) == PRETRAINED else ()
            _check_network_is_given_once(given, f"weights={str(weights)!r}", *others)
        values = {"preset": size, **recipe, **settings}
        self.num_validations = values.pop("num_validations")
        check_number("num_validations", self.num_validations, 0, 1_000, int)
        self.config = replace_fields("settings", TrainingConfig(), values)
        self.network: LargeModelNetwork | None = None
        if weights:
            self.network = load_network(weights, device, language_model=self.config.language_model)
        self._training_envs: list[Any] = []
        self._iteration = 0
        self._content: tuple[Any, ItemContent] | None = None
        super().__init__(env, seed=seed)
        self.settings.pop("weights", None)  # a saved agent has weights of its own

    def set_env(self, env: Any) -> None:
        """As `Agent.set_env`; a list of envs or ids is trained in side by side, and the first is acted in."""
        envs = []
        for each in env if isinstance(env, list | tuple) else [env]:
            super().set_env(each)
            envs.append(self._env)
        super().set_env(envs[0])
        self._training_envs = envs

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        """Sessions are played to their end, so that up to one session in each lane goes beyond `total_timesteps`. No
        steps make the network, if there is none."""
        if total_timesteps == 0 and self.network is not None:
            update(0)
            return
        before = self.num_timesteps if self.network is not None else 0
        check_number("total_timesteps", total_timesteps, 0, MAX_TIMESTEPS - before, int)
        last = before + total_timesteps
        lanes = sum(getattr(env, "num_envs", self.num_envs) for env in self._training_envs)
        overrides: dict[str, Any] = {"num_steps": max(last, 1), "seed": self.seed}
        if "num_envs" not in self.settings:
            overrides["num_envs"] = lanes
        if self.network is not None and self.network.schema.is_generalist:
            schema = self.network.schema.extended([env.simulator for env in self._training_envs])
            if schema != self.network.schema:
                self.network = self.network.extended(schema, self.seed)
        training = Training(
            replace(self.config, **overrides),
            ProcessGroup(device=self.device),
            self._training_envs,
            network=self.network,
            is_compiled=self.is_compiled,
        )
        self.closed_after_training(training.worlds)
        for line in training.rounded_sizes:
            warnings.warn(line, stacklevel=4)  # in the line that calls `learn`
        training.num_steps, training.iteration = before, self._iteration
        self.network, self._content = training.network, None
        validation = None
        if self.num_validations > 0 and total_timesteps > 0:
            validation = self.closed_after_training(Validation(self._training_envs[0]))
            validation.keep_best(training)
        goes_on, num_done = update(0), 0
        while goes_on and training.num_steps < last:
            self.training_metrics = numbers_in(training.iterate())
            self._iteration = training.iteration
            due = (training.num_steps - before) * self.num_validations // total_timesteps
            if validation and (due > num_done or training.num_steps >= last):
                validation.keep_best(training)
                num_done = due
            goes_on = update(training.num_steps - before)
        if validation:
            validation.restore(training)

    def initial_state(self, num_sessions: int) -> LargeModelState:
        runner = self._runner(num_sessions)
        seed = int(self.new_generator().integers(2**63))
        return LargeModelState(runner, torch.Generator(self.device).manual_seed(seed))

    def _runner(self, num_sessions: int, history_length: int | None = None) -> PolicyRunner:
        if self.network is None:
            raise NotFittedError
        content, simulator = self._content_of_env(), self.env.simulator
        return PolicyRunner(self.network, simulator, content, num_sessions, self.reads_history, history_length)

    def act(
        self, observations: Observations, state: LargeModelState, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        runner, generator = state
        logits = self._logits(runner.scores(observations, episode_start), observations)
        if deterministic:
            slates = best_slates(logits, self.slate_size).cpu().numpy()
        else:
            slates = draw_slates(logits, self.slate_size, generator).cpu().numpy()
        return slates[:, 0] if self.slate_size == 1 else slates

    def log_probabilities(
        self,
        observations: Observations,
        actions: np.ndarray,
        state: LargeModelState | None = None,
        episode_start: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Agent.log_probabilities`: softmax(Q / temperature), for slates Plackett-Luce.

        `state` may be that before or after `predict` of the same observations.
        """
        number = len(observations["user"])
        if state is None:
            state, episode_start = self.initial_state(number), np.ones(number, np.bool_)
        is_first = np.zeros(number, np.bool_) if episode_start is None else np.asarray(episode_start, np.bool_)
        logits = self._logits(state[0].scores(observations, is_first), observations).double()
        slates = torch.as_tensor(np.asarray(actions).reshape(number, -1)).to(logits.device)
        return slate_log_probabilities(logits, slates).sum(1).cpu().numpy()

    def read(self, observations: Observations) -> Scores:
        """The network's output for sessions of which these observations alone are known, histories included."""
        number, length = observations["history_items"].shape
        return self._runner(number, length).scores(observations, np.ones(number, np.bool_))

    def read_history_of(self, env: Env, similarity: float = 1.0) -> None:
        """Read items of another env's catalogue in the histories of the agent's env, numbered after its own items: for
        users who are known from another scenario. Holds until `set_env`.

        Args:
            env: with the other catalogue.
            similarity: factor of the similarity of items in different catalogues, 0 to 1: the less tastes agree, the
                lower it should be.

        Raises:
            ValueError: the model is no generalist, or `similarity` is out of its range.
        """
        check_number("similarity", similarity, 0.0, 1.0)
        if self.network is None:
            raise NotFittedError
        content, other = self._content_of_env(), unwrapped(env)
        names, other_names = (each.simulator.world.items.feature_names for each in (self.env, other))
        (start, _), (other_start, _) = (
            each.simulator.world.session_starts(each.simulator.config.session_length) for each in (self.env, other)
        )
        joined = content.joined_with(
            self.network.content_of(other), names, other_names, similarity=similarity, delay=start - other_start
        )
        self._content = self.env, joined

    def candidate_scores(self, observations: Observations) -> np.ndarray:
        scores = self.read(observations)
        return (self._logits(scores, observations) * scores.temperature).cpu().numpy()

    def explain(self, observations: Observations, candidate: int | None = None) -> Explanation:
        """As `Agent.explain`, with what each source of information on the candidate contributes, where the agent ranks
        by its policy."""
        found = super().explain(observations, candidate)
        if self.ranking != "policy":
            return found
        runner = self._runner(1, observations["history_items"].shape[1])
        return found._replace(sources=runner.source_effects(observations, found.candidate))

    def _content_of_env(self) -> ItemContent:
        """The catalogue of the agent's env, read once."""
        assert self.network is not None, "is trained"
        if self._content is None or self._content[0] is not self.env:
            self._content = self.env, self.network.content_of(self.env)
        return self._content[1]

    def _logits(self, scores: Scores, observations: Observations) -> torch.Tensor:
        """[N, M]: of the ranking's policy."""
        if self.ranking == "policy":
            return scores.logits
        mask = torch.as_tensor(observations["candidate_items"] >= 0).to(scores.logits.device)
        return policy_logits(scores.expected_rewards, scores.temperature, mask)

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self.network is None:
            raise NotFittedError
        weights = self.network.trained_weights()
        tensors = {name: weight.detach().cpu().numpy() for name, weight in weights.items()}
        return tensors, {"network": self.network.settings(), "iteration": self._iteration}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        weights = {name: torch.as_tensor(x) for name, x in tensors.items() if not name.startswith(MOMENTS)}
        network = rebuild(learned["network"], weights, self.config.language_model)
        self.network, self._iteration = network.to(self.device), learned["iteration"]

    @classmethod
    def load(cls, path: Path | str, env: Env | str | None = None, **settings: Any) -> Self:
        """As `Agent.load`; `path` may also be the folder of a training by `python -m agents.large_model train`, or
        `"pretrained"`: the generalist that comes with the package."""
        if str(path) == PRETRAINED:
            return cls(PRETRAINED, env, **settings)
        if Path(path).is_file():
            _check_network_is_given_once(settings, f"path={str(path)!r}")
            return super().load(path, env, **settings)
        language_model = settings.get("language_model", "")
        network = load_network(path, settings.get("device", "cpu"), language_model=language_model)
        return cls.from_network(network, env, **settings)

    @classmethod
    def from_network(cls, network: LargeModelNetwork, env: Env | str | None = None, **settings: Any) -> Self:
        """An agent that acts with a trained network; a generalist has the recipe of the pretrained one for `learn`."""
        _check_network_is_given_once(settings, "a trained network")
        recipe = FINE_TUNING if network.schema.is_generalist else FROM_SCRATCH
        agent = cls(TrainingConfig.preset, env, **{"device": str(network.device), **recipe, **settings})
        agent.network = network
        return agent


class FrozenLargeModel(LargeModel):
    """A large model with given weights, which `learn` leaves as they are."""

    uses_budget = False

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        update(0)


def _check_network_is_given_once(settings: Iterable[str], trained: str, *others: str) -> None:
    """`ValueError` if one of the settings, by name, describes another network than the `trained` one; `others` are
    refused as well."""
    given = [name for name in (*NETWORK_SETTINGS, *others) if name in settings]
    if given:
        raise ValueError(
            f"{given[0]}: must not be given with {trained}, which has a network already; for a new one, use "
            f"LargeModel(preset) without weights, with a preset of {', '.join(PRESETS)}"
        )
