"""Runs of a submitted agent, which record reads of the latent state, and runs of the references."""

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agents.agent import Agent
from benchmarks.rows import ResultsError, Row, checked
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_runs
from benchmarks.submission.agent_file import AgentFile
from benchmarks.suites import ONE, ZERO, Suite
from recsim_env.scenarios import scenario_named
from recsim_env.simulation.simulator import Simulator

PRIVILEGED_READS = ("latent_state", "compiled_model", "state", "restore")
"""Methods of `Simulator` that expose the latent state or allow lookahead; copies and pickles of envs call the last two.

Reads of public arrays, such as `Simulator.sessions` and `World.item_records`, and steps of the simulator itself cannot
be recorded.
"""


@dataclass(frozen=True, kw_only=True)
class SubmittedRun(Run):
    """A run of a submitted agent, whose rows also depend on the content of the agent's files."""

    files_digest: str
    """`AgentFile.digest`."""

    @cached_property
    def digest(self) -> str:
        """Digest of the run, including the agent's files."""
        parts = f"{super().digest} {self.files_digest}"
        return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()

    def evaluation_env(self, agent: Agent | None = None) -> Any:
        env = super().evaluation_env(agent)
        self.__dict__["evaluation_world"] = env.simulator.world
        return env

    def execute(self) -> list[Row]:
        """The rows of the run; the last one records where the agent read the latent state."""
        with _latent_reads() as worlds:
            rows = super().execute()
        own = self.__dict__.pop("evaluation_world")
        last: dict[str, Any] = {**rows[-1]}
        last["latent_reads"] = sorted({"play" if world is own else "training" for world in worlds})
        if self.load_from:
            last["loaded_from"] = self.load_from.name  # the folder differs from machine to machine
        return [*rows[:-1], checked(last)]


def submission_runs(suite: Suite, name: str, agent: AgentFile) -> tuple[list[Run], list[Run]]:
    """The runs of a submitted agent in a suite, and those of the references, whose returns define the scores 0 and 1.

    Raises:
        ResultsError: the suite needs a ratings log, which reviewers may not have.
        UnknownAgentError: the agent cannot be imported.
    """
    for scenario in suite.scenarios:
        if scenario_named(scenario).source != "synthetic":
            raise ResultsError(
                f"suite {suite.name!r}: {scenario} needs a ratings log; submissions use synthetic scenarios"
            )
    references = suite_runs(dataclasses.replace(suite, agents=(ZERO, ONE)))
    suite, entry = dataclasses.replace(suite, agents=(ZERO, name, ONE)), agent.entry()
    entry.agent_class()
    own: list[Run] = [
        SubmittedRun(
            suite=suite,
            agent=name,
            entry=entry,
            task=run.task,
            seed=run.seed,
            load_from=agent.weights,
            files_digest=agent.digest,
        )
        for run in references
        if run.agent == ZERO
    ]
    return own, references


@contextmanager
def _latent_reads() -> Iterator[list[Any]]:
    """A list that receives, within the block, the world of each simulator whose latent state is read."""
    worlds: list[Any] = []
    originals = {name: getattr(Simulator, name) for name in PRIVILEGED_READS}

    def recorded(original: Any) -> Any:
        def read(simulator: Simulator, *arguments: Any, **options: Any) -> Any:
            if not any(simulator.world is world for world in worlds):
                worlds.append(simulator.world)
            return original(simulator, *arguments, **options)

        return read

    for name, original in originals.items():
        setattr(Simulator, name, recorded(original))
    try:
        yield worlds
    finally:
        for name, original in originals.items():
            setattr(Simulator, name, original)
