"""Every number of a training: where it plays, how it learns, what it keeps."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.large_model.language_settings import LanguageSettings
from agents.large_model.sizes import sizes_named
from agents.large_model.stages import Plan, stage_named
from recsim_env.config import Checked, count, flag, number


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Checked):
    """A training that can be begun again from these numbers alone."""

    env_ids: tuple[str, ...] = ("recsim_env/Video-v0",)
    """Where sessions are played: one or several scenarios, side by side."""
    env_options: dict[str, Any] = field(default_factory=lambda: {"split": "train"})
    """Keyword arguments of `gymnasium.make_vec`; `catalog_seed` is that of the first catalogue."""
    preset: str = "tiny"
    """A name in `sizes.PRESETS`."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Numbers of `ModelSizes` that differ from the preset's."""
    language_model: str = ""
    """A pretrained causal language model as the trunk, in the place of the preset's: a folder, or a name on the Hugging
    Face hub; empty for none. Its weights stay as they are."""
    lora_rank: int = count(8, 1, 4_096)
    """Rank of its adapters."""
    lora_alpha: float = number(16.0, 0.0, 1e4)
    """What an adapter says counts `lora_alpha / lora_rank` times."""
    lora_targets: tuple[str, ...] = ()
    """Names of its layers that get adapters; empty for all linear ones."""
    supervised_steps: int = count(1_000_000, 0, 10**12)
    """User-steps of supervised pre-training."""
    distillation_steps: int = count(0, 0, 10**12)
    """User-steps of distillation from the foresight oracle, which reads the latent state of training worlds."""
    reinforcement_steps: int = count(9_000_000, 0, 10**12)
    """User-steps of reinforcement."""
    num_envs: int = count(256, 1, 1_000_000)
    """Sessions that are played side by side, by all processes and in all scenarios together."""
    num_catalogs: int = count(16, 1, 10_000)
    """Catalogues of each scenario that are played in turn, so that what is learnt holds for any."""
    batch_sessions: int = count(32, 1, 1_000_000)
    """Sessions of a gradient step, of all processes and scenarios together."""
    gamma: float = number(0.99, 0.0, 1.0)
    """Discount of a step."""
    trace: float = number(0.95, 0.0, 1.0)
    """Lambda of the returns that values and advantages are made of."""
    clip: float = number(0.2, 0.01, 10.0)
    """How far a slot's probability may move while sessions are learnt from, as a ratio."""
    warm_up_updates: int = count(100, 0, 1_000_000)
    """Gradient steps in which the learning rate rises to its height."""
    last_learning_rate: float = number(0.1, 0.0, 1.0)
    """Share of the learning rate that is left at the end; it falls in a line from the beginning of the last stage."""
    weight_decay: float = number(0.01, 0.0, 1.0)
    """Of AdamW, on matrices only."""
    max_gradient_norm: float = number(1.0, 0.0, 1e6)
    """Gradients are clipped to this norm."""
    unknown_domain_share: float = number(0.1, 0.0, 1.0)
    """Share of the iterations in which the model is not told the scenario, so that it can play one it has not seen."""
    has_pictures: bool = flag(False)
    """Whether items' pictures are looked at, where there are any."""
    has_sounds: bool = flag(False)
    """Whether items' sounds are listened to, where there are any."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By stage, numbers of `Stage` that differ from `STAGES`; `weights` by their names."""
    seed: int = count(0, 0, 2**31 - 1)
    """Of weights, sessions and draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes_named(self.preset)
        if not self.env_ids:
            raise ValueError("TrainingConfig.env_ids=(): must name at least one env")
        if self.language_model and "width" in self.sizes:
            raise ValueError(
                f"TrainingConfig.sizes: width={self.sizes['width']} must not be given beside language_model, which "
                "has a width of its own"
            )
        if self.plan().num_steps == 0:
            raise ValueError("TrainingConfig: all stages have 0 steps, at least one must have some")

    def language(self) -> LanguageSettings | None:
        """The language model that is the trunk, if one is."""
        if not self.language_model:
            return None
        adapters = {name: getattr(self, name) for name in ("lora_rank", "lora_alpha", "lora_targets")}
        return LanguageSettings(name=self.language_model, **adapters)

    def plan(self) -> Plan:
        """The stages that are not left out."""
        steps = {
            "supervised": self.supervised_steps,
            "distillation": self.distillation_steps,
            "reinforcement": self.reinforcement_steps,
        }
        return Plan(stages=tuple((self._stage(name), number) for name, number in steps.items() if number > 0))

    def _stage(self, name: str) -> Any:
        changes: Mapping[str, Any] = self.changes.get(name, {})
        stage = stage_named(name, **{key: value for key, value in changes.items() if key != "weights"})
        weights = dataclasses.replace(stage.weights, **changes.get("weights", {}))
        return dataclasses.replace(stage, weights=weights)

    def as_settings(self) -> dict[str, Any]:
        """As JSON can hold it; `from_settings` brings it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "TrainingConfig":
        """What `as_settings` gave."""
        return cls(**{**settings, **{name: tuple(settings[name]) for name in ("env_ids", "lora_targets")}})
