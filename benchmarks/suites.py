"""What is compared with what: suites as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.registry import REGISTRY

ZERO, ONE = "random", "planning-oracle"
"""The agents whose returns are the scores 0 and 1."""

LADDER = (
    *("random", "popularity", "linucb", "eb-linucb", "history-blind"),
    *("bayes-filter-observed", "myopic-oracle", "bayes-filter", "lookahead-oracle", "planning-oracle"),
)
"""The rungs of the headroom ladder."""

PRESETS = ("Video", "News", "Social", "Ecommerce", "Music")
"""The five synthetic scenarios."""


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Where agents are trained and where they are evaluated; seed k of a suite takes the k-th of each."""

    split: str
    """Part of the users and items that evaluation takes; training takes `train`."""
    training_catalog_seed: int
    catalog_seed: int
    """Of the catalogue that agents are evaluated on."""
    sessions_seed: int
    """Of the first evaluation session."""
    sessions_apart: int = 100_000
    """Session seeds between two seeds of a suite: more than a suite has sessions."""


HELD_OUT = Worlds(split="test", training_catalog_seed=0, catalog_seed=1_000_003, sessions_seed=2_000_003)
"""People and items of the evaluation are in no training and in no tuning; only learners that `reads_evaluation_catalog`
marks learn from what other people answered about its items."""

TUNING = Worlds(split="train", training_catalog_seed=500, catalog_seed=3_000_017, sessions_seed=4_000_037)
"""Where settings are chosen: nobody and nothing of `HELD_OUT` is in it."""

Changes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One comparison: every agent in every scenario with every seed.

    With seed k every agent is trained on users and a catalogue of its own, and evaluated on the k-th held-out catalogue
    with the same sessions of held-out users: differences between agents are paired by seed and session. Learners that
    `reads_evaluation_catalog` marks are trained on the evaluation's catalogue, with other users.
    """

    scenarios: tuple[str, ...]
    agents: tuple[str, ...]
    num_seeds: int
    num_steps: int
    """User-steps that a learner may take."""
    num_evaluations: int
    """Evaluations spread over those steps, besides the one before the first."""
    num_sessions: int
    """Evaluation sessions for each seed, the same for every agent."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By agent, settings that this budget asks for in the place of the roster's."""
    grid: Mapping[str, Changes] = field(default_factory=lambda: {"": {}})
    """Variants of each scenario: what is added to its name, and what is changed in it."""
    worlds: Worlds = HELD_OUT
    device: str = "cpu"
    about: str = ""
    """What the suite is for, in a sentence."""

    def tasks(self) -> dict[str, tuple[str, Changes]]:
        """Name of each scenario x variant, with the scenario and the changes."""
        return {
            f"{scenario} {variant}".strip(): (scenario, changes)
            for scenario in self.scenarios
            for variant, changes in self.grid.items()
        }

    def sizes(self) -> dict[str, Any]:
        """What rows of one folder must have in common."""
        return {
            "num_steps": self.num_steps,
            "num_evaluations": self.num_evaluations,
            "num_sessions": self.num_sessions,
        }


_COLD, _WARM = {"warm_share": 0.0}, {"warm_share": 1.0}

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
_LARGE_MODELS = ("large-model-supervised", "large-model", "large-model-distilled")

_LONG_MODEL: dict[str, Any] = {
    "preset": "tiny",
    "num_envs": 256,
    "batch_sessions": 32,
    "num_catalogs": 16,
    "warm_up_updates": 100,
    "changes": {},
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
    },
    "large-model": {
        **_LONG_MODEL,
        "supervised_share": 0.03,
        "changes": {"reinforcement": {"learning_rate": 6e-4}},
    },
    "large-model-distilled": {**_LONG_MODEL, "supervised_share": 0.03, "distillation_share": 0.33},
    "large-model-supervised": _LONG_MODEL,
}
"""Settings for millions of steps: larger batches than fifty thousand steps allow."""

SUITES = {
    "quick": Suite(
        about="what `make bench` runs: minutes on two cores",
        scenarios=("Video", "News"),
        agents=(*_BEST_KNOWN, "myopic-oracle", "sequence-model", "pqn", "reinforce", "ppo", "dqn"),
        num_seeds=2,
        num_steps=50_000,
        num_evaluations=5,
        num_sessions=64,
    ),
    "standard": Suite(
        about="every agent in every scenario",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=tuple(REGISTRY),
        num_seeds=5,
        num_steps=50_000,
        num_evaluations=5,
        num_sessions=100,
    ),
    "headroom": Suite(
        about="what there is to gain in each scenario, by the ladder's rungs alone",
        scenarios=(*PRESETS, "MovieLens", "Ratings"),
        agents=LADDER,
        num_seeds=5,
        num_steps=50_000,
        num_evaluations=1,
        num_sessions=100,
    ),
    "coldstart": Suite(
        about="new and known users x new and known items",
        scenarios=("Video", "News"),
        agents=(*_BEST_KNOWN, *_LEARNERS, *_LARGE_MODELS),
        num_seeds=3,
        num_steps=50_000,
        num_evaluations=1,
        num_sessions=100,
        grid={
            "cold users, known items": {"population": _COLD, "catalog": {"new_item_share": 0.0}},
            "cold users, new items": {"population": _COLD, "catalog": {"new_item_share": 1.0}},
            "warm users, known items": {"population": _WARM, "catalog": {"new_item_share": 0.0}},
            "warm users, new items": {"population": _WARM, "catalog": {"new_item_share": 1.0}},
        },
    ),
    "headline": Suite(
        about="five million steps: the large model, with and without a teacher, beside its rivals",
        scenarios=("Video",),
        agents=(
            *("random", "popularity", "eb-linucb", "ppo", *_LARGE_MODELS),
            *("history-blind", "bayes-filter-observed", "bayes-filter", "planning-oracle"),
        ),
        num_seeds=3,
        num_steps=5_000_000,
        num_evaluations=10,
        num_sessions=200,
        settings=LONG,
    ),
    "gpu": Suite(
        about="five million steps for each learner, on a GPU",
        scenarios=PRESETS,
        agents=(*_BEST_KNOWN, *_LEARNERS, "recurrent-ppo", *_LARGE_MODELS),
        num_seeds=5,
        num_steps=5_000_000,
        num_evaluations=20,
        num_sessions=500,
        settings=LONG,
        device="cuda",
    ),
    "smoke": Suite(
        about="shows within a minute that everything works",
        scenarios=("Video",),
        agents=("random", "popularity", "pqn", "planning-oracle"),
        num_seeds=2,
        num_steps=8_192,
        num_evaluations=2,
        num_sessions=8,
    ),
}
"""Every suite by its name."""
