"""The runs of a suite, for some or all of its scenarios, agents and seeds, and for further trained agents."""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agents.agent import Agent, Learner
from agents.registry import REGISTRY, Entry
from agents.saved_tensors import is_zip, load_tensors, saved_by
from agents.terminal import warn
from benchmarks.rows import ResultsError
from benchmarks.running.run import SB3_MODEL, Run
from benchmarks.suites import SUITES, Suite
from recsim_env.config import unknown_name
from recsim_env.logs import find_log, load_or_fit
from recsim_env.scenarios import LIFETIMES, SCENARIOS, scenario_named

_LARGE_MODEL = "agents.large_model.agent:LargeModel"
ZIP_WARNING = "loading a Stable-Baselines3 file can execute code; do not load files from untrusted sources"


def suite_named(name: str) -> Suite:
    """The suite of that name; `ResultsError` with the nearest names if there is none."""
    if name not in SUITES:
        raise ResultsError(f"suite {name!r}: {unknown_name(name, SUITES)}")
    return SUITES[name]


def checked_scenarios(names: Sequence[str]) -> tuple[str, ...]:
    """The names if all are scenarios; otherwise `ResultsError` with the nearest names."""
    known = SCENARIOS | LIFETIMES
    for name in names:
        if name not in known:
            raise ResultsError(f"scenario {name!r}: {unknown_name(name, known)}")
    return tuple(names)


def selected(
    suite: Suite,
    *,
    scenarios: Sequence[str] = (),
    only: Sequence[str] = (),
    own_agents: Sequence[str] = (),
    num_seeds: int | None = None,
    num_steps: int | None = None,
) -> Suite:
    """The suite with some of its scenarios and agents, agents of the user, or other numbers of seeds and steps."""
    checked_scenarios(scenarios)
    for agent in (*only, *own_agents):
        suite.entry(agent).agent_class()  # raises if there is none
    agents = (*(only or suite.agents), *own_agents)
    return dataclasses.replace(
        suite,
        scenarios=tuple(scenarios) or suite.scenarios,
        agents=tuple(dict.fromkeys(agents)),
        num_seeds=num_seeds or suite.num_seeds,
        num_steps=num_steps or suite.num_steps,
    )


def suite_runs(
    suite: Suite,
    world: str | None = None,
    save_models: Path | None = None,
    load_models: Path | None = None,
    models: Mapping[str, tuple[Entry, Path]] = MappingProxyType({}),
) -> list[Run]:
    """The runs of a suite, one seed after the other, so that an interrupted comparison is balanced.

    `world` is the fitted world or log for MovieLens. Trained agents are saved to the folder `save_models`; those saved
    in `load_models` are evaluated instead of being trained, as are `models` besides the suite's (`model_entries`). An
    agent that was not saved in a variant of a scenario is loaded from the scenario itself.
    """
    for name, (_, file) in models.items():
        if name in {*REGISTRY, *suite.variants, *suite.agents}:
            raise ResultsError(f"--model {file}: an agent is named {name!r} already; rename the file")
    suite = dataclasses.replace(suite, agents=(*suite.agents, *models))
    entries = {agent: models[agent][0] if agent in models else suite.entry(agent) for agent in suite.agents}
    runs = []
    for seed, (name_of_task, task) in itertools.product(range(suite.num_seeds), suite.tasks().items()):
        for agent, entry in entries.items():
            save_to = save_models / _model_file(agent, name_of_task, seed) if save_models else None
            saved_as = (_model_file(agent, trained_in, seed) for trained_in in (name_of_task, task.scenario))
            load_from = models[agent][1] if agent in models else _saved_in(load_models, saved_as, entry)
            run = Run(suite=suite, agent=agent, entry=entry, task=name_of_task, seed=seed, world=world)
            is_own = entry.path not in project_paths()
            runs.append(dataclasses.replace(run, save_to=save_to, load_from=load_from, has_own_source=is_own))
    return runs


def project_paths() -> set[str]:
    """The paths of the classes that are not a user's own."""
    return {SB3_MODEL, *(entry.path for entry in REGISTRY.values())}


