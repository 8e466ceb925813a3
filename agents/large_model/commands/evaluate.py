"""Play sessions with a trained model.

Prints the mean return with its 95% interval, beside rules and the Bayes filter in the same sessions. Users and
catalogues are held out unless --split says otherwise.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from agents.large_model.commands.train import add_model_argument, add_world_argument, world_arguments
from agents.terminal import console, not_negative, positive, warn
from recsim_env.world.splits import SPLITS

CATALOG_SEED, SESSIONS_SEED = 800_000_011, 900_000_001
_NUM_TUNING_SESSIONS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("--sessions", type=positive, default=500, metavar="N", help="in each scenario")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and in which world."""
    add_model_argument(parser)
    parser.add_argument("--language-model", default="", metavar="NAME", help="its new location, if it has moved")
    parser.add_argument(
        "--env",
        action="append",
        metavar="ID",
        help="repeat for several (default: where it was trained; Video for a generalist)",
    )
    add_world_argument(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="of users and items")
    parser.add_argument("--catalog-seed", type=not_negative, default=CATALOG_SEED, metavar="S", help="of the catalogue")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def network_and_envs(parsed: argparse.Namespace) -> tuple[Any, list[str], dict[str, Any]]:
    """The network, the ids of the envs, and their arguments."""
    from agents.large_model.checkpoint import load_network

    network = load_network(parsed.model, parsed.device, warn, parsed.language_model)
    env_ids = parsed.env or [f"recsim_env/{domain}-v0" for domain in network.schema.domains or ("Video",)]
    arguments = {"split": parsed.split, "catalog_seed": parsed.catalog_seed, **world_arguments(parsed)}
    return network, env_ids, arguments


def evaluate(parsed: argparse.Namespace) -> int:
    from agents.large_model.env import make_env

    network, env_ids, arguments = network_and_envs(parsed)
    envs = {env_id: make_env(env_id, parsed.sessions, **arguments) for env_id in env_ids}
    console().print(comparison(network, envs, parsed.split))
    return 0


def comparison(network: Any, envs: Mapping[str, Any], split: str, teacher: Any = None) -> Table:
    """Mean returns of a network, its teacher, if that is a network, rules and the Bayes filter in the same sessions of
    each env, one in each lane.

    The value weights of the Bayes filter are tuned on the split `train`. It is left out of envs with slates, and where
    real people answer.
    """
    from agents.large_model.agent import LargeModel
    from agents.off_policy.estimate import Z_95
    from agents.references.bayes_filter import BayesFilter
    from agents.rollouts.evaluation import evaluate as play_sessions
    from agents.rules.platform_ranking import PlatformRanking
    from agents.rules.popularity import PopularityAgent
    from agents.rules.random_agent import RandomAgent

    agents: dict[str, Any] = {
        "large model": LargeModel.from_network(network),
        **({} if teacher is None else {"its teacher": LargeModel.from_network(teacher)}),
        "supervised heads alone": LargeModel.from_network(network, ranking="supervised"),
        "large model without history": LargeModel.from_network(network, reads_history=False),
        "platform ranking": PlatformRanking(),
        "popularity": PopularityAgent(),
        "random": RandomAgent(),
    }
    number = min(env.num_envs for env in envs.values())
    headings = ("env", "agent", "return (95% interval)", "session length", "left")
    table = Table(*headings, title=f"Mean return of {number} sessions of the split {split}")
    for name, env in envs.items():
        references: dict[str, Any] = {}
        if env.simulator.config.slate_size == 1 and not env.simulator.world.real_ratings:
            sessions = min(number, _NUM_TUNING_SESSIONS)
            knows = BayesFilter(env.remake(split="train"), num_tuning_sessions=sessions, num_threads=1)
            references["Bayes filter, which knows the user model"] = knows.learn(0)
        for agent_name, agent in {**agents, **references}.items():
            result = play_sessions(agent, env.remake(observation=agent.observation), SESSIONS_SEED)
            half_width = Z_95 * (result.return_sem or 0.0)
            figures = (f"{result.mean_return:.1f} ± {half_width:.1f}", f"{result.mean_length:.1f}")
            table.add_row(name, agent_name, *figures, f"{result.churn:.0%}")
    return table
