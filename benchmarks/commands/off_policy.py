"""Evaluate policies on a log that another policy wrote.

Replays a log of `python -m recsim_env.logs write`, asks each policy for the probability of every logged action, and
prints its mean return by every off-policy estimator, with 95% intervals, beside the mean return of the log. Policies
must be stochastic: agents with log_probabilities. Estimators with a value model need single items. The documentation
says which estimator to trust where.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.terminal import console, not_negative, path, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", type=path, required=True, metavar="DIR", help="folder of the log")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME",
        help="a policy to evaluate: name of an agent, or MODULE:CLASS; repeat for several",
    )
    parser.add_argument(
        "--load", type=path, action="append", default=[], metavar="FILE", help="a trained agent; repeat for several"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the policies' own draws")


def off_policy(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from agents.off_policy import estimates
    from benchmarks.rows import ResultsError
    from benchmarks.running.policy_log import policy_log

    if not (parsed.policy or parsed.load):
        raise ResultsError("no policy: give --policy NAME or --load FILE")
    table = Table(title=f"Mean return of a session, from {parsed.log}")
    for heading in ("policy", "estimator", "value", "95% interval", "effective sessions", "warning"):
        table.add_column(heading, justify="right" if heading in ("value", "effective sessions") else "left")
    for number, (name, agent, env) in enumerate(_agents(parsed)):
        try:
            found = policy_log(_steps(parsed.log, env), agent, _feature_steps(parsed.log, agent))
        except NotImplementedError as error:
            raise ResultsError(f"policy {name!r}: {error}; it must be stochastic") from None
        if number == 0:
            logged = found.log.session_sums(found.log.rewards)
            table.add_row("the log's own", "mean", f"{logged.mean():.3f}", "", f"{len(logged):,}", "")
        if number == 0 and found.num_dropped_rows:
            warn(f"{found.num_dropped_rows:,} rows of sessions that do not end within the log are left out")
        for estimator, each in estimates(found.log, found.features, found.policy_features).items():
            interval, size = f"{each.low:.3f} to {each.high:.3f}", f"{each.effective_sample_size:,.0f}"
            table.add_row(name, estimator, f"{each.value:.3f}", interval, size, each.warning)
    console().print(table)
    return 0


def _agents(parsed: argparse.Namespace) -> Iterator[tuple[str, Any, Any]]:
    """Name, agent and its env of each policy; the env is like that of the log."""
    from agents.agent import Learner
    from agents.registry import entry_named
    from agents.reinforcement.sb3 import SB3Model
    from benchmarks.rows import ResultsError
    from benchmarks.running.suite_runs import model_entries
    from benchmarks.suites import tuned_settings, with_settings
    from recsim_env.logs.simulated.replay import make_logged_env

    entries: dict[str, tuple[Any, Path | None]] = {
        name: (with_settings(entry_named(name), tuned_settings(name)), None) for name in parsed.policy
    }
    entries |= model_entries(parsed.load, parsed.policy, "--load")
    for name, (entry, file) in entries.items():
        agent_class = entry.agent_class()
        if agent_class.is_privileged:
            raise ResultsError(f"policy {name!r}: reads the latent state, which is not in a log")
        if file is None and issubclass(agent_class, Learner):
            if name in {each.path for each, other in entries.values() if other}:
                continue  # named only so that its file may be loaded
            raise ResultsError(f"policy {name!r}: is not trained; give --load FILE")
        if file is None:
            agent: Any = agent_class(seed=parsed.seed, **entry.settings)
        else:
            agent = SB3Model.from_zip(file) if agent_class is SB3Model else agent_class.load(file)
        env = make_logged_env(parsed.log, observation=agent.observation)
        agent.set_env(env)
        agent.set_random_seed(parsed.seed)
        yield name, agent, env


def _steps(log: Path, env: Any) -> Iterator[Any]:
    """The steps of the log in that env, with rewards in rating points."""
    import dataclasses

    from recsim_env.logs.simulated.replay import replay

    scale = env.simulator.config.reward_scale
    for step in replay(log, env=env):
        yield dataclasses.replace(step, rewards=step.rewards / scale)


def _feature_steps(log: Path, agent: Any) -> Iterator[Any] | None:
    """The same steps with observations that have features; None if those of the agent have them."""
    from recsim_env.logs.simulated.replay import replay

    return replay(log, observation="dict") if agent.observation == "compact" else None
