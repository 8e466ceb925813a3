"""One agent in one scenario with one seed: trained, evaluated on the way, and written down.

Shape legend: N evaluation sessions.
"""

import hashlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium

import recsim_env
from agents.agent import Agent, Learner
from agents.registry import Entry
from agents.rollouts.evaluation import Evaluation, evaluate
from benchmarks.analysis.metrics import CatalogFacts, summary
from benchmarks.running.rows import Row, as_lines, from_lines
from benchmarks.running.source_code import WORLD, source_fingerprint
from benchmarks.suites import Suite
from recsim_env.logs import MOVIELENS_100K, find_log, fingerprint
from recsim_env.scenarios import scenario_named


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one worker does at a time, and all that its rows depend on."""

    suite_name: str
    suite: Suite
    agent: str
    entry: Entry
    task: str
    """Name of the scenario and its variant; `scenario` in rows."""
    scenario: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int
    world: str | None = None
    """Fitted world or log, for MovieLens; None for the log that is found (RECSIM_DATA)."""
    keep: Path | None = None
    """Folder in which what a learner has learnt is kept."""
    trained: Path | None = None
    """Folder in which a learner may have been kept, which then is not trained again."""

    @cached_property
    def digest(self) -> str:
        """Of all that the rows depend on: another version, preset, setting or size is another cell."""
        preset = scenario_named(self.scenario).changed(self.changes)
        parts = [recsim_env.__version__, repr(preset), self.task, self.agent, self.entry.path]
        made, sizes = self.entry.agent_class(), self.suite.sizes()
        if not (issubclass(made, Learner) and made.has_budget):
            sizes = {"num_sessions": self.suite.num_sessions}
        parts += [json.dumps(self.entry.settings, sort_keys=True), json.dumps(sizes)]
        parts += [repr(self.suite.worlds), self.suite.device, str(self.seed)]
        if path := self.trained_file():
            parts.append(hashlib.blake2b(path.read_bytes()).hexdigest())
        if self.log:
            parts.append(self.log)
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()

    @cached_property
    def code(self) -> str:
        """Fingerprint of the source code that makes its rows, as it is when first asked for."""
        return source_fingerprint(self.entry.module, *WORLD)

    @cached_property
    def world_code(self) -> str:
        """Of that part of it that is the same for all agents: the world and the evaluation."""
        return source_fingerprint(*WORLD)

    @cached_property
    def log(self) -> str | None:
        """Fingerprint of the log or fitted world behind MovieLens, if it is another than MovieLens-100K itself."""
        path = self.world or find_log()
        if self.scenario != "MovieLens" or path is None:
            return None
        found = fingerprint(Path(path))
        return None if found == MOVIELENS_100K else found

    def file_in(self, folder: Path) -> Path:
        """Where the learner is kept, whatever the variant of the scenario."""
        return folder / f"{self.agent.replace(':', '.')}-{self.scenario}-seed{self.seed}.learnt"

    def trained_file(self) -> Path | None:
        """What the learner has learnt elsewhere, if it is there and does not belong to one catalogue."""
        made = self.entry.agent_class()
        if self.trained is None or not issubclass(made, Learner) or made.reads_evaluation_catalog:
            return None
        path = self.file_in(self.trained)
        return path if path.is_file() else None

    def env_id(self, agent: Agent) -> str:
        return f"recsim_env/{self.scenario}{agent.env_variant}-v0"

    def env_options(self) -> dict[str, Any]:
        """Of every env, in training and evaluation."""
        options: dict[str, Any] = {"changes": self.changes} if self.changes else {}
        return {**options, "world": self.world} if self.scenario == "MovieLens" and self.world else options

    def training_options(self, agent: Learner) -> dict[str, Any]:
        worlds = self.suite.worlds
        if agent.reads_evaluation_catalog:
            where = {"split": worlds.split, "user_split": "train", "catalog_seed": worlds.catalog_seed + self.seed}
        else:
            where = {"split": "train", "catalog_seed": worlds.training_catalog_seed + self.seed}
        return {**where, **self.env_options()}

    def evaluation_env(self, agent: Agent) -> Any:
        return gymnasium.make_vec(
            self.env_id(agent),
            self.suite.num_sessions,
            vectorization_mode="vector_entry_point",
            observation=agent.observation,
            split=self.suite.worlds.split,
            catalog_seed=self.suite.worlds.catalog_seed + self.seed,
            **self.env_options(),
        )

    @property
    def sessions_seed(self) -> int:
        """Of the first evaluation session."""
        return self.suite.worlds.sessions_seed + self.suite.worlds.sessions_apart * self.seed

    def identity(self) -> Row:
        """The keys that all rows of the cell share."""
        return {
            "suite": self.suite_name,
            "agent": self.agent,
            "family": self.entry.family,
            "scenario": self.task,
            "seed": self.seed,
            "cell": self.digest,
            "code": self.code,
            "world_code": self.world_code,
            "version": recsim_env.__version__,
            **({"log": self.log} if self.log else {}),
        }

    def failed(self, reason: str) -> Row:
        """The row that says that it came to nothing."""
        return {
            **self.identity(),
            "env_steps": 0,
            "wall_s": 0.0,
            "status": "failed",
            "is_final": True,
            "error": reason,
        }


def run_cell(cell: Cell) -> list[Row]:
    """Train (if the agent learns) and evaluate: a row for each evaluation, the last one with all that is measured."""
    import torch  # here, as it takes a second and nobody else in this file needs it

    torch.set_num_threads(1)
    _forget_peak_memory()
    agent = make_agent(cell.entry, cell.suite.device)
    env = cell.evaluation_env(agent)
    rows: list[Row] = []
    started, evaluating = time.perf_counter(), 0.0
    last: Evaluation | None = None

    def report(env_steps: int) -> None:
        nonlocal evaluating, last
        before = time.perf_counter()
        last = evaluate(agent, env, cell.sessions_seed, cell.seed)
        learning = before - started - evaluating
        rows.append({**cell.identity(), "env_steps": env_steps, "wall_s": round(learning, 3), **means(last)})
        evaluating += time.perf_counter() - before

    learnt_elsewhere = cell.trained_file()
    if isinstance(agent, Learner) and learnt_elsewhere:
        agent.load(learnt_elsewhere)
        report(0)
    elif isinstance(agent, Learner):
        every = cell.suite.num_steps // cell.suite.num_evaluations
        options = cell.training_options(agent)
        agent.learn(cell.env_id(agent), options, cell.suite.num_steps, cell.seed, report, every)
        if cell.keep:
            agent.save(cell.file_in(cell.keep))
    else:
        report(0)
    assert last is not None, "a learner has to report at its end"
    metrics = summary(last, CatalogFacts.of(env))
    rows[-1] |= {
        "is_final": True,
        "returns": [round(float(each), 4) for each in last.returns],
        "metrics": {name: value for name, value in metrics.items() if not isinstance(value, dict)},
        "ramps": {name: _rounded(value) for name, value in metrics.items() if isinstance(value, dict)},
        "settings": {**cell.entry.settings, **agent.best_params()},
        **({"trained": str(learnt_elsewhere)} if learnt_elsewhere else {}),
        "steps_per_s": round(rows[-1]["env_steps"] / rows[-1]["wall_s"], 1) if rows[-1]["env_steps"] else None,
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "cell_s": round(time.perf_counter() - started, 3),
    }
    env.close()
    # As they will be read back: what an agent says of itself and JSON cannot hold fails here, with this cell alone.
    return from_lines(as_lines(rows))


def make_agent(entry: Entry, device: str = "cpu") -> Agent:
    """The agent with its settings; `device` goes to those that compute with torch."""
    made = entry.agent_class()
    settings = dict(entry.settings)
    if takes_device(made):
        settings.setdefault("device", device)
    return made(**settings)


def takes_device(agent_class: type[Agent]) -> bool:
    """Whether some constructor of the class has a keyword `device`."""
    return any("device" in inspect.signature(each).parameters for each in agent_class.__mro__[:-1])


def _rounded(ramp: dict[str, list]) -> dict[str, list]:
    """A ramp with four decimals: rows are kept by the thousand."""
    return {
        name: [round(value, 4) if isinstance(value, float) else value for value in values]
        for name, values in ramp.items()
    }


def means(evaluation: Evaluation) -> Row:
    """What every evaluation says in numbers."""
    returns = evaluation.returns
    return {
        "status": "ok",
        "is_final": False,
        "num_sessions": len(returns),
        "return_mean": float(returns.mean()),
        "return_sem": float(returns.std(ddof=1) / len(returns) ** 0.5),
        "session_length_mean": float(evaluation.lengths.mean()),
        "churn": float(evaluation.has_left.mean()),
    }


def _forget_peak_memory() -> None:
    """Let the peak begin anew, as workers do many cells each (where the system can do that: Linux)."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        try:
            forget.write_text("5")
        except OSError:
            return


def peak_memory_mib() -> float:
    """The most memory that this process has held since `_forget_peak_memory`, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
