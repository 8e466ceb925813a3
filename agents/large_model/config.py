"""Configuration of the large model: its size, the stages of its training, and every setting of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.tracking.copies import check_copies
from recsim_env.config import MAX_TIMESTEPS, Checked, check_number, choice, count, flag, number, replace_fields

INPUT_VERSION = 4
"""Version of the inputs, raised when the meaning of an input changes: older weights are refused."""

REFERENCE_WIDTH = 64
"""The width that learning rates are for. For wider models they fall as 1 / width, as the updates by Adam have to
(Yang et al., "Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer", 2021)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Checked):
    """The sizes of a model."""

    width: int = count(64, 8, 65_536)
    """E of tokens and states, a multiple of twice `num_heads`."""
    num_layers: int = count(2, 1, 1_000)
    """Blocks of the backbone."""
    num_heads: int = count(2, 1, 1_024)
    """Heads of each attention layer."""
    num_key_heads: int = count(2, 1, 1_024)
    """Key and value heads; `num_heads` is a multiple of it (grouped-query attention, Ainslie et al. 2023)."""
    hidden_width: int = count(192, 8, 262_144)
    """Of the feed-forward network in each block."""
    item_width: int = count(64, 8, 65_536)
    """V of an item's content vector."""
    candidate_width: int = count(64, 8, 65_536)
    """C of a candidate: its content, its statistics and its relation to the session."""
    candidate_hidden_width: int = count(0, 0, 65_536)
    """Of a feed-forward network on each candidate and the state; 0 for none."""
    memory_channels: int = count(0, 0, 65_536)
    """Channels of the memory of what was shown, which candidates read by the similarity of their content; 0 for
    none."""
    num_candidate_layers: int = count(0, 0, 100)
    """Layers in which candidates attend to each other before they are scored."""
    num_word_buckets: int = count(1_024, 16, 10_000_000)
    """Word embeddings, shared by hashing."""
    word_width: int = count(16, 4, 65_536)
    """Of a word's embedding."""
    num_value_bins: int = count(101, 5, 10_001)
    """Bins of the distribution of returns."""
    max_tokens: int = count(1_024, 8, 1_000_000)
    """Longest session: 1 token for the profile, and one for each item shown."""
    builds_on_feedback: bool = flag(True)
    """Whether scores are in units of reward, with the expected reward by the supervised heads as their start. Otherwise
    they start at 0, and their unit is the spread of a teacher's scores in the scenario, so that all scenarios count
    alike, those with few clicks, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.num_heads):
            raise ValueError(f"ModelConfig.width={self.width}: must be a multiple of twice num_heads={self.num_heads}")
        if self.num_heads % self.num_key_heads:
            raise ValueError(
                f"ModelConfig.num_heads={self.num_heads}: must be a multiple of num_key_heads={self.num_key_heads}"
            )


def _preset(width: int, num_layers: int, num_heads: int, num_key_heads: int, **others: int) -> ModelConfig:
    """SwiGLU's three matrices of 8/3 E x E are as large as two of 4 E x E."""
    widths = {"hidden_width": -(-8 * width // 24) * 8, "item_width": width, "candidate_width": min(width, 256)}
    heads = {"num_heads": num_heads, "num_key_heads": num_key_heads}
    sizes: dict[str, Any] = {**heads, **widths, **others}
    return ModelConfig(width=width, num_layers=num_layers, **sizes)


PRESETS = {
    "micro": _preset(32, 2, 2, 2, num_word_buckets=512),
    "tiny": _preset(64, 2, 2, 2, num_word_buckets=512),
    "small": _preset(96, 3, 3, 3, num_word_buckets=512),
    "1m": _preset(128, 4, 4, 4, num_word_buckets=1_024, item_width=96),
    "10m": _preset(320, 7, 5, 5, num_word_buckets=4_096, word_width=64),
    "30m": _preset(512, 9, 8, 8, num_word_buckets=8_192, word_width=64),
    "100m": _preset(768, 15, 12, 4, num_word_buckets=16_384, word_width=128),
    "300m": _preset(1_024, 26, 16, 4, num_word_buckets=16_384, word_width=128),
    "1b": _preset(2_048, 22, 16, 4, num_word_buckets=32_768, word_width=256),
}
"""Models by name; those without a number are for CPUs. Millions of parameters (`num_parameters`) with 10
content features and 10 user features, without and with images and audio: micro 0.05, 0.07; tiny 0.16, 0.20; small
0.45, 0.51; 1m 0.96, 1.01; 10m 9.9, 10.0; 30m 31.0, 31.2; 100m 100.6, 101.0; 300m 295.7, 296.2; 1b 1,002, 1,003. All
scenarios together add 0.1 to 1m and 1 to 1b."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """A pretrained language model as the backbone: its weights are frozen, low-rank adapters are trained."""

    name: str
    """A folder, or a name on the Hugging Face hub."""
    lora_rank: int = 8
    """Rank of each adapter."""
    lora_alpha: float = 16.0
    """An adapter's output is scaled by `lora_alpha / lora_rank`."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers with adapters; empty for all linear layers."""
    fingerprint: str = ""
    """Of weights and vocabulary (`language.fingerprint`); empty where it is unknown."""


@dataclass(frozen=True, kw_only=True)
class LossWeights(Checked):
    """Weights of the terms of the loss; 0 leaves a term out."""

    feedback: float = number(0.0, 0.0, 1e3)
    """Whether a slot is clicked, and its reward if so."""
    value: float = number(0.0, 0.0, 1e3)
    """Cross-entropy of the distribution of returns."""
    policy: float = number(0.0, 0.0, 1e3)
    """Proximal policy optimisation."""
    entropy: float = number(0.0, 0.0, 1e3)
    """Entropy bonus, relative to log(M)."""
    teacher: float = number(0.0, 0.0, 1e3)
    """Squared error of a teacher's scores of all candidates, up to a constant."""
    imitation: float = number(0.0, 0.0, 1e3)
    """Divergence KL(teacher, policy) from the policy of a teacher that is a network, in nats."""
    anchor: float = number(0.0, 0.0, 1e3)
    """Divergence KL(anchor, policy) from a reference policy, in nats."""


@dataclass(frozen=True, kw_only=True)
class Stage(Checked):
    """A part of a training: how sessions are played, and which losses they are used for."""

    name: str
    weights: LossWeights
    first_exploration: float = number(0.0, 0.0, 1.0)
    """Share of random slates at the start of the stage; it falls linearly."""
    last_exploration: float = number(0.0, 0.0, 1.0)
    """Share of random slates at the end of the stage."""
    selection: str = choice("sample", "sample", "greedy", "supervised")
    """How the other slates are selected: sampled from the policy, its most probable slate, or the items with the
    highest expected reward by the supervised heads."""
    teacher: str = choice("none", "none", "oracle", "network")
    """Who scores all candidates: nobody, the lookahead oracle, or the network `TrainingConfig.teacher_model`."""
    demonstrated_share: float = number(0.0, 0.0, 1.0)
    """Share of the stage, its first part, in which a teacher that is a network plays the sessions."""
    num_epochs: int = count(2, 1, 100)
    """Passes over the sessions of an iteration."""
    learning_rate: float = number(1e-3, 0.0, 1.0)
    """Highest learning rate of AdamW, for a model of `REFERENCE_WIDTH`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        used = {name for name, weight in vars(self.weights).items() if weight > 0.0}
        of_teacher = {"none": "", "oracle": "teacher", "network": "imitation"}[self.teacher]
        if not used - ({"anchor", "teacher", "imitation"} - {of_teacher}):
            raise ValueError(f"Stage.weights of {self.name}: no term that this stage can train has a weight above 0")

    def exploration(self, progress: float) -> float:
        """Share of random slates after a share `progress` of the stage."""
        return self.first_exploration + (self.last_exploration - self.first_exploration) * progress


STAGES = {
    "supervised": Stage(
        name="supervised",
        weights=LossWeights(feedback=1.0, value=0.1),
        first_exploration=1.0,
        last_exploration=0.1,
        selection="supervised",
    ),
    "distillation": Stage(
        name="distillation",
        weights=LossWeights(teacher=1.0, feedback=0.5, value=0.1),
        first_exploration=0.2,
        last_exploration=0.05,
        selection="greedy",
        teacher="oracle",
    ),
    "imitation": Stage(
        name="imitation",
        weights=LossWeights(imitation=1.0, feedback=0.5, value=0.1),
        first_exploration=0.2,
        last_exploration=0.05,
        selection="greedy",
        teacher="network",
        demonstrated_share=0.2,
    ),
    "reinforcement": Stage(
        name="reinforcement",
        weights=LossWeights(policy=1.0, value=0.1, feedback=0.1, entropy=0.01),
        learning_rate=3e-4,
    ),
}
"""Supervised pre-training on feedback; distillation from an oracle in training worlds; imitation of a larger network
(policy distillation: Rusu et al., ICLR 2016) in states that the smaller one visits (DAgger: Ross, Gordon and Bagnell,
AISTATS 2011); proximal policy optimisation (Schulman et al. 2017). Each can be left out."""


def stage_named(name: str, overrides: Mapping[str, Any] | None = None) -> Stage:
    """A stage with some fields changed, those of `weights` by name; `ValueError` for an unknown stage or field."""
    if name not in STAGES:
        raise ValueError(f"stage={name!r}: must be one of {', '.join(STAGES)}")
    overrides, label = dict(overrides or {}), f"stage_overrides[{name!r}]"
    weights = replace_fields(f"{label}['weights']", STAGES[name].weights, overrides.pop("weights", {}))
    return replace_fields(label, STAGES[name], {"weights": weights, **overrides})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Checked):
    """A training, reproducible from these values alone."""

    env_ids: tuple[str, ...] = ("recsim_env/Video-v0",)
    """Scenarios, trained in side by side."""
    env_arguments: dict[str, Any] = field(default_factory=lambda: {"split": "train"})
    """Keyword arguments of `gymnasium.make_vec`; `catalog_seed` is that of the first catalogue."""
    preset: str = choice("tiny", *PRESETS)
    """Size of the model, a name in `PRESETS`."""
    model_overrides: dict[str, int | bool] = field(default_factory=dict)
    """Fields of `ModelConfig` that differ from the preset's."""
    language_model: str = ""
    """Pretrained causal language model as the backbone, in place of the preset's: a folder, or a name on the Hugging
    Face hub. Its weights are frozen, adapters are trained (needs the extra llm)."""
    lora_rank: int = count(8, 1, 4_096)
    """Rank of a language model's adapters."""
    lora_alpha: float = number(16.0, 0.0, 1e4)
    """Adapters are scaled by `lora_alpha / lora_rank`."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers with adapters; empty for all linear layers."""
    num_steps: int = count(10_000_000, 1, MAX_TIMESTEPS)
    """User-steps of all stages."""
    supervised_share: float = number(0.03, 0.0, 1.0)
    """Share of the steps for supervised pre-training."""
    distillation_share: float = number(0.0, 0.0, 1.0)
    """Share of the steps for distillation from the lookahead oracle, which reads the latent state of training
    worlds."""
    imitation_share: float = number(0.0, 0.0, 1.0)
    """Share of the steps for imitation of `teacher_model`."""
    teacher_model: str = ""
    """Network to imitate, which reads the same inputs: a training's folder, a checkpoint, a saved agent, or
    "pretrained"."""
    num_envs: int = count(256, 1, 1_000_000)
    """Sessions played in parallel, in all processes and scenarios together; each has the same number, rounded down, but
    at least 1."""
    num_scenarios: int = count(0, 0, 2**31 - 1)
    """Sampled scenarios to train a generalist in, in place of `env_ids`; 0 for none."""
    num_sampled_worlds: int = count(16, 1, 10_000)
    """Sampled worlds of an iteration, all of them new."""
    num_reader_catalogs: int = count(50, 1, 10_000)
    """Catalogues of sampled scenarios that a generalist's `ItemReader` is trained on, before the first step."""
    num_replayed_worlds: int = count(500, 1, 1_000_000)
    """Sampled worlds in the replay buffer of a process, the latest, whose sessions gradient steps are made with. It is
    not in checkpoints: a resumed training starts with an empty one."""
    num_catalogs: int = count(16, 1, 10_000)
    """Catalogues of each scenario, played in turn."""
    batch_sessions: int = count(32, 1, 1_000_000)
    """Sessions of a gradient step, in all processes and scenarios together; rounded like `num_envs`."""
    gamma: float = number(0.99, 0.0, 1.0)
    """Discount of a step."""
    gae_lambda: float = number(0.95, 0.0, 1.0)
    """Lambda of the lambda-returns and advantages."""
    clip_range: float = number(0.2, 0.01, 10.0)
    """PPO's limit on the ratio of a slot's new and old probability."""
    warm_up_updates: int = count(100, 0, 1_000_000)
    """Gradient steps in which the learning rate rises to its highest value."""
    last_learning_rate: float = number(0.1, 0.0, 1.0)
    """Share of the learning rate at the end; it falls linearly over the last stage."""
    weight_decay: float = number(0.01, 0.0, 1.0)
    """Of AdamW, on matrices only."""
    max_gradient_norm: float = number(1.0, 0.0, 1e6)
    """Gradients are clipped to this norm."""
    unknown_domain_share: float = number(0.1, 0.0, 1.0)
    """Share of iterations in which the model does not see which scenario it is in, so that it can act in unseen
    ones."""
    has_images: bool = flag(False)
    """Read images of items, where there are any."""
    has_audio: bool = flag(False)
    """Read audio of items, where there is any."""
    stage_overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields of `Stage` that differ from `STAGES`, by stage; `weights` by name."""
    seed: int = count(0, 0, 2**31 - 1)
    """Seeds weights, sessions and slates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("TrainingConfig.distillation_share", self.distillation_share, 0.0, 1.0 - self.supervised_share)
        rest = 1.0 - self.supervised_share - self.distillation_share
        check_number("TrainingConfig.imitation_share", self.imitation_share, 0.0, max(rest, 0.0))
        if bool(self.teacher_model) != (self.imitation_share > 0.0):
            raise ValueError(
                f"TrainingConfig.teacher_model={self.teacher_model!r}: must be given if and only if imitation_share="
                f"{self.imitation_share} is above 0"
            )
        for name, overrides in self.stage_overrides.items():
            stage_named(name, overrides)
        if not self.env_ids:
            raise ValueError("TrainingConfig.env_ids=(): must name at least one env")
        if self.language_model and "width" in self.model_overrides:
            raise ValueError(
                f"TrainingConfig.model_overrides: width={self.model_overrides['width']} must not be given with "
                "language_model, which has its own width"
            )
        self.stages(), self.model()

    @property
    def num_worlds(self) -> int:
        """Worlds of an iteration."""
        return self.num_sampled_worlds if self.num_scenarios > 0 else len(self.env_ids)

    def model(self) -> ModelConfig:
        """The preset with its overrides."""
        return replace_fields("TrainingConfig.model_overrides", PRESETS[self.preset], self.model_overrides)

    def language(self) -> LanguageConfig | None:
        """The language model that is the backbone, if any."""
        if not self.language_model:
            return None
        adapters = {name: getattr(self, name) for name in ("lora_rank", "lora_alpha", "lora_targets")}
        return LanguageConfig(name=self.language_model, **adapters)

    def stages(self) -> list[tuple[Stage, int]]:
        """The stages in order, each with its number of user-steps; without those that have none."""
        shares = (self.supervised_share, self.distillation_share, self.imitation_share)
        steps = [round(self.num_steps * share) for share in shares]
        steps.append(self.num_steps - sum(steps))  # reinforcement
        stages = (stage_named(name, self.stage_overrides.get(name)) for name in STAGES)
        return [(stage, number) for stage, number in zip(stages, steps, strict=True) if number > 0]

    def stage_at(self, num_steps: int) -> tuple[Stage, float]:
        """The stage after `num_steps` steps, and the share of it that is over."""
        start, stages = 0, self.stages()
        for stage, steps in stages:
            if num_steps < start + steps:
                return stage, (num_steps - start) / steps
            start += steps
        return stages[-1][0], 1.0


PRETRAINED = "pretrained"
"""The name of the weights that come with the package, in place of a path."""

_PRETRAINED_FILE = Path(__file__).parent / "pretrained" / "generalist.safetensors"


def located(path: Path | str) -> Path:
    """The path of a model: the file of the pretrained weights for `"pretrained"`."""
    return _PRETRAINED_FILE if str(path) == PRETRAINED else Path(path)


PRETRAINING: dict[str, Any] = {
    "model_overrides": {"builds_on_feedback": False, "candidate_hidden_width": 128, "memory_channels": 32},
    "num_scenarios": 1_000_000,
    "num_sampled_worlds": 16,
    "num_envs": 768,
    "batch_sessions": 32,
    "supervised_share": 0.0,
    "distillation_share": 1.0,
    "weight_decay": 0.05,
    "stage_overrides": {
        "distillation": {
            "num_epochs": 3,
            "learning_rate": 2e-3,
            "weights": {"teacher": 1.0, "feedback": 0.5, "value": 0.0},
        }
    },
}
"""Settings of `TrainingConfig` that the pretrained generalist was trained with."""

IMITATING: dict[str, Any] = {
    **PRETRAINING,
    "num_replayed_worlds": PRETRAINING["num_sampled_worlds"],  # of the iteration alone: a restart loses none
    "batch_sessions": 16,
    "distillation_share": 0.0,
    "imitation_share": 1.0,
    "stage_overrides": {"imitation": {"num_epochs": 3, "learning_rate": 2e-3}},
}
"""Settings of `TrainingConfig` for a smaller generalist that imitates a larger one."""

FINE_TUNING: dict[str, Any] = {
    "supervised_share": 0.0,
    "distillation_share": 1.0,
    "num_catalogs": 8,
    "num_envs": 32,
    "batch_sessions": 2,
    "warm_up_updates": 20,
    "num_validations": 5,
    "stage_overrides": {
        "distillation": {
            "num_epochs": 4,
            "learning_rate": 1e-3,
            "first_exploration": 0.05,
            "last_exploration": 0.05,
        }
    },
}
"""Settings of `LargeModel` for training the pretrained generalist further in one world."""

FROM_SCRATCH: dict[str, Any] = {
    "supervised_share": 0.3,
    "distillation_share": 0.0,
    "num_catalogs": 1,
    "num_validations": 0,
}
"""Settings of `LargeModel` for training a new network."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Checked):
    """Checkpoints and evaluations of a training in a folder."""

    checkpoint_minutes: float = number(5.0, 0.0, 1e6)
    """Minutes between checkpoints; there is one at the end, too."""
    minutes: float = number(0.0, 0.0, 1e6)
    """Minutes after which this call stops, with a checkpoint from which the next one continues; 0 for no limit."""
    evaluate_every: int = count(500_000, 0, MAX_TIMESTEPS)
    """User-steps between evaluations with held-out users and catalogues; 0 for one at the end only."""
    evaluation_sessions: int = count(200, 1, 1_000_000)
    """Sessions of an evaluation in each scenario."""
    comparison: bool = flag(True)
    """At the end, compare the model with rules and the Bayes filter."""
    track: tuple[str, ...] = ()
    """Also copy the metrics to a tracker: tensorboard, wandb or mlflow (needs the extra of that name)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_copies(self.track)
