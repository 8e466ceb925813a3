"""Makes models: new ones, and those that a file holds, which has no weights of a language model's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from agents.large_model.language_settings import LanguageSettings
from agents.large_model.model import LargeModel
from agents.large_model.sizes import ModelSizes
from agents.networks.schema import Schema

INPUTS = 2
"""Number of what models read, raised when an input means something else than before: weights that were learnt from
other inputs are refused."""


def new_model(sizes: ModelSizes, schema: Schema, language: LanguageSettings | None = None) -> LargeModel:
    """A model that has learnt nothing yet, on a trunk of our own or on a language model.

    Raises:
        ValueError: there is no such language model, or a package is missing.
    """
    if language is None:
        return LargeModel(sizes, schema)
    try:
        from agents.large_model.language_backbone import LanguageTrunk
    except ModuleNotFoundError as error:
        raise ValueError(
            f"language_model={language.name!r}: needs the package {error.name}: pip install 'recsim-env[llm]'"
        ) from None
    return LargeModel(sizes, schema, LanguageTrunk(language))


def settings_of(model: LargeModel) -> dict[str, Any]:
    """What `remade` needs besides weights, as JSON can hold it."""
    settings = getattr(model.trunk, "settings", None)
    language = {} if settings is None else {"language_model": settings.as_settings()}
    return {"inputs": INPUTS, "sizes": model.sizes.as_settings(), "schema": model.schema.as_settings(), **language}


def learnt_weights(model: LargeModel) -> dict[str, torch.Tensor]:
    """Weights by their names, without those of a language model."""
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    return {name: weight for name, weight in model.state_dict().items() if name not in frozen}


def remade(settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor], language_model: str = "") -> LargeModel:
    """The model with those settings (`settings_of`) and weights (`learnt_weights`).

    `language_model` says where its language model lies now, if that is not where it lay.

    Raises:
        ValueError: its language model is not there, or is another one; or the weights are not a model's, or were learnt
            from other inputs.
    """
    check_inputs(settings)
    language = None
    try:
        if settings.get("language_model"):
            language = LanguageSettings.from_settings(settings["language_model"])
            language = replace(language, name=language_model or language.name)
        sizes, schema = ModelSizes(**settings["sizes"]), Schema.from_settings(settings["schema"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the settings are not a model's of this program: {error}") from None
    model = new_model(sizes, schema, language)
    check_weights(model, weights)
    model.load_state_dict(dict(weights), strict=False)
    return model


def check_inputs(settings: Mapping[str, Any]) -> None:
    """`ValueError` unless weights with those settings were learnt from what models read now."""
    found = settings.get("inputs", 1)
    if found != INPUTS:
        raise ValueError(f"the weights were learnt from inputs of version {found}, must be {INPUTS}: train anew")


def check_weights(model: LargeModel, weights: Mapping[str, torch.Tensor]) -> None:
    """`ValueError` unless there are weights for all that the model learns, in its shapes, and no others."""
    wanted = learnt_weights(model)
    for what, names in (("lack", set(wanted) - set(weights)), ("have, unlike it,", set(weights) - set(wanted))):
        if names:
            raise ValueError(f"the weights are not this model's: they {what} {min(names)}, {len(names)} such names")
    for name, weight in wanted.items():
        found, shape = list(weights[name].shape), list(weight.shape)
        if found != shape:
            raise ValueError(f"the weights are not this model's: {name} has shape {found}, must have {shape}")