def with_ratings_log(suite: Suite, world: str | None, log: Callable[[str], None]) -> tuple[Suite, str | None]:
    """The suite, with Ratings in place of MovieLens if there is no log; and the path of the log or fitted world."""
    from_log = [name for name in suite.scenarios if scenario_named(name).source == "ratings_log"]
    if not from_log:
        if world is not None:
            raise ResultsError("--world: none of the scenarios is MovieLens")
        return suite, None
    found = Path(world) if world else find_log()
    if found is None:
        in_place = {name: name.replace("MovieLens", "Ratings") for name in from_log}
        for name, other in in_place.items():
            log(f"{name}: no ratings log found (set RECSIM_DATA); the scenario {other} takes its place.")
        names = [in_place.get(name, name) for name in suite.scenarios]
        return dataclasses.replace(suite, scenarios=tuple(dict.fromkeys(names))), None
    load_or_fit(found)  # once, before the workers need it
    return suite, str(found)


def _model_file(agent: str, task: str, seed: int) -> str:
    """The name of the file of an agent that was trained in a task with a seed, without spaces and punctuation."""
    return re.sub(r"[^\w.+-]+", "-", f"{agent.replace(':', '.')}-{task}-seed{seed}") + ".safetensors"


def _saved_in(folder: Path | None, names: Iterable[str], entry: Entry) -> Path | None:
    """The first of the files that exists; None for agents that are tied to the catalogue of their training."""
    if folder is None or not _is_loadable(entry.agent_class()):
        return None
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _is_loadable(agent_class: type[Agent]) -> bool:
    return issubclass(agent_class, Learner) and not agent_class.reads_evaluation_catalog


def log_trained(runs: Iterable[Run], load_models: Path, log: Callable[[str], None]) -> None:
    """Log the agents that are trained although saved ones are to be loaded, with their numbers of runs.

    Raises:
        ResultsError: the folder has no file for any of the runs.
    """
    runs = list(runs)
    loadable = [run for run in runs if _is_loadable(run.agent_class)]
    if not loadable:
        raise ResultsError(f"--load-models {load_models}: none of the agents is loaded from a file")
    if not any(run.load_from and run.load_from.parent == load_models for run in loadable):
        example = _model_file(loadable[0].agent, loadable[0].task, loadable[0].seed)
        raise ResultsError(f"--load-models {load_models}: has no file for any of the agents, such as {example}")
    trained = [run for run in runs if run.is_trained and run.uses_budget]
    for reason, is_loadable in (("without a file", True), ("on the evaluation catalogue, as always", False)):
        numbers = Counter(run.agent for run in trained if _is_loadable(run.agent_class) == is_loadable)
        agents = ", ".join(f"{agent} ({number} run{'' if number == 1 else 's'})" for agent, number in numbers.items())
        if agents:
            log(f"--load-models {load_models}: trained, {reason}: {agents}")


def model_entries(
    files: Iterable[Path], own_agents: Sequence[str] = (), option: str = "--model"
) -> dict[str, tuple[Entry, Path]]:
    """An entry for each file of a trained agent, named by the file; errors begin with the `option` that names it.

    Warns before a Stable-Baselines3 file is loaded, which can execute code.

    Raises:
        ResultsError: a file is missing or damaged, or its agent is neither of the registry nor among `own_agents`.
    """
    models: dict[str, tuple[Entry, Path]] = {}
    for file in files:
        if not file.exists():
            raise ResultsError(f"{option} {file}: no such file")
        settings: dict[str, Any] = {}
        try:
            if is_zip(file):
                from agents.reinforcement.sb3 import SB3Model  # imports PyTorch

                warn(f"{option} {file}: {ZIP_WARNING}")
                SB3Model.from_zip(file)
                path = SB3_MODEL
            elif file.is_dir():
                from agents.large_model.checkpoint import load_network

                load_network(file, warn=warn)
                path = _LARGE_MODEL
            else:
                path = saved_by(file)
                settings = load_tensors(file, path)[1].get("settings", settings)
                if not isinstance(settings, dict):
                    raise ValueError(f"{file}: contains no settings of an agent")
        except ValueError as error:
            raise ResultsError(f"{option} {error}") from None
        if path not in (*project_paths(), *own_agents):
            raise ResultsError(f"{option} {file}: was written by {path}; add --agent {path} if you trust that module")
        if file.stem in models:
            raise ResultsError(f"{option} {file}: an agent is named {file.stem!r} already; rename the file")
        models[file.stem] = Entry(path=path, family="own", settings=settings), file
    return models
