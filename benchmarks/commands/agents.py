"""List the agents with their settings, and the suites."""

import argparse
from typing import Any

from agents.terminal import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes none."""


def agents(parsed: argparse.Namespace) -> int:
    from rich.table import Column, Table

    from agents.registry import FAMILIES, REGISTRY
    from benchmarks.suites import SUITES, tuned_settings, with_settings

    screen = console()
    first_of: dict[str, str] = {}
    headings = (Column(each, overflow="fold") for each in ("name", "family", "description", "settings"))
    table = Table(*headings, title="Agents")
    for name in REGISTRY:
        entry = with_settings(REGISTRY[name], tuned_settings(name))
        lanes = {"num_envs": entry.num_envs} if entry.num_envs else {}
        settings = ", ".join(f"{key}={value}" for key, value in {**entry.settings, **lanes}.items())
        description = _description(entry)
        first = first_of.setdefault(description, name)
        table.add_row(name, entry.family, description if first == name else f"as {first}", settings)
    screen.print(table)
    table = Table(title="Families of agents", show_header=False)
    for family, description in FAMILIES.items():
        table.add_row(family, description)
    screen.print(table)
    names = ("name", "purpose", "scenarios", "agents", "seeds", "steps")
    table = Table(*(Column(each, overflow="fold") for each in names), title="Suites")
    for name, suite in SUITES.items():
        tasks, sizes = ", ".join(suite.tasks()), (str(suite.num_seeds), f"{suite.num_steps:,}")
        table.add_row(name, suite.about, tasks, str(len(suite.agents)), *sizes)
    screen.print(table)
    return 0


def _description(entry: Any) -> str:
    """The first paragraph of the agent's docstring; the reason where it cannot be imported."""
    from agents.registry import UnknownAgentError

    try:
        documentation = entry.agent_class().__doc__ or ""
    except UnknownAgentError as error:
        return f"not available: {error}"
    return " ".join(documentation.split("\n\n")[0].split())
