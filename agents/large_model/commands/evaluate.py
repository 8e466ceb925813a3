"""`evaluate`: how a trained model does with held-out users and catalogues, beside random play and popularity."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from agents.agent import Agent
from agents.large_model.agent import LargeModelAgent
from agents.large_model.commands.train import add_world_argument
from agents.large_model.trained_model import load_model
from agents.large_model.worlds import make_env
from agents.rollouts.evaluation import evaluate as play_sessions
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from agents.terminal import console, not_negative, positive, warn
from recsim_env.world.world import SPLITS

CATALOG_SEED, SESSIONS_SEED = 800_000_011, 900_000_001


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="play sessions with a trained model",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Play sessions with a trained model, by arg-max, and print the mean return with its 95% interval, "
        "beside random play and popularity in the same sessions. Users and catalogues are held out unless --split says "
        "otherwise.",
    )
    add_model_arguments(parser)
    parser.add_argument("--sessions", type=positive, default=500, metavar="N", help="of each scenario")
    parser.add_argument("--split", choices=SPLITS, default="test", help="part of the users and items")
    parser.set_defaults(command=evaluate)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and in which world."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="what `train --out` wrote")
    parser.add_argument(
        "--language-model",
        default="",
        metavar="NAME",
        help="where its language model lies, if it was moved",
    )
    parser.add_argument("--env", action="append", metavar="ID", help="repeat (default: where it was trained)")
    add_world_argument(parser)
    parser.add_argument("--catalog-seed", type=not_negative, default=CATALOG_SEED, metavar="S", help="of the catalogue")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def evaluate(parsed: argparse.Namespace) -> int:
    on = console()
    model = load_model(parsed.model, parsed.device, warn, parsed.language_model)
    known = [f"recsim_env/{domain}-v0" for domain in model.schema.domains]
    table = Table(title=f"Mean return of {parsed.sessions} sessions")
    for heading in ("env", "agent", "return (95% interval)", "session length", "left"):
        table.add_column(heading)
    for env_id in parsed.env or known:
        options = {"split": parsed.split, "catalog_seed": parsed.catalog_seed}
        if parsed.world:
            options["world"] = parsed.world
        for name, agent in _agents(model).items():
            env = make_env(env_id, parsed.sessions, **{**options, "observation": agent.observation})
            found = play_sessions(agent, env, SESSIONS_SEED)
            env.close()
            half = 1.96 * found.returns.std(ddof=1) / np.sqrt(len(found.returns)) if len(found.returns) > 1 else 0.0
            table.add_row(
                env_id,
                name,
                f"{found.returns.mean():.1f} ± {half:.1f}",
                f"{found.lengths.mean():.1f}",
                f"{found.has_left.mean():.0%}",
            )
    on.print(table)
    return 0


def _agents(model: Any) -> dict[str, Agent]:
    best, expected = LargeModelAgent(play="best"), LargeModelAgent(play="expected")
    blind = LargeModelAgent(reads_history=False)
    best.model = expected.model = blind.model = model
    return {
        "large model": best,
        "its supervised part alone": expected,
        "the model without history": blind,
        "popularity": PopularityAgent(),
        "random": RandomAgent(),
    }
