"""`agents`: list who can be compared, and the suites."""

import argparse
from typing import Any

from rich.table import Table

from agents.registry import FAMILIES, REGISTRY, entry_named
from agents.terminal import console
from benchmarks.suites import SUITES


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "agents", help="list the agents and the suites", description="List every agent with its settings, and suites."
    )
    parser.set_defaults(command=agents)


def agents(parsed: argparse.Namespace) -> int:
    on = console()
    table = Table(title="Agents")
    for heading in ("name", "kind", "what it is", "settings"):
        table.add_column(heading, overflow="fold")
    for name in REGISTRY:
        entry = entry_named(name)
        settings = ", ".join(f"{key}={value}" for key, value in entry.settings.items())
        table.add_row(name, FAMILIES[entry.family], what_it_is(entry.agent_class()), settings)
    on.print(table)
    table = Table(title="Suites")
    for heading in ("name", "what for", "scenarios", "agents", "seeds", "steps"):
        table.add_column(heading, overflow="fold")
    for name, suite in SUITES.items():
        tasks, sizes = ", ".join(suite.tasks()), (str(suite.num_seeds), f"{suite.num_steps:,}")
        table.add_row(name, suite.about, tasks, str(len(suite.agents)), *sizes)
    on.print(table)
    return 0


def what_it_is(agent_class: type) -> str:
    """The first sentence of its docstring."""
    return " ".join((agent_class.__doc__ or "").split("\n\n")[0].split())
