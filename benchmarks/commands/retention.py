"""Compare how well agents keep their users.

All agents play the same lives of held-out users, who come back or leave for good. Writes for each agent the share of
users that left, visits and active days, with differences to the first agent that are paired life by life. A ratings log
does not show satiation, patience and absences, so each comparison is repeated with the assumptions about them at half
and at double the preset's value. Writes retention.jsonl, a row for each agent and assumption as soon as it is finished
(the same command resumes), the table retention.md and the figure retention. Agents are loaded, or trained for
--train-steps under the preset's assumptions.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.saved_tensors import is_zip
from agents.terminal import console, not_negative, number_in, path

ASSUMPTIONS = (
    ("behaviour", "satiation_gain"),
    ("population", "patience_mean"),
    ("behaviour", "patience_gain"),
    ("lifetime", "return_rate"),
    ("lifetime", "return_satisfaction"),
)
"""Sections and fields of a scenario on which it depends how long users stay, and which a ratings log does not show."""

AS_ASSUMED = "preset"
_FACTORS = (0.5, 2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME",
        help="name, MODULE:CLASS or sb3:ALGORITHM; repeat for several. The others are compared with the first",
    )
    parser.add_argument(
        "--load", type=path, action="append", default=[], metavar="FILE", help="a trained agent; repeat for several"
    )
    parser.add_argument(
        "--env", default="recsim_env/MovieLensLifetime-v0", metavar="ID", help="id of an env with several visits"
    )
    parser.add_argument("--world", metavar="PATH", help="for MovieLens: fitted world (.npz) or ratings log")
    parser.add_argument("--train-steps", type=not_negative, default=0, metavar="N", help="user-steps of training")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 1_000_000), default=1_000, metavar="N", help="lives of each comparison"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of lives, training and agents")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for the results")


def retention(parsed: argparse.Namespace) -> int:
    from rich.markdown import Markdown

    import recsim_env
    from benchmarks.analysis.retention import conclusions, mean, table
    from benchmarks.experiments.script import finished_rows
    from benchmarks.report.figures.retention import retention as figure
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import ResultsError, append_rows, provenance
    from benchmarks.running.run import file_digest
    from recsim_env.atomic_file import write_atomically
    from recsim_env.locked_folder import locked

    if not (parsed.agent or parsed.load):
        raise ResultsError("no agent: give --agent NAME or --load FILE")
    entries, screen = _entries(parsed), console()
    preset = _env(parsed, 1, "dict").unwrapped
    if not preset.simulator.layout.is_lifetime:
        raise ResultsError(f"--env {parsed.env}: its users do not come back; choose recsim_env/MovieLensLifetime-v0")
    world, assumptions = preset.simulator.world, assumptions_of(preset.simulator.world.scenario)
    settings = {
        "env": parsed.env,
        "world": world.source and world.source.fingerprint,
        "train_steps": parsed.train_steps,
        "num_sessions": parsed.sessions,
        "seed": parsed.seed,
        "version": recsim_env.__version__,
    }
    origin, file = provenance(sys.argv[1:]), parsed.out / "retention.jsonl"
    keys = {
        (name, assumption): {"agent": name, "assumption": assumption, "loaded": model and file_digest(model)}
        for assumption in assumptions
        for name, (_, model) in entries.items()
    }
    with locked(parsed.out):
        finished = finished_rows(file, settings)
        found = {key: row for key, of in keys.items() for row in finished if of.items() <= row.items()}
        for name, (entry, model) in entries.items():
            missing = [assumption for assumption in assumptions if (name, assumption) not in found]
            for assumption, measures in _lives(parsed, entry, model, {each: assumptions[each] for each in missing}):
                row = {**keys[name, assumption], **settings, **measures, **origin}
                append_rows(file, [row])
                found[name, assumption] = row
                days = mean(row, "active_days")[0]
                screen.print(f"{name:<24}  {assumption:<28}  {days:6.2f} active days", highlight=False, markup=False)
        rows = [found[key] for key in keys]
        text = table(rows) + (f"\n{conclusions(rows)}" if len(entries) > 1 else "")
        write_atomically(parsed.out / "retention.md", text.encode())
        write_figure(parsed.out / "retention", lambda: figure(rows))
    screen.print(Markdown(text))
    screen.print(f"{parsed.out / 'retention.md'}\n{parsed.out / 'retention.png'}", highlight=False, markup=False)
    return 0


def assumptions_of(scenario: Any) -> dict[str, dict[str, dict[str, float]]]:
    """Overrides of a scenario by the name of the assumption: none, and each of `ASSUMPTIONS` that is not 0 at half and
    at double its value."""
    found: dict[str, dict[str, dict[str, float]]] = {AS_ASSUMED: {}}
    for section, name in ASSUMPTIONS:
        value = getattr(getattr(scenario, section), name)
        for factor in _FACTORS if value else ():
            found[f"{name} = {factor * value:g}"] = {section: {name: factor * value}}
    return found


def _entries(parsed: argparse.Namespace) -> dict[str, tuple[Any, Path | None]]:
    """Registry entry and file of each agent, checked before anything is trained."""
    from agents.agent import Learner
    from agents.registry import entry_named
    from benchmarks.rows import ResultsError
    from benchmarks.running.suite_runs import model_entries
    from benchmarks.suites import tuned_settings, with_settings

    entries: dict[str, tuple[Any, Path | None]] = {}
    loaded = model_entries(parsed.load, parsed.agent, "--load")
    for name in dict.fromkeys(parsed.agent):
        entry = with_settings(entry_named(name), tuned_settings(name))
        agent_class = entry.agent_class()
        if agent_class.env_requirements(**entry.settings)[1]:
            raise ResultsError(
                f"agent {name!r}: plays points in content space; ids with several visits take candidates"
            )
        if issubclass(agent_class, Learner) and agent_class.uses_budget and not parsed.train_steps:
            if name in {each.path for each, _ in loaded.values()}:
                continue  # named only so that its file may be loaded
            raise ResultsError(f"agent {name!r}: is not trained; give --load FILE or --train-steps N")
        entries[name] = entry, None
    if twice := sorted(set(entries) & set(loaded)):
        raise ResultsError(f"--load: an agent is named {twice[0]!r} already; rename the file")
    return entries | loaded


def _lives(
    parsed: argparse.Namespace, entry: Any, file: Path | None, assumptions: dict[str, Any]
) -> Iterator[tuple[str, dict[str, list[int]]]]:
    """Each assumption, with measures of each life that the agent plays under it."""
    from agents.rollouts.evaluation import evaluate
    from benchmarks.suites import HELD_OUT

    if not assumptions:
        return
    agent = _agent(parsed, entry, file)
    for assumption, overrides in assumptions.items():
        env = _env(parsed, parsed.sessions, agent.observation, overrides=overrides)
        first_seed = HELD_OUT.sessions_seed + HELD_OUT.sessions_apart * parsed.seed
        played = evaluate(agent, env, first_seed, parsed.seed)
        env.close()
        yield (
            assumption,
            {
                "has_left": played.has_left.astype(int).tolist(),
                "num_visits": played.num_visits.tolist(),
                "active_days": played.num_active_days.tolist(),
            },
        )


def _agent(parsed: argparse.Namespace, entry: Any, file: Path | None) -> Any:
    """An agent that is ready to act."""
    from agents.agent import Learner
    from agents.reinforcement.sb3 import SB3Model
    from benchmarks.suites import HELD_OUT

    if file:
        agent_class = entry.agent_class()
        return SB3Model.from_zip(file) if is_zip(file) else agent_class.load(file)
    agent_class = entry.agent_class()
    observation, _ = agent_class.env_requirements(**entry.settings)
    if not issubclass(agent_class, Learner):
        return agent_class(env=_env(parsed, 1, observation), seed=parsed.seed, **entry.settings)
    training = {"split": "train", "catalog_seed": HELD_OUT.training_catalog_seed + parsed.seed}
    if agent_class.reads_evaluation_catalog:
        training = {"user_split": "train"}
    env = _env(parsed, entry.num_envs or agent_class.num_envs, observation, **training)
    agent = agent_class(env=env, seed=parsed.seed, **entry.settings).learn(parsed.train_steps, progress_bar=True)
    env.close()
    return agent


def _env(parsed: argparse.Namespace, num_envs: int, observation: str, **options: Any) -> Any:
    """Of the held-out users and items, unless `options` say otherwise."""
    import gymnasium

    import recsim_env  # noqa: F401  (registers the ids)
    from benchmarks.rows import ResultsError
    from benchmarks.suites import HELD_OUT

    arguments = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed + parsed.seed, **options}
    if parsed.world:
        arguments["world"] = parsed.world
    try:
        return gymnasium.make_vec(
            parsed.env, num_envs, vectorization_mode="vector_entry_point", observation=observation, **arguments
        )
    except gymnasium.error.Error as error:
        raise ResultsError(f"--env {parsed.env}: {error}") from None
    except TypeError:  # it does not take our arguments
        raise ResultsError(f"--env {parsed.env}: must be an env of recsim_env with several visits") from None
