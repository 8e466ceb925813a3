"""Which pretrained language model is the trunk, and the adapters it gets: what a config asks for and a file records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """A language model and what is learnt beside its weights, which stay as they are."""

    name: str
    """A folder, or a name on the Hugging Face hub."""
    lora_rank: int = 8
    """Of each adapter's two matrices."""
    lora_alpha: float = 16.0
    """What an adapter says counts `lora_alpha / lora_rank` times."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers that get adapters; empty for all linear ones."""
    fingerprint: str = ""
    """Of the weights and the vocabulary (`language_model.fingerprint`); empty where it is not known yet."""

    def as_settings(self) -> dict[str, Any]:
        """As JSON can hold them; `from_settings` brings them back."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "LanguageSettings":
        """What `as_settings` gave, lists for tuples."""
        return cls(**{**settings, "lora_targets": tuple(settings["lora_targets"])})
