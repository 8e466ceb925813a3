"""Search spaces of `python -m benchmarks tune`: the settings of each agent to tune and their ranges, from TOML."""

import inspect
import tomllib
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from agents.large_model.config import FINE_TUNING, FROM_SCRATCH, STAGES, TrainingConfig
from agents.registry import Entry, UnknownAgentError, entry_named
from benchmarks.rows import ResultsError

Space = dict[str, BaseDistribution]
"""Distributions by setting; dots separate the keys of nested dicts: `stage_overrides.distillation.learning_rate`."""

SPACES = Path(__file__).with_suffix(".toml")
"""The file of the search spaces of the registry's agents."""

_RANGE = {"low", "high", "log"}


def read_spaces(path: Path = SPACES) -> dict[str, Space]:
    """The search spaces in a TOML file by agent, in the order of the file; `SPACES` shows the format.

    Raises:
        ResultsError: the file cannot be read or a space is invalid; the message names the file, agent and setting.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    entries = content.get("space")
    if set(content) != {"space"} or not isinstance(entries, list):
        raise ResultsError(f"{path}: must consist of [[space]] tables")
    spaces: dict[str, Space] = {}
    for number, entry in enumerate(entries, 1):
        agents, settings = entry.get("agents"), entry.get("settings")
        is_names = isinstance(agents, list) and agents and all(isinstance(each, str) for each in agents)
        if set(entry) != {"agents", "settings"} or not is_names or not isinstance(settings, dict):
            raise ResultsError(f"{path}: space {number}: must have agents (a list of names) and settings")
        for agent in agents:
            if agent in spaces:
                raise ResultsError(f"{path}: agent {agent!r}: has two search spaces")
            try:
                entry_named(agent)
            except UnknownAgentError as error:
                raise ResultsError(f"{path}: {error}") from None
            spaces[agent] = _space(settings, f"{path}: space of {agent!r}: settings")
    return spaces


def _space(settings: dict[str, Any], label: str, prefix: str = "") -> Space:
    space: Space = {}
    for name, values in settings.items():
        if isinstance(values, dict) and not set(values) <= _RANGE:
            space |= _space(values, label, f"{prefix}{name}.")
        else:
            space[prefix + name] = _distribution(values, f"{label}.{prefix}{name}")
    if not space:
        raise ResultsError(f"{label}: must name at least one setting")
    return space


def _distribution(values: Any, label: str) -> BaseDistribution:
    try:
        if isinstance(values, list):
            return CategoricalDistribution(values)
        ends = {type(values["low"]), type(values["high"])}
        kinds = {int: IntDistribution, float: FloatDistribution}
        return kinds[ends.pop() if len(ends) == 1 else type(None)](**values)
    except (KeyError, TypeError, ValueError) as error:
        reason = error.args[0] if isinstance(error, ValueError) else "incomplete, or of two types"
        raise ResultsError(
            f"{label}={values!r}: must be a list of choices, or low and high, two integers or two floats, and "
            f"optionally log = true ({reason})"
        ) from None


def registry_settings(entry: Entry, space: Space) -> dict[str, Any]:
    """The point of the space with the entry's own settings, for trial 0.

    Raises:
        ResultsError: the point is outside the space, or the agent does not have a setting of the space.
    """
    known, point = _all_settings(entry), {}
    for name, distribution in space.items():
        value: Any = known
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ResultsError(f"agent {entry.path!r}: has no setting {name!r} to start from")
            value = value[part]
        if not _is_inside(distribution, value):
            raise ResultsError(f"agent {entry.path!r}: {name}={value!r} must be in its search space, {distribution}")
        point[name] = value
    return point


def _is_inside(distribution: Any, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    kinds = int if isinstance(distribution, IntDistribution) else int | float
    return isinstance(value, kinds) and distribution.low <= value <= distribution.high


def _all_settings(entry: Entry) -> dict[str, Any]:
    """All settings of an agent by name: defaults of the class, the recipe of a large model, and those of the entry."""
    agent_class = entry.agent_class()
    settings = {
        name: parameter.default
        for each in reversed(agent_class.__mro__[:-1])
        for name, parameter in inspect.signature(each).parameters.items()
    }
    settings["num_envs"] = agent_class.num_envs
    if entry.path.startswith("agents.large_model."):
        recipe = FINE_TUNING if "weights" in entry.settings else FROM_SCRATCH
        settings |= {**vars(TrainingConfig()), **recipe, **entry.settings}
        stages = settings["stage_overrides"]
        settings["stage_overrides"] = {name: {**vars(stage), **stages.get(name, {})} for name, stage in STAGES.items()}
    else:
        settings |= entry.settings
    return settings | ({"num_envs": entry.num_envs} if entry.num_envs else {})


def settings_at(entry: Entry, point: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for a point of the space; a dict with a tuned value also contains its other values."""
    recipe = FINE_TUNING if "weights" in entry.settings else {}
    settings: dict[str, Any] = {}
    for name, value in point.items():
        *path, last = name.split(".")
        within, known = settings, {**recipe, **entry.settings}
        for part in path:
            known = known.get(part, {})
            within = within.setdefault(part, {each: _copied(known[each]) for each in known})
        within[last] = value
    return settings


def _copied(value: Any) -> Any:
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, dict) else value
