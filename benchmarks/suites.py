"""The suites: which agents are compared in which scenarios, with which budget."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.large_model.config import FINE_TUNING
from agents.registry import REGISTRY, Entry, entry_named
from recsim_env.config import CANDIDATE_ORDERS

ZERO, ONE = "random", "planning-oracle"
"""The agents whose returns are the scores 0 and 1."""

LADDER = (
    *("random", "popularity", "linucb", "eb-linucb", "history-blind"),
    *("bayes-filter-observed", "myopic-oracle", "bayes-filter", "lookahead-oracle", "planning-oracle"),
)
"""The agents of the headroom ladder."""

PRESETS = ("Video", "News", "Social", "Ecommerce", "Music")
"""The synthetic scenarios."""

TUNED = Path(__file__).parent / "tuned"
"""Tuned settings, a JSON file for each agent; `python -m benchmarks tune --install` writes them."""


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Where agents are trained and where they are evaluated; seed k of a suite takes the k-th of each.

    The seeds of a suite share no training catalogue and no training session, also where an agent is trained in several
    catalogues: it takes those with the next catalogue seeds.
    """

    split: str
    """Split of users and items in evaluation; training takes `train`."""
    training_catalog_seed: int
    """Seed of the first training catalogue."""
    catalog_seed: int
    """Seed of the first evaluation catalogue."""
    sessions_seed: int
    """Seed of the first evaluation session."""
    sessions_apart: int = 100_000
    """Distance between the evaluation sessions of two seeds of a suite; larger than its number of sessions."""
    training_catalogs_apart: int = 1_000
    """Distance between the training catalogues of two seeds; larger than the number of catalogues of an agent."""
    agent_seeds_apart: int = 10_000_000
    """Distance between the agents' seeds, which are those of their training sessions."""


HELD_OUT = Worlds(split="test", training_catalog_seed=0, catalog_seed=1_000_003, sessions_seed=2_000_003)
"""Evaluation users and items occur in no training and no tuning; only learners with `reads_evaluation_catalog` learn
from feedback that other users gave to these items."""

TUNING = Worlds(split="validation", training_catalog_seed=500, catalog_seed=3_000_017, sessions_seed=4_000_037)
"""The worlds of tuning, which share no user and no item with the evaluation in `HELD_OUT`."""

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A variant of a scenario, in which every agent of a suite is trained and evaluated."""

    scenario: str
    overrides: Overrides = field(default_factory=dict)
    """Of the scenario's settings."""
    structure_split: str | None = None
    """If given, each seed has a different structure (taste clusters, profiles, moods, creators): training uses one of
    the split `train`, evaluation one of this split. If None, all seeds share one structure."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One comparison: every agent in every scenario with every seed.

    With seed k every agent is trained on users and a catalogue of its own, and evaluated on the k-th held-out catalogue
    with the same sessions of held-out users: differences between agents are paired by seed and session. Learners with
    `reads_evaluation_catalog` are trained on the evaluation catalogue, with other users.
    """

    name: str
    scenarios: tuple[str, ...]
    agents: tuple[str, ...]
    num_seeds: int = 5
    num_steps: int = 50_000
    """User-steps of training."""
    num_evaluations: int = 1
    """Evaluations spread over those steps, besides the one before the first."""
    num_sessions: int = 100
    """Evaluation sessions for each seed, the same for every agent."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings for this budget, by agent; they take precedence over the registry and over tuned settings."""
    uses_tuned_settings: bool = True
    """Whether agents have their settings in `benchmarks/tuned`, which are for 50,000 steps."""
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Agents of this suite that are another agent with other settings: by name, that agent's name and the settings."""
    grid: Mapping[str, Overrides] = field(default_factory=lambda: {"": {}})
    """Variants of each scenario: a suffix of its name, and overrides of its settings."""
    structure_splits: Mapping[str, str] = field(default_factory=dict)
    """`Task.structure_split` of variants in the grid."""
    worlds: Worlds = HELD_OUT
    device: str = "cpu"
    about: str = ""
    """The purpose of the suite, in a phrase."""

    def tasks(self) -> dict[str, Task]:
        """By name, each scenario x variant."""
        return {
            f"{scenario} {variant}".strip(): Task(
                scenario=scenario, overrides=overrides, structure_split=self.structure_splits.get(variant)
            )
            for scenario in self.scenarios
            for variant, overrides in self.grid.items()
        }

    def sizes(self) -> dict[str, Any]:
        """The sizes that all rows of one folder share."""
        return {name: getattr(self, name) for name in ("num_steps", "num_evaluations", "num_sessions")}

    def entry(self, agent: str) -> Entry:
        """The agent's registry entry with its tuned settings, if the suite uses them, and those of the suite.

        Raises:
            UnknownAgentError: there is no such agent.
        """
        name, settings = self.variants.get(agent, (agent, {}))
        tuned = tuned_settings(name) if self.uses_tuned_settings else {}
        return with_settings(entry_named(name), {**tuned, **settings, **self.settings.get(agent, {})})


