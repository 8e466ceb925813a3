"""Scores of runs drawn again: what other seeds, and other evaluation sessions, would have given.

A bootstrap in two stages: the runs of a scenario are drawn again, and for each run its evaluation sessions. Runs with
one seed share their catalogue and their sessions, so both are drawn alike for every agent, and for the references that
set the scale of the scores: differences between agents stay paired. With one seed the sessions alone are drawn again.

Shape legend: R runs of an agent in a scenario, N evaluation sessions of a run, D bootstrap draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.results import Row
from benchmarks.scores import final_rows, scales
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
    other_sessions: np.ndarray
    """[D, R]: the same runs with their sessions drawn again."""
    picks: np.ndarray
    """[D, R or more] in [0, 1): which runs a draw takes; the same numbers for every agent of the scenario."""

    def drawn(self) -> np.ndarray:
        """[D, R]: runs and sessions drawn again."""
        num_runs = len(self.seeds)
        chosen = (self.picks[:, :num_runs] * num_runs).astype(np.int64)
        return np.take_along_axis(self.other_sessions, chosen, 1)

    def of_seeds(self, seeds: Sequence[int]) -> "Runs":
        """Those of some of its seeds."""
        kept = [n for n, seed in enumerate(self.seeds) if seed in seeds]
        return Runs(
            seeds=[self.seeds[n] for n in kept],
            values=self.values[kept],
            other_sessions=self.other_sessions[:, kept],
            picks=self.picks,
        )

    def scaled(self, zero: float, one: float, drawn_zero: np.ndarray, drawn_one: np.ndarray) -> "Runs":
        """On the scale on which `zero` is 0 and `one` is 1; in the draws, what they are there, [D, 1] each."""
        # Where the oracle is hardly above random, some draws turn them round: still numbers, if wild ones.
        width = np.maximum(drawn_one - drawn_zero, 1e-9)
        return Runs(
            seeds=self.seeds,
            values=(self.values - zero) / (one - zero),
            other_sessions=(self.other_sessions - drawn_zero) / width,
            picks=self.picks,
        )


@dataclass(frozen=True, kw_only=True)
class AgentRuns:
    """All final runs of one agent, by scenario."""

    returns: dict[str, Runs] = field(default_factory=dict)
    scores: dict[str, Runs] = field(default_factory=dict)
    """Only in scenarios that have scores."""


def draw_runs(rows: list[Row], seed: int = 0, num_draws: int = NUM_DRAWS) -> dict[str, AgentRuns]:
    """For each agent its final runs, and `num_draws` bootstrap draws of them; keyed by `seed`."""
    generator = np.random.default_rng(seed)
    by_scenario: dict[str, list[Row]] = {}
    for row in final_rows(rows):
        by_scenario.setdefault(row["scenario"], []).append(row)
    found: dict[str, AgentRuns] = {}
    for scenario, final in by_scenario.items():
        returns = _runs(final, generator, num_draws)
        for agent, runs in returns.items():
            found.setdefault(agent, AgentRuns()).returns[scenario] = runs
        if scenario in (scale := scales(final)):
            ends = [returns[agent].drawn().mean(1, keepdims=True) for agent in (ZERO, ONE)]
            for agent, runs in returns.items():
                found[agent].scores[scenario] = runs.scaled(*scale[scenario], *ends)
    return found


def _runs(final: list[Row], generator: np.random.Generator, num_draws: int) -> dict[str, Runs]:
    """The runs of each agent in one scenario."""
    by_seed: dict[int, list[Row]] = {}
    for row in final:
        by_seed.setdefault(row["seed"], []).append(row)
    picks = generator.random((num_draws, len(by_seed)))
    measured: dict[str, list[tuple[int, float, np.ndarray]]] = {}
    for seed in sorted(by_seed):
        rows = by_seed[seed]
        for row, means in zip(rows, _other_sessions(rows, generator, num_draws), strict=True):
            measured.setdefault(row["agent"], []).append((seed, row["return_mean"], means))
    return {
        agent: Runs(
            seeds=[seed for seed, _, _ in runs],
            values=np.array([value for _, value, _ in runs]),
            other_sessions=np.stack([means for _, _, means in runs], 1),
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
