"""One agent in one scenario with one seed: trained, evaluated along the way, and recorded as rows.

Shape legend: N evaluation sessions.
"""

import dataclasses
import gc
import hashlib
import inspect
import json
import platform
import resource
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium

import recsim_env
from agents.agent import Agent, Learner, NotFittedError
from agents.callbacks import EveryNSteps
from agents.large_model.config import located
from agents.registry import Entry
from agents.rollouts.evaluation import Evaluation, evaluate
from benchmarks.analysis.exposures import CatalogFacts
from benchmarks.analysis.metrics import summary
from benchmarks.rows import ResultsError, Row, checked
from benchmarks.suites import Overrides, Suite
from recsim_env.logs import MOVIELENS_100K, find_log, fingerprint
from recsim_env.scenarios import scenario_named

RowValues = dict[str, Any]

SB3_MODEL = "agents.reinforcement.sb3:SB3Model"
"""Path of the agents that are loaded from zip files of Stable-Baselines3, which can execute code."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The unit of work of one worker, with everything that its rows depend on."""

    suite: Suite
    agent: str
    entry: Entry
    task: str
    """Name of the scenario and its variant, a key of `suite.tasks()`; `scenario` in rows."""
    seed: int
    world: str | None = None
    """Fitted world or log for MovieLens; None for the log that `find_log` returns (RECSIM_DATA)."""
    save_to: Path | None = None
    """File to which the trained agent is saved."""
    load_from: Path | None = None
    """File from which the agent is loaded instead of being trained."""
    has_own_source: bool = False
    """Whether the class of the agent is the user's, so that the rows depend on the content of its file."""

    @property
    def scenario(self) -> str:
        return self.suite.tasks()[self.task].scenario

    @property
    def overrides(self) -> Overrides:
        return self.suite.tasks()[self.task].overrides

    @property
    def structure_split(self) -> str | None:
        return self.suite.tasks()[self.task].structure_split

    def __getstate__(self) -> dict[str, Any]:
        """The state with the digest, with which another process can check that world, weights and source are equal."""
        return {**vars(self), "digest": self.digest}

    @cached_property
    def agent_class(self) -> type[Agent]:
        return self.entry.agent_class()

    @cached_property
    def digest(self) -> str:
        """Hash of the version, the world, the sizes, and the agent's settings, weights and, if it is the user's own,
        source file; rows with another digest are stale.
        """
        sizes = self.suite.sizes()
        if not self.is_trained or not self.uses_budget:
            sizes = {"num_sessions": self.suite.num_sessions}
        worlds = [self.overrides, repr(self.suite.worlds), self.log]
        worlds += [self.structure_split] if self.structure_split else []
        settings = [self.entry.settings, self.entry.num_envs, self.suite.device]
        weights = self.load_from or self.entry.settings.get("weights")
        loaded = file_digest(located(weights)) if weights else None
        parts = [recsim_env.__version__, self.task, self.agent, self.seed, sizes, worlds, settings, loaded]
        parts += [file_digest(Path(inspect.getfile(self.agent_class)))] if self.has_own_source else []
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def is_trained(self) -> bool:
        """Whether the agent learns in this run."""
        return self.load_from is None and issubclass(self.agent_class, Learner)

    @property
    def is_unsaved(self) -> bool:
        """Whether the trained agent is to be saved and its file does not exist."""
        return self.save_to is not None and self.is_trained and not self.save_to.exists()

    @property
    def uses_budget(self) -> bool:
        """Whether the agent, if it is trained, spends the suite's number of steps."""
        return getattr(self.agent_class, "uses_budget", False)

    @property
    def uses_gpu(self) -> bool:
        """Whether the agent computes on a GPU."""
        return self.suite.device.startswith("cuda") and takes_device(self.agent_class)

    @property
    def ends_process(self) -> bool:
        """Whether the process ends after the run: code of a user can change its state for later runs."""
        return self.entry.family == "own"

    @cached_property
    def log(self) -> str | None:
        """Fingerprint of the log or fitted world behind the scenario, unless that is MovieLens-100K itself."""
        path = self.world or find_log()
        if not self.needs_log or path is None:
            return None
        found = fingerprint(Path(path))
        return None if found == MOVIELENS_100K else found

    @property
    def needs_log(self) -> bool:
        """Whether the world is fitted to a ratings log."""
        return scenario_named(self.scenario).source == "ratings_log"

    @property
    def key(self) -> tuple[str, str, int]:
        """Agent, scenario and seed."""
        return self.agent, self.task, self.seed

    def training_env(self) -> Any:
        worlds = self.suite.worlds
        if getattr(self.agent_class, "reads_evaluation_catalog", False):
            split = {"split": worlds.split, "user_split": "train", "catalog_seed": worlds.catalog_seed + self.seed}
        else:
            catalog_seed = worlds.training_catalog_seed + worlds.training_catalogs_apart * self.seed
            split = {"split": "train", "catalog_seed": catalog_seed}
        structure = {"structure_split": "train"} if self.structure_split else {}
        return self._env(
            self._env_requirements(), self.entry.num_envs or self.agent_class.num_envs, {**split, **structure}
        )

    def evaluation_env(self, agent: Agent | None = None) -> Any:
        requirements = (agent.observation, agent.env_variant) if agent else self._env_requirements()
        worlds = self.suite.worlds
        split = {"split": worlds.split, "catalog_seed": worlds.catalog_seed + self.seed}
        structure = {"structure_split": self.structure_split} if self.structure_split else {}
        return self._env(requirements, self.suite.num_sessions, {**split, **structure})

    def _env_requirements(self) -> tuple[str, str]:
        return self.agent_class.env_requirements(**self.entry.settings)

    def _env(self, requirements: tuple[str, str], num_envs: int, split: dict[str, Any]) -> Any:
        observation, variant = requirements
        options: dict[str, Any] = {"overrides": self.overrides} if self.overrides else {}
        if self.needs_log and self.world:
            options["world"] = self.world
        if self.structure_split:
            options["world_seed"] = self.seed
        return gymnasium.make_vec(
            f"recsim_env/{self.scenario}{variant}-v0",
            num_envs,
            vectorization_mode="vector_entry_point",
            observation=observation,
            **split,
            **options,
        )

    @property
    def agent_seed(self) -> int:
        """Seed of the agent, and with it of its training sessions."""
        return self.suite.worlds.agent_seeds_apart * self.seed

    @property
    def sessions_seed(self) -> int:
        """Seed of the first evaluation session."""
        return self.suite.worlds.sessions_seed + self.suite.worlds.sessions_apart * self.seed

    def identity(self) -> RowValues:
        """The values that all rows of the run share."""
        return {
            "suite": self.suite.name,
            "agent": self.agent,
            "family": self.entry.family,
            "scenario": self.task,
            "seed": self.seed,
            "run": self.digest,
            "version": recsim_env.__version__,
            **({"log": self.log} if self.log else {}),
            **({"is_privileged": True} if self.entry.family == "own" and self.agent_class.is_privileged else {}),
        }

    def failed(self, reason: str, traceback: str = "") -> RowValues:
        """The row of a run that failed."""
        failure = {"status": "failed", "is_final": True, "error": reason}
        failure |= {"traceback": traceback} if traceback else {}
        return {**self.identity(), "env_steps": 0, "wall_s": 0.0, **failure}

    def execute(self) -> list[Row]:
        """Train the agent if it learns, and evaluate it: a row for each evaluation, the last one with all metrics.

        Raises:
            ResultsError: the ratings log, the weights or the agent's source differ from those of the process that
                created the run.
        """
        import torch  # takes a second to import, and only workers need it

        if dataclasses.replace(self).digest != self.digest:
            files = "the ratings log, the weights or the agent's source"
            raise ResultsError(f"{files} on {platform.node()} differ from the driver's")
        torch.set_num_threads(1)
        _reset_peak_memory()
        rows: list[RowValues] = []
        started, evaluating = time.perf_counter(), 0.0
        agent, env = self._agent_and_evaluation_env()
        evaluation: Evaluation | None = None

        def record(agent: Agent) -> None:
            nonlocal evaluating, evaluation
            before = time.perf_counter()
            try:
                evaluation = evaluate(agent, env, self.sessions_seed, self.agent_seed)
            except NotFittedError:
                if agent.num_timesteps:
                    raise
                return  # nothing to evaluate before the first step
            seconds = {"wall_s": before - started - evaluating, "evaluation_s": time.perf_counter() - before}
            evaluating += seconds["evaluation_s"]
            rounded = {name: round(value, 3) for name, value in seconds.items()}
            steps = agent.num_timesteps if self.is_trained else 0
            rows.append({**self.identity(), "env_steps": steps, **rounded, **means(evaluation)})

        if self.is_trained:
            agent.learn(self.suite.num_steps, EveryNSteps(self.suite.num_steps // self.suite.num_evaluations, record))
            agent.env.close()
            if self.save_to:
                agent.save(self.save_to)
        else:
            record(agent)
        assert evaluation is not None, "learn() has to evaluate at its end"
        last, metrics = rows[-1], summary(evaluation, CatalogFacts.of(env))
        env.close()
        num_envs = {"num_envs": self.entry.num_envs} if self.is_trained and self.entry.num_envs else {}
        rows[-1] |= {
            "is_final": True,
            "returns": [round(float(value), 4) for value in evaluation.returns],
            "metrics": {name: value for name, value in metrics.items() if not isinstance(value, dict)},
            "curves": {name: _rounded(value) for name, value in metrics.items() if isinstance(value, dict)},
            "settings": {**self.entry.settings, **num_envs, **agent.best_params()},
            **({"loaded_from": str(self.load_from)} if self.load_from else {}),
            "steps_per_s": round(last["env_steps"] / last["wall_s"], 1) if last["env_steps"] else None,
            "peak_memory_mib": round(peak_memory_mib(), 1),
            "run_s": round(time.perf_counter() - started, 3),
        }
        return [checked(row) for row in rows]

    def _agent_and_evaluation_env(self) -> tuple[Agent, Any]:
        if self.load_from and self.entry.path == SB3_MODEL:
            from agents.reinforcement.sb3 import SB3Model

            agent: Agent = SB3Model.from_zip(self.load_from)
            return agent, self.evaluation_env(agent)
        settings = dict(self.entry.settings)
        if takes_device(self.agent_class):
            settings.setdefault("device", self.suite.device)
        env = self.evaluation_env()
        if self.load_from:
            return self.agent_class.load(self.load_from, env), env
        return self.agent_class(
            env=self.training_env() if self.is_trained else env, seed=self.agent_seed, **settings
        ), env


def file_digest(path: Path) -> str:
    """Hash of a file, or of all files of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def takes_device(agent_class: type[Agent]) -> bool:
    """Whether a constructor of the class has an argument `device`."""
    return any("device" in inspect.signature(each).parameters for each in agent_class.__mro__[:-1])


def _rounded(curve: dict[str, list]) -> dict[str, list]:
    """A curve with four decimals: results files hold thousands."""
    return {
        name: [round(value, 4) if isinstance(value, float) else value for value in values]
        for name, values in curve.items()
    }


def means(evaluation: Evaluation) -> RowValues:
    """The summary of an evaluation that every row holds."""
    return {
        "status": "ok",
        "is_final": False,
        "num_sessions": len(evaluation.returns),
        "return_mean": evaluation.mean_return,
        "return_sem": evaluation.return_sem,
        "session_length_mean": evaluation.mean_length,
        "churn": evaluation.churn,
    }


def _reset_peak_memory() -> None:
    """Start measuring the peak again, as a worker executes many runs (on Linux).

    The last run's model may still be there: those of Stable-Baselines3 are in reference cycles with their callbacks.
    """
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mib() -> float:
    """Peak memory of this process since `_reset_peak_memory`, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
