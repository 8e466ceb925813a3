"""Every agent by name: its class, its settings and its family; `make`, `load` and `names`."""

import difflib
import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.agent import Agent, Env, Learner
from agents.saved_tensors import saved_by

FAMILIES = {
    "reference": "baseline or privileged reference",
    "rule": "ranks by a fixed rule",
    "bandit": "learns about each user within the session",
    "supervised": "learns from feedback how items are rated, without reinforcement",
    "reinforcement": "learns by reinforcement; our implementation",
    "library": "learns by reinforcement; an algorithm of Stable-Baselines3 or sb3-contrib",
    "own": "given by --agent or --model",
}
"""Families of agents and what they have in common."""


class UnknownAgentError(ValueError):
    """No agent has that name, or the name does not lead to an agent; the message says so in one line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One agent of the registry."""

    path: str
    """`package.module:Class`."""
    family: str
    """A key of `FAMILIES`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class."""
    num_envs: int | None = None
    """Sessions side by side in training; None for the default of the class."""
    reads_evaluation_catalog: bool = False
    """As its class has it (`Learner.reads_evaluation_catalog`); here, so that a report need not import the agents."""

    def agent_class(self) -> type[Agent]:
        """The class.

        Raises:
            UnknownAgentError: it cannot be imported, or is not an agent.
        """
        module, _, name = self.path.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # importing a user's module can raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UnknownAgentError(f"agent {self.path!r}: cannot be imported ({reason})") from None
        if not (inspect.isclass(found) and issubclass(found, Agent)):
            raise UnknownAgentError(f"agent {self.path!r}: is not a class that extends agents.agent.Agent")
        return found

    @property
    def is_learner(self) -> bool:
        return issubclass(self.agent_class(), Learner)


def _of_library(algorithm: str, num_envs: int | None = None, **settings: Any) -> Entry:
    path, settings = "agents.reinforcement.sb3:SB3Learner", {"algorithm": algorithm, **settings}
    return Entry(path=path, family="library", settings=settings, num_envs=num_envs)


def _of_wolpertinger(algorithm: str, **settings: Any) -> Entry:
    path = "agents.reinforcement.wolpertinger:Wolpertinger"
    return Entry(path=path, family="library", settings={"algorithm": algorithm, **settings})


def _of_log(path: str) -> Entry:
    return Entry(path=path, family="supervised", reads_evaluation_catalog=True)


def _of_large_model(family: str, **settings: Any) -> Entry:
    """Small batches and several epochs, for budgets of few steps."""
    epochs = {"supervised": {"num_epochs": 6}, "distillation": {"num_epochs": 6}}
    reinforcement = {"num_epochs": 4, "learning_rate": 1e-3}
    small = {"batch_sessions": 4, "warm_up_updates": 20}
    return Entry(
        path="agents.large_model.agent:LargeModel",
        family=family,
        num_envs=32,
        settings={**small, "stage_overrides": {**epochs, "reinforcement": reinforcement}, **settings},
    )


PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 128,
    "n_epochs": 10,
    "learning_rate": 1e-3,
    "gamma": 0.9,
    "gae_lambda": 0.8,
    "ent_coef": 0.002,
}
_PPO: dict[str, Any] = {**PPO_SETTINGS, "num_envs": 32}
_DQN: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gamma": 0.95,
    "learning_starts": 2_000,
    "batch_size": 256,
    "train_freq": 4,
    "gradient_steps": 4,
    "target_update_interval": 1_000,
    "exploration_fraction": 0.3,
}
_NEAREST: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gamma": 0.96,
    "learning_starts": 2_000,
    "batch_size": 128,
    "gradient_steps": 2,
}
_SAC: dict[str, Any] = {**_NEAREST, "ent_coef": 0.001}
_TD3: dict[str, Any] = {**_NEAREST, "action_noise": 0.3}

_SB3_DEFAULTS = {"policy": "MultiInputPolicy", "reward_scale": 1.0, "has_fixed_horizon": False}