def with_settings(entry: Entry, settings: Mapping[str, Any]) -> Entry:
    """The entry with other settings; `num_envs` among them are the lanes of its training."""
    settings = {**entry.settings, **settings}
    num_envs = settings.pop("num_envs", entry.num_envs)
    return dataclasses.replace(entry, settings=settings, num_envs=num_envs)


def tuned_settings(agent: str) -> dict[str, Any]:
    """The settings in `benchmarks/tuned`, if the agent has been tuned."""
    path = TUNED / f"{agent}.json"
    return json.loads(path.read_text())["settings"] if path.is_file() else {}


_COLD, _WARM = {"warm_share": 0.0}, {"warm_share": 1.0}
_NEW_ITEMS, _KNOWN_ITEMS = {"new_item_share": 1.0}, {"new_item_share": 0.0}

_BEST_KNOWN = (
    "random",
    "popularity",
    "linucb",
    "eb-linucb",
    "bayes-filter-observed",
    "bayes-filter",
    "planning-oracle",
)
_LEARNERS = ("sequence-model", "pqn", "slateq", "reinforce", "ppo", "dqn", "wolpertinger-sac")
_PRETRAINED = ("large-model-pretrained",)
_LARGE_MODELS = ("large-model-supervised", "large-model", "large-model-distilled")

_MAIN_AGENTS = (
    *(*LADDER, "platform-ranking", "content-match", "thompson", "eb-thompson", "neural-linear"),
    *("item-knn", "matrix-factorization", "sequence-model", "distilled-scorer"),
    *("pqn", "reinforce", "a2c", "dqn", "ppo", "large-model", *_PRETRAINED, "large-model-fine-tuned"),
)
"""The agents of the leaderboard: the headroom ladder, and those of each family that are worth a comparison."""

_COMPARED = (
    *("random", "popularity", "eb-linucb", "sequence-model", "pqn", "ppo"),
    *("large-model-pretrained", "large-model-fine-tuned"),
)
"""One agent or two of each family."""
_REFERENCES = ("bayes-filter-observed", "planning-oracle")

_VAGUE_CONTENT = {"feature_noise": 1.0, "cue_noise": 2.0}
_EXPLORATION: dict[str, tuple[str, Mapping[str, Any]]] = {
    "linucb-greedy": ("linucb", {"alpha": 0.0}),
    "eb-linucb-greedy": ("eb-linucb", {"alpha": 0.0}),
    "neural-linear-greedy": ("neural-linear", {"scale": 0.0}),
}
"""Bandits without exploration, for comparison with the tuned ones."""

_OFFLINE: dict[str, tuple[str, Mapping[str, Any]]] = {
    f"{agent}-{behavior}": (agent, {"behavior": behavior})
    for behavior in ("random", "mixed", "expert")
    for agent in ("behavior-cloning", "cql", "iql", "decision-transformer")
}

_NUM_CATALOGS = 16
_LONG_MODEL: dict[str, Any] = {
    "preset": "tiny",
    "num_envs": 256,
    "batch_sessions": 32,
    "num_catalogs": _NUM_CATALOGS,
    "warm_up_updates": 100,
    "stage_overrides": {},
}
LONG: dict[str, dict[str, Any]] = {
    "ppo": {
        "num_envs": 128,
        "n_steps": 64,
        "batch_size": 1_024,
        "n_epochs": 6,
        "learning_rate": 1e-3,
        "gamma": 0.95,
        "gae_lambda": 0.9,
        "ent_coef": 0.002,
        "num_catalogs": _NUM_CATALOGS,
    },
    "pqn": {"num_catalogs": _NUM_CATALOGS},
    "distilled-scorer": {"num_catalogs": _NUM_CATALOGS},
    "large-model": {
        **_LONG_MODEL,
        "supervised_share": 0.03,
        "stage_overrides": {"reinforcement": {"learning_rate": 6e-4}},
    },
    "large-model-distilled": {**_LONG_MODEL, "supervised_share": 0.03, "distillation_share": 0.33},
    "large-model-supervised": _LONG_MODEL,
}
LONG["recurrent-ppo"] = {**LONG["ppo"], "n_epochs": 3}
LONG["large-model-fine-tuned"] = {
    "num_envs": 64,
    "batch_sessions": 8,
    "num_catalogs": _NUM_CATALOGS,
    "stage_overrides": {"distillation": {**FINE_TUNING["stage_overrides"]["distillation"], "num_epochs": 2}},
}
"""Settings for millions of steps: larger batches than 50,000 steps allow."""

