"""Every agent by name: its class, its settings and its family; `make`, `load` and `names`."""

import importlib
import inspect
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents.agent import Agent, Env
from agents.large_model.config import FINE_TUNING, PRETRAINED
from agents.saved_tensors import saved_by
from recsim_env.config import unknown_name

FAMILIES = {
    "reference": "baseline or privileged reference",
    "rule": "ranks by a fixed rule",
    "bandit": "learns about each user within the session",
    "supervised": "learns how items are rated, from feedback or from a teacher, without reinforcement",
    "reinforcement": "learns by reinforcement; our implementation",
    "offline": "learns from a log, without acting",
    "pretrained": "comes trained in other scenarios; takes no step in the scenario unless it is fine-tuned",
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
    is_taught: bool = False
    """Whether a teacher that reads the latent state of training worlds scores the candidates in its training."""
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


def _entry(family: str, path: str, *, num_envs: int | None = None, **settings: Any) -> Entry:
    return Entry(path=f"agents.{path}", family=family, num_envs=num_envs, settings=settings)


def _of_library(algorithm: str, **settings: Any) -> Entry:
    return _entry("library", "reinforcement.sb3:SB3Learner", algorithm=algorithm, **settings)


def _of_log(path: str) -> Entry:
    return Entry(path=f"agents.supervised.{path}", family="supervised", reads_evaluation_catalog=True)


def _of_large_model(
    family: str, *, num_envs: int = 32, batch_sessions: int = 4, learning_rate: float = 1e-3, **settings: Any
) -> Entry:
    """Small batches and several epochs, for budgets of few steps; `learning_rate` is that of reinforcement."""
    stages = {
        "supervised": {"num_epochs": 6},
        "distillation": {"num_epochs": 6},
        "reinforcement": {"num_epochs": 4, "learning_rate": learning_rate},
    }
    small = {"preset": "tiny", "batch_sessions": batch_sessions, "warm_up_updates": 20, "stage_overrides": stages}
    entry = _entry(family, "large_model.agent:LargeModel", num_envs=num_envs, **small, **settings)
    return replace(entry, is_taught=settings.get("distillation_share", 0.0) > 0.0)


def _pretrained(name: str, **settings: Any) -> Entry:
    """The generalist that comes with the package."""
    entry = _entry("pretrained", f"large_model.agent:{name}", weights=PRETRAINED, **settings)
    return replace(entry, is_taught=True)


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

_WOLPERTINGER = "reinforcement.wolpertinger:Wolpertinger"
_SB3_DEFAULTS = {"policy": "MultiInputPolicy", "reward_scale": None, "has_fixed_horizon": False}

REGISTRY: dict[str, Entry] = {
    "random": _entry("reference", "rules.random_agent:RandomAgent"),
    "popularity": _entry("rule", "rules.popularity:PopularityAgent"),
    "platform-ranking": _entry("rule", "rules.platform_ranking:PlatformRanking"),
    "content-match": _entry("rule", "rules.content_match:ContentMatch"),
    "linucb": _entry("bandit", "bandits.linear_bandits:LinUCB"),
    "thompson": _entry("bandit", "bandits.linear_bandits:LinearThompson"),
    "eb-linucb": _entry("bandit", "bandits.empirical_bayes:EmpiricalBayesLinUCB"),
    "eb-thompson": _entry("bandit", "bandits.empirical_bayes:EmpiricalBayesThompson"),
    "neural-linear": _entry("bandit", "bandits.neural_linear:NeuralLinear"),
    "item-knn": _of_log("item_knn:ItemKNN"),
    "matrix-factorization": _of_log("matrix_factorization:MatrixFactorization"),
    "sequence-model": _entry("supervised", "supervised.sequence_model:SequenceModel"),
    "distilled-scorer": replace(_entry("supervised", "imitation.distilled_scorer:DistilledScorer"), is_taught=True),
    "pqn": _entry("reinforcement", "reinforcement.pqn:PQN"),
    "slateq": _entry("reinforcement", "reinforcement.slate_q:SlateQ"),
    "reinforce": _entry("reinforcement", "reinforcement.reinforce_top_k:ReinforceTopK"),
    "behavior-cloning": _entry("offline", "offline.behavior_cloning:BehaviorCloning"),
    "cql": _entry("offline", "offline.cql:CQL"),
    "iql": _entry("offline", "offline.iql:IQL"),
    "decision-transformer": _entry("offline", "offline.decision_transformer:DecisionTransformer"),
    "private-reward-model": _entry("offline", "private.private_reward_model:PrivateRewardModel"),
    "sharded-reward-model": _entry("offline", "private.sharded_reward_model:ShardedRewardModel"),
    "mixed-behavior": _entry("bandit", "offline.behavior_policy:BehaviorPolicy", behavior="mixed"),
    "expert-behavior": _entry("bandit", "offline.behavior_policy:BehaviorPolicy", behavior="expert"),
    "large-model": _of_large_model(
        "reinforcement",
        num_envs=16,
        batch_sessions=8,
        learning_rate=2e-4,
        gamma=0.88,
        gae_lambda=0.87,
        supervised_share=0.3,
    ),
    "large-model-distilled": _of_large_model("reinforcement", supervised_share=0.2, distillation_share=0.6),
    "large-model-pretrained": _pretrained("FrozenLargeModel"),
    "large-model-fine-tuned": _pretrained(  # in one catalogue and without validation, as the other learners
        "LargeModel", num_envs=FINE_TUNING["num_envs"], num_catalogs=1, num_validations=0
    ),
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
    "dqn-best-checkpoint": _of_library("DQN", **_SB3_DEFAULTS, num_envs=8, num_validations=20),
    "sac": _of_library("SAC", **_SAC),
    "td3": _of_library("TD3", **_TD3),
    "ddpg": _of_library("DDPG", **_NEAREST, action_noise=0.2),
    "wolpertinger-sac": _entry("library", _WOLPERTINGER, algorithm="SAC", **_SAC, num_neighbours=20),
    "wolpertinger-td3": _entry("library", _WOLPERTINGER, algorithm="TD3", **_TD3, num_neighbours=5),
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
    "history-blind": _entry("reference", "references.lookahead:HistoryBlindPolicy"),
    "bayes-filter": _entry("reference", "references.bayes_filter:BayesFilter", num_threads=1),
    "bayes-filter-observed": _entry("reference", "references.bayes_filter_observed:BayesFilterObserved", num_threads=1),
    "myopic-oracle": _entry("reference", "references.myopic_oracle:MyopicOracle"),
    "lookahead-oracle": _entry("reference", "references.lookahead:LookaheadOracle"),
    "planning-oracle": _entry("reference", "references.planning_oracle:PlanningOracle"),
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
    if written_by not in [entry.path for entry in REGISTRY.values()]:
        raise UnknownAgentError(f"{path}: was written by {written_by!r}, which is no agent of the registry")
    return entry_named(written_by).agent_class().load(path, env, **settings)


def entry_named(name: str) -> Entry:
    """The entry of that name, or one for `package.module:Class`, or for `sb3:ALGORITHM` with the library's defaults.

    Raises:
        UnknownAgentError: there is none; the message has the nearest names.
    """
    if not isinstance(name, str):
        raise UnknownAgentError(f"agent {name!r}: must be a name, such as 'pqn', or 'package.module:Class'")
    prefix, is_path, rest = name.partition(":")
    if prefix == "sb3" and is_path:
        settings = {**_SB3_DEFAULTS, "algorithm": rest}
        entry = Entry(path="agents.reinforcement.sb3:SB3Learner", family="own", settings=settings, num_envs=8)
        algorithms = entry.agent_class().algorithms  # type: ignore[attr-defined]
        if rest not in algorithms:
            raise UnknownAgentError(f"agent {name!r}: {unknown_name(name, [f'sb3:{each}' for each in algorithms])}")
        return entry
    if is_path:
        return Entry(path=name, family="own")
    if name not in REGISTRY:
        raise UnknownAgentError(f"agent {name!r}: {unknown_name(name, REGISTRY)}; or package.module:Class")
    return REGISTRY[name]