REGISTRY: dict[str, Entry] = {
    "random": Entry(path="agents.rules.random_agent:RandomAgent", family="reference"),
    "popularity": Entry(path="agents.rules.popularity:PopularityAgent", family="rule"),
    "content-match": Entry(path="agents.rules.content_match:ContentMatch", family="rule"),
    "linucb": Entry(path="agents.bandits.linucb:LinUCB", family="bandit"),
    "thompson": Entry(path="agents.bandits.thompson:LinearThompson", family="bandit"),
    "eb-linucb": Entry(path="agents.bandits.empirical_bayes:EmpiricalBayesLinUCB", family="bandit"),
    "eb-thompson": Entry(path="agents.bandits.empirical_bayes:EmpiricalBayesThompson", family="bandit"),
    "neural-linear": Entry(path="agents.bandits.neural_linear:NeuralLinear", family="bandit"),
    "item-knn": _of_log("agents.supervised.item_knn:ItemKNN"),
    "matrix-factorization": _of_log("agents.supervised.matrix_factorization:MatrixFactorization"),
    "sequence-model": Entry(path="agents.supervised.sequence_model:SequenceModel", family="supervised"),
    "pqn": Entry(path="agents.reinforcement.pqn:PQN", family="reinforcement"),
    "slateq": Entry(path="agents.reinforcement.slate_q:SlateQ", family="reinforcement"),
    "reinforce": Entry(path="agents.reinforcement.reinforce_top_k:ReinforceTopK", family="reinforcement"),
    "large-model": _of_large_model("reinforcement", supervised_share=0.3),
    "large-model-distilled": _of_large_model("reinforcement", supervised_share=0.2, distillation_share=0.6),
    "large-model-supervised": _of_large_model("supervised", supervised_share=1.0, ranking="supervised"),
    "ppo": _of_library("PPO", **_PPO),
    "ppo-multi-input": _of_library("PPO", policy="MultiInputPolicy", **_PPO),
    "ppo-mlp": _of_library("PPO", policy="MlpPolicy", **_PPO),
    "a2c": _of_library(
        "A2C",
        num_envs=8,
        n_steps=5,
        learning_rate=1e-3,
        gamma=0.9,
        gae_lambda=0.9,
        ent_coef=0.003,
        normalize_advantage=True,
        use_rms_prop=False,
    ),
    "dqn": _of_library("DQN", **_DQN),
    "sac": _of_library("SAC", **_SAC),
    "td3": _of_library("TD3", **_TD3),
    "ddpg": _of_library("DDPG", **_NEAREST, action_noise=0.2),
    "wolpertinger-sac": _of_wolpertinger("SAC", **_SAC, num_neighbours=20),
    "wolpertinger-td3": _of_wolpertinger("TD3", **_TD3, num_neighbours=5),
    "trpo": _of_library(
        "TRPO",
        num_envs=16,
        n_steps=64,
        batch_size=1_024,
        gamma=0.9,
        gae_lambda=0.8,
        target_kl=0.02,
        cg_max_steps=5,
        n_critic_updates=5,
    ),
    "recurrent-ppo": _of_library("RecurrentPPO", **{**_PPO, "n_epochs": 5}),  # its epochs take five times as long
    "maskable-ppo": _of_library("MaskablePPO", **_PPO),
    "qr-dqn": _of_library("QRDQN", **_DQN, policy_kwargs={"n_quantiles": 25}),  # 200 take 15 times as long
    "history-blind": Entry(path="agents.references.lookahead:HistoryBlindPolicy", family="reference"),
    "bayes-filter": Entry(
        path="agents.references.bayes_filter:BayesFilter", family="reference", settings={"num_threads": 1}
    ),
    "bayes-filter-observed": Entry(
        path="agents.references.bayes_filter_observed:BayesFilterObserved",
        family="reference",
        settings={"num_threads": 1},
    ),
    "myopic-oracle": Entry(path="agents.references.myopic_oracle:MyopicOracle", family="reference"),
    "lookahead-oracle": Entry(path="agents.references.lookahead:LookaheadOracle", family="reference"),
    "planning-oracle": Entry(
        path="agents.references.planning_oracle:PlanningOracle", family="reference", settings={"num_threads": 1}
    ),
}
"""Every agent by its name."""


def names() -> tuple[str, ...]:
    """The names that `make` takes."""
    return tuple(REGISTRY)


def make(name: str, env: Env | str, **settings: Any) -> Agent:
    """A new agent: `make("pqn", env)`.

    Args:
        name: one of `names()`, or `package.module:Class`.
        env: what it acts in, or an id. An id makes an env that fits the agent.
        settings: keyword arguments of its class, in place of the registry's.

    Raises:
        UnknownAgentError: there is no such agent; the message has the nearest names.
    """
    entry = entry_named(name)
    return entry.agent_class()(env=env, **{**entry.settings, **settings})


def load(path: Path | str, env: Env | str | None = None, **settings: Any) -> Agent:
    """The agent that `Agent.save` wrote to a file, whichever of the registry's it is; arguments as for `Agent.load`.

    Raises:
        UnknownAgentError: no agent of the registry has written it. Load agents of your own by `MyAgent.load(path)`.
        ValueError: the file is missing or damaged.
    """
    written_by = saved_by(Path(path))
    for entry in REGISTRY.values():
        if entry.path == written_by:
            return entry.agent_class().load(path, env, **settings)
    raise UnknownAgentError(f"{path}: was written by {written_by!r}, which is no agent of the registry")


def entry_named(name: str) -> Entry:
    """The entry of that name, or one for `package.module:Class`, or for `sb3:ALGORITHM` with the library's defaults.

    Raises:
        UnknownAgentError: there is none; the message has the nearest names.
    """
    prefix, is_path, rest = name.partition(":")
    if prefix == "sb3" and is_path:
        settings = {**_SB3_DEFAULTS, "algorithm": rest}
        entry = Entry(path="agents.reinforcement.sb3:SB3Learner", family="own", settings=settings, num_envs=8)
        algorithms = entry.agent_class().algorithms  # type: ignore[attr-defined]
        if rest not in algorithms:
            raise UnknownAgentError(f"agent {name!r}: unknown{nearest(name, [f'sb3:{each}' for each in algorithms])}")
        return entry
    if is_path:
        return Entry(path=name, family="own")
    if name not in REGISTRY:
        raise UnknownAgentError(f"agent {name!r}: unknown{nearest(name, REGISTRY)}; or give package.module:Class")
    return REGISTRY[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of the names that look like one that is unknown, in capitals or not."""
    by_letters = {each.casefold(): each for each in known}
    close = [by_letters[each] for each in difflib.get_close_matches(name.casefold(), by_letters, n=3, cutoff=0.4)]
    return f"; did you mean {' or '.join(close)}?" if close else f"; must be one of {', '.join(by_letters.values())}"