_SUITES = (
    Suite(
        name="quick",
        about="a first comparison, the suite of `make bench`",
        scenarios=("Video", "News"),
        agents=(
            *("random", "popularity", "linucb", "eb-linucb", "sequence-model", "pqn", "ppo", "dqn"),
            *(*_PRETRAINED, "large-model-fine-tuned"),
            *("bayes-filter-observed", "myopic-oracle", "planning-oracle"),
        ),
        num_seeds=2,
        num_evaluations=5,
    ),
    Suite(
        name="standard",
        about="the main agents of each family in every scenario",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=_MAIN_AGENTS,
        num_seeds=10,
        num_evaluations=5,
    ),
    Suite(
        name="all-agents",
        about="every agent of the registry in every scenario",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=tuple(REGISTRY),
        num_seeds=3,
        num_evaluations=5,
    ),
    Suite(
        name="headroom",
        about="the headroom ladder of each scenario",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=LADDER,
        num_seeds=10,
        num_evaluations=5,
    ),
    Suite(
        name="coldstart",
        about="cold-start and warm users x new and known items",
        scenarios=("Video", "News"),
        agents=(*_COMPARED, "linucb", "bayes-filter", *_REFERENCES),
        num_seeds=3,
        grid={
            "cold users, known items": {"population": _COLD, "catalog": _KNOWN_ITEMS},
            "cold users, new items": {"population": _COLD, "catalog": _NEW_ITEMS},
            "warm users, known items": {"population": _WARM, "catalog": _KNOWN_ITEMS},
            "warm users, new items": {"population": _WARM, "catalog": _NEW_ITEMS},
        },
    ),
    Suite(
        name="long",
        about="a million steps, or --steps 5000000: large models, with and without pretraining, and their competitors",
        scenarios=(*PRESETS, "VideoLifetime"),
        agents=(
            *("random", "popularity", "eb-linucb", "pqn", "ppo", "recurrent-ppo", "distilled-scorer"),
            *("large-model-pretrained", "large-model-fine-tuned", *_LARGE_MODELS),
            *("history-blind", "bayes-filter-observed", "bayes-filter", "planning-oracle"),
        ),
        num_seeds=3,
        num_steps=1_000_000,
        num_evaluations=10,
        num_sessions=200,
        settings=LONG,
        uses_tuned_settings=False,
    ),
    Suite(
        name="slate",
        about="slates of 1 to 10 of 50 candidates, for agents that rank; compares returns, as no oracle plans slates",
        scenarios=("Video", "Ecommerce"),
        agents=(
            *("random", "popularity", "platform-ranking", "linucb", "eb-linucb", "sequence-model", "slateq"),
            *("reinforce", "ppo-multi-input", *_PRETRAINED, "large-model-supervised", "large-model", "myopic-oracle"),
        ),
        num_seeds=3,
        grid={f"slates of {size}": {"session": {"slate_size": size, "num_candidates": 50}} for size in (1, 3, 5, 10)},
    ),
    Suite(
        name="catalog",
        about="10,000 and 1,000,000 items, retrieved at random or by two heuristics, 100 candidates per step",
        scenarios=("Video",),
        agents=(*_COMPARED, *_REFERENCES),
        num_seeds=3,
        grid={
            f"{num_items:,} items, {source} candidates": {
                "catalog": {"num_items": num_items, "arrivals_per_step": num_items / 2_000},
                "session": {"num_candidates": 100, "candidates": source},
            }
            for num_items in (10_000, 1_000_000)
            for source in ("random", "mixed")
        },
    ),
    Suite(
        name="generalisation",
        about="training structures and held-out ones, with other taste clusters, profiles, moods and creators",
        scenarios=PRESETS,
        agents=(*_COMPARED, "lookahead-oracle", *_REFERENCES),
        num_seeds=3,
        grid={"training structures": {}, "held-out structures": {}},
        structure_splits={"training structures": "train", "held-out structures": "test"},
    ),
    Suite(
        name="exploration",
        about="cold-start users and items with little evidence: agents with and without exploration",
        scenarios=("Video", "News"),
        agents=(
            *("random", "popularity", *_EXPLORATION, "linucb", "thompson", "eb-linucb", "eb-thompson", "neural-linear"),
            *("pqn", "reinforce", "ppo", "large-model-pretrained", *_REFERENCES),
        ),
        variants=_EXPLORATION,
        num_seeds=3,
        grid={
            "known items": {"population": _COLD, "catalog": _KNOWN_ITEMS},
            "new items": {"population": _COLD, "catalog": _NEW_ITEMS},
            "new items, vague content": {"population": _COLD, "catalog": {**_NEW_ITEMS, **_VAGUE_CONTENT}},
        },
    ),
    Suite(
        name="creators",
        about="the supply side: exposure and clicks of few or many creators, in single visits and in lifetimes",
        scenarios=("Social", "SocialLifetime"),
        agents=("platform-ranking", *_COMPARED, *_REFERENCES),
        num_seeds=3,
        grid={"24 creators": {}, "200 creators": {"catalog": {"num_creators": 200}}},
    ),
    Suite(
        name="defaults",
        about="Stable-Baselines3 with its default policies and hyperparameters, eight sessions at a time",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=(
            *("random", "popularity", "platform-ranking", "planning-oracle"),
            *("sb3:A2C", "sb3:DQN", "dqn-best-checkpoint", "sb3:PPO"),
        ),
        num_steps=200_000,
        num_evaluations=10,
        num_sessions=200,
    ),
    Suite(
        name="lifetime",
        about="returning users: the headroom ladder, agents that are trained there, and the large model",
        scenarios=tuple(f"{name}Lifetime" for name in (*PRESETS, "MovieLens", "Ratings")),
        agents=(
            *(*LADDER, "platform-ranking", "sequence-model", "pqn", "ppo", "sb3:PPO"),
            *(*_PRETRAINED, "large-model-fine-tuned"),
        ),
        num_seeds=3,
        num_steps=100_000,
        num_evaluations=4,
    ),
    Suite(
        name="arrangements",
        about="orders of the candidates under the default policies of Stable-Baselines3 and sb3-contrib",
        scenarios=("Video",),
        agents=("random", "popularity", "planning-oracle", "sb3:A2C", "sb3:DQN", "sb3:PPO", "sb3:RecurrentPPO"),
        num_seeds=3,
        num_evaluations=5,
        num_sessions=200,
        grid={f"by {order}": {"session": {"candidate_order": order}} for order in CANDIDATE_ORDERS},
    ),
    Suite(
        name="offline",
        about="offline learners on logs of three behaviour policies, beside those policies and PQN, which acts",
        scenarios=("Video", "News"),
        agents=(
            *("random", "mixed-behavior", "expert-behavior", "popularity", "eb-linucb", "pqn"),
            *_OFFLINE,
            "planning-oracle",
        ),
        variants=_OFFLINE,
        num_seeds=3,
        num_steps=200_000,
        num_sessions=200,
    ),
    Suite(
        name="gpu",
        about="5 million steps for each learner, on a GPU",
        scenarios=PRESETS,
        agents=(*_BEST_KNOWN, *_LEARNERS, "recurrent-ppo", *_LARGE_MODELS),
        num_steps=5_000_000,
        num_evaluations=20,
        num_sessions=500,
        settings=LONG,
        uses_tuned_settings=False,
        device="cuda",
    ),
    Suite(
        name="submission",
        about="the public worlds of the leaderboard, in which `submit` runs an agent beside the references",
        scenarios=PRESETS,
        agents=(
            *("random", "popularity", "platform-ranking", "eb-linucb", "ppo"),
            *(*_PRETRAINED, "large-model-fine-tuned", "planning-oracle"),
        ),
        num_seeds=3,
    ),
    Suite(
        name="smoke",
        about="a check of the installation that takes a minute",
        scenarios=("Video",),
        agents=("random", "popularity", "pqn", "planning-oracle"),
        num_seeds=2,
        num_steps=8_192,
        num_evaluations=2,
        num_sessions=8,
    ),
)
SUITES = {suite.name: suite for suite in _SUITES}
"""Every suite by its name."""
