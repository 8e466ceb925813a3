"""Scores of runs drawn again: what other seeds, and other evaluation sessions, would have given.

A bootstrap over the seeds of a scenario: the spread of runs with several seeds holds the noise of their evaluation
sessions already, so to draw those again, too, would count it twice. With one seed its sessions are drawn again instead.
Runs with one seed share their catalogue and their sessions, so either is drawn alike for every agent, and for the
references that set the scale of the scores: differences between agents stay paired.

Shape legend: R runs of an agent in a scenario, S seeds of the scenario, N evaluation sessions of a run, D bootstrap
draws.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.analysis.scores import Seeds, final_rows, reference_seeds, scales
from benchmarks.running.rows import Row
from benchmarks.suites import ONE, ZERO

NUM_DRAWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """`0.62 (0.58 to 0.66)`."""
        value, low, high = (decimals(each, digits) for each in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


def decimals(value: float, digits: int = 2) -> str:
    """`0.62`; never `-0.00`."""
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def estimate(value: float | np.ndarray, draws: np.ndarray) -> Estimate:
    """The percentile interval over [D] draws beside the figure that was measured."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value=float(value), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One agent's runs in one scenario."""

    seeds: list[int]
    """[R], rising."""
    values: np.ndarray
    """[R] as measured."""
    same_sessions: np.ndarray
    """[D, R]: what was measured, on the scale that each draw has."""
    other_sessions: np.ndarray
    """[D, R]: the same runs with their sessions drawn again."""
    all_seeds: list[int]
    """[S] of all agents in the scenario, rising."""
    picks: np.ndarray
    """[D, S] in [0, S): which of all the seeds a draw takes; the same numbers for every agent of the scenario."""

    def drawn(self) -> np.ndarray:
        """[D, R]: with several seeds the runs drawn again, by their seeds; with one seed its sessions."""
        num_runs = len(self.seeds)
        if num_runs == 1:
            return self.other_sessions
        position = {seed: n for n, seed in enumerate(self.seeds)}
        own = np.array([position.get(seed, -1) for seed in self.all_seeds])
        picks = self.picks[:, :num_runs]
        chosen = own[picks.astype(np.int64)]
        # Who lacks a seed that is picked takes, by what the pick leaves over, one of its own: all are as likely.
        in_its_place = (picks % 1.0 * num_runs).astype(np.int64)
        return np.take_along_axis(self.same_sessions, np.where(chosen < 0, in_its_place, chosen), 1)

    def of_seeds(self, seeds: Collection[int]) -> "Runs":
        """Those of some of its seeds; picks are then among these."""
        kept = [n for n, seed in enumerate(self.seeds) if seed in seeds]
        return replace(
            self,
            seeds=[self.seeds[n] for n in kept],
            values=self.values[kept],
            same_sessions=self.same_sessions[:, kept],
            other_sessions=self.other_sessions[:, kept],
        )

    def scaled(self, zero: float, one: float, drawn_zero: np.ndarray, drawn_one: np.ndarray) -> "Runs":
        """On the scale on which `zero` is 0 and `one` is 1; in the draws, what they are there, [D, 1] each."""
        # Where the oracle is hardly above random, some draws turn them round: still numbers, if wild ones.
        width = np.maximum(drawn_one - drawn_zero, 1e-9)
        return replace(
            self,
            values=(self.values - zero) / (one - zero),
            same_sessions=(self.same_sessions - drawn_zero) / width,
            other_sessions=(self.other_sessions - drawn_zero) / width,
        )


@dataclass(frozen=True, kw_only=True)
class AgentRuns:
    """All final runs of one agent, by scenario."""

    returns: dict[str, Runs] = field(default_factory=dict)
    scores: dict[str, Runs] = field(default_factory=dict)
    """Only in scenarios, and of seeds, that have scores."""


def draw_runs(
    rows: list[Row], seeds: Seeds | None = None, seed: int = 0, num_draws: int = NUM_DRAWS
) -> dict[str, AgentRuns]:
    """For each agent its final runs, and `num_draws` bootstrap draws of them; keyed by `seed`.

    Runs of `seeds` are scored, by default of `reference_seeds`.
    """
    seeds = reference_seeds(rows) if seeds is None else seeds
    scale = scales(rows, seeds)
    generator = np.random.default_rng(seed)
    by_scenario: dict[str, list[Row]] = {}
    for row in final_rows(rows):
        by_scenario.setdefault(row["scenario"], []).append(row)
    found: dict[str, AgentRuns] = {}
    for scenario, final in by_scenario.items():
        returns = _runs(final, generator, num_draws)
        for agent, runs in returns.items():
            found.setdefault(agent, AgentRuns()).returns[scenario] = runs
        if scenario in scale:
            compared = {agent: runs.of_seeds(seeds[scenario]) for agent, runs in returns.items()}
            ends = [compared[agent].drawn().mean(1, keepdims=True) for agent in (ZERO, ONE)]
            for agent, runs in compared.items():
                if runs.seeds:
                    found[agent].scores[scenario] = runs.scaled(*scale[scenario], *ends)
    return found


def _runs(final: list[Row], generator: np.random.Generator, num_draws: int) -> dict[str, Runs]:
    """The runs of each agent in one scenario."""
    by_seed: dict[int, list[Row]] = {}
    for row in final:
        by_seed.setdefault(row["seed"], []).append(row)
    picks = generator.random((num_draws, len(by_seed))) * len(by_seed)
    measured: dict[str, list[tuple[int, float, np.ndarray]]] = {}
    for seed in sorted(by_seed):
        rows = by_seed[seed]
        for row, means in zip(rows, _other_sessions(rows, generator, num_draws), strict=True):
            measured.setdefault(row["agent"], []).append((seed, row["return_mean"], means))
    return {
        agent: Runs(
            seeds=[seed for seed, _, _ in runs],
            values=np.array([value for _, value, _ in runs]),
            same_sessions=np.tile([value for _, value, _ in runs], (num_draws, 1)),
            other_sessions=np.stack([means for _, _, means in runs], 1),
            all_seeds=sorted(by_seed),
            picks=picks,
        )
        for agent, runs in measured.items()
    }


def _other_sessions(rows: list[Row], generator: np.random.Generator, num_draws: int) -> list[np.ndarray]:
    """For each of the rows, which share their sessions, [D] mean returns over sessions drawn again, alike for all."""
    num_sessions = {len(row["returns"]) for row in rows}
    if len(num_sessions) > 1:  # not the same sessions, so not pairs: then only the runs are drawn again
        return [np.full(num_draws, row["return_mean"]) for row in rows]
    n = num_sessions.pop()
    weights = generator.multinomial(n, np.full(n, 1.0 / n), size=num_draws) / n
    return list((weights @ np.array([row["returns"] for row in rows]).T).T)
