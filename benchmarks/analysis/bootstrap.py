"""Bootstrap of scores over seeds, or over evaluation sessions where a scenario has one seed.

Each draw resamples R - 1 of the R seeds with replacement, so that the mean over seeds has the variance s^2 / R; with R
resampled seeds, it would be (R - 1) / R of that, or half of it for two seeds (Rao and Wu, "Resampling inference with
complex survey data", Journal of the American Statistical Association 83, 1988). Deviations of the draws from the
measured value are scaled by the ratio of the quantiles of Student's t and the normal distribution, with Satterthwaite's
degrees of freedom. The experiment `interval_coverage` measures the coverage of these intervals.

The spread of runs over seeds includes the noise of their evaluation sessions, so resampling sessions as well would
count it twice. Runs of one seed share their catalogue and their sessions, and with `--load-models` the variants of a
scenario share the trained models. Every agent, every variant, and the references that set the scale of the scores, are
resampled alike: differences between agents stay paired.

Shape legend: R runs of an agent in a scenario, S seeds of the scenario, N evaluation sessions of a run, D bootstrap
draws.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from benchmarks.analysis.scale import score
from benchmarks.analysis.scores import Seeds, final_by_scenario, reference_seeds, scales, without_variant
from benchmarks.analysis.statistics import degrees_of_freedom_of_means
from benchmarks.rows import Row
from benchmarks.suites import ONE, ZERO

NUM_DRAWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95% interval."""

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


def estimate(value: float | np.ndarray, draws: np.ndarray, df: float = np.inf) -> Estimate:
    """The measured value with the percentile interval of [D] draws, scaled for `df` degrees of freedom.

    The interval is extended to contain the value, as draws of fewer runs may all lie on one side of it.
    """
    low, high = stretched(np.asarray(value, np.float64), np.quantile(draws, (0.025, 0.975)), df)
    return Estimate(value=float(value), low=float(min(low, value)), high=float(max(high, value)))


def p_value(value: float | np.ndarray, draws: np.ndarray, df: float) -> float:
    """p-value of the two-sided t test that the true value is 0; the standard error is the deviation of [D] draws."""
    error = float(np.std(draws))
    if error == 0.0:
        return float(value == 0.0)
    return float(2.0 * student_t.sf(abs(float(value)) / error, df))


def stretched(values: np.ndarray, ends: np.ndarray, df: float) -> np.ndarray:
    """Ends of 95% intervals, scaled around `values` from the normal distribution to Student's t."""
    return values + (ends - values) * (student_t.ppf(0.975, df) / norm.ppf(0.975))


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Runs of one agent in one scenario."""

    seeds: list[int]
    """[R], ascending."""
    values: np.ndarray
    """[R] measured values."""
    rescaled: np.ndarray
    """[D, R] the measured values on the scale of each draw."""
    resampled_sessions: np.ndarray
    """[D, R] the same runs with resampled sessions."""
    all_seeds: list[int]
    """[S] seeds of all agents in the scenario, ascending."""
    picks: np.ndarray
    """[D, S] in [0, S): positions of the resampled seeds, shared by all agents and variants of the scenario."""

    @cached_property
    def resampled(self) -> np.ndarray:
        """[D, R - 1] resampled by seed, or [D, 1] by session where there is one seed."""
        num_runs = len(self.seeds)
        if num_runs == 1:
            return self.resampled_sessions
        position = {seed: n for n, seed in enumerate(self.seeds)}
        own = np.array([position.get(seed, -1) for seed in self.all_seeds])
        picks = self.picks[:, : num_runs - 1]
        chosen = own[picks.astype(np.int64)]
        # Where the agent has no run of the picked seed, the fraction of the pick chooses uniformly among its runs.
        substitute = (picks % 1.0 * num_runs).astype(np.int64)
        return np.take_along_axis(self.rescaled, np.where(chosen < 0, substitute, chosen), 1)

    @cached_property
    def mean(self) -> Estimate:
        """The mean of the runs."""
        return estimate(self.values.mean(), self.resampled.mean(1), degrees_of_freedom_of_means([self.values]))

    def of_seeds(self, seeds: Collection[int]) -> "Runs":
        """The runs of some of the seeds."""
        if set(self.seeds) <= set(seeds):
            return self
        kept = [n for n, seed in enumerate(self.seeds) if seed in seeds]
        return replace(
            self,
            seeds=[self.seeds[n] for n in kept],
            values=self.values[kept],
            rescaled=self.rescaled[:, kept],
            resampled_sessions=self.resampled_sessions[:, kept],
        )

    def scaled(self, zero: float, one: float, drawn_zero: np.ndarray, drawn_one: np.ndarray) -> "Runs":
        """On the scale where `zero` is 0 and `one` is 1; `drawn_zero` and `drawn_one` [D, 1] are those of the draws."""
        # The oracle may be below random in a few draws (`scores.MAX_SHARE_BELOW`), which define no scale of their own.
        drawn_one = np.where(drawn_one > drawn_zero, drawn_one, drawn_zero + (one - zero))
        return replace(
            self,
            values=score(self.values, zero, one),
            rescaled=score(self.rescaled, drawn_zero, drawn_one),
            resampled_sessions=score(self.resampled_sessions, drawn_zero, drawn_one),
        )


@dataclass(frozen=True, kw_only=True)
class AgentRuns:
    """Final runs of one agent, by scenario."""

    returns: dict[str, Runs] = field(default_factory=dict)
    scores: dict[str, Runs] = field(default_factory=dict)
    """Only scenarios and seeds with scores."""


def bootstrap_runs(
    rows: list[Row], seeds: Seeds | None = None, seed: int = 0, num_draws: int = NUM_DRAWS
) -> dict[str, AgentRuns]:
    """Final runs of each agent with `num_draws` bootstrap draws. Only runs of `seeds`, by default
    `reference_seeds`, have scores; `seed` seeds the bootstrap.
    """
    seeds = reference_seeds(rows) if seeds is None else seeds
    scale = scales(rows, seeds)
    generator = np.random.default_rng(seed)
    runs_of: dict[str, AgentRuns] = {}
    picks_of: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}
    for scenario, by_agent in final_by_scenario(rows).items():
        seeds_of_all = sorted({seed for runs in by_agent.values() for seed in runs})
        picks = picks_of.setdefault(
            (without_variant(scenario), tuple(seeds_of_all)),
            generator.random((num_draws, len(seeds_of_all))) * len(seeds_of_all),
        )
        returns = _runs(by_agent, seeds_of_all, picks, generator)
        for agent, runs in returns.items():
            runs_of.setdefault(agent, AgentRuns()).returns[scenario] = runs
        if scenario in scale:
            compared = {agent: runs.of_seeds(seeds[scenario]) for agent, runs in returns.items()}
            ends = [compared[agent].resampled.mean(1, keepdims=True) for agent in (ZERO, ONE)]
            for agent, runs in compared.items():
                if runs.seeds:
                    runs_of[agent].scores[scenario] = runs.scaled(*scale[scenario], *ends)
    return runs_of


def _runs(
    by_agent: Mapping[str, Mapping[int, Row]], seeds: list[int], picks: np.ndarray, generator: np.random.Generator
) -> dict[str, Runs]:
    """The runs of each agent in one scenario, from its final rows by seed."""
    num_draws = len(picks)
    sessions: dict[str, list[np.ndarray]] = {agent: [] for agent in by_agent}
    for seed in seeds:
        agents = [agent for agent, rows in by_agent.items() if seed in rows]
        draws = _resampled_sessions([by_agent[agent][seed] for agent in agents], generator, num_draws)
        for agent, means in zip(agents, draws, strict=True):
            sessions[agent].append(means)
    values = {agent: [rows[seed]["return_mean"] for seed in sorted(rows)] for agent, rows in by_agent.items()}
    return {
        agent: Runs(
            seeds=sorted(rows),
            values=np.array(values[agent]),
            rescaled=np.tile(values[agent], (num_draws, 1)),
            resampled_sessions=np.stack(sessions[agent], 1),
            all_seeds=seeds,
            picks=picks,
        )
        for agent, rows in by_agent.items()
    }


def _resampled_sessions(rows: list[Row], generator: np.random.Generator, num_draws: int) -> list[np.ndarray]:
    """[D] mean returns over resampled sessions for each row; rows of one seed share their sessions, and the draws."""
    num_sessions = {len(row["returns"]) for row in rows}
    if len(num_sessions) > 1:  # not paired: only runs are resampled
        return [np.full(num_draws, row["return_mean"]) for row in rows]
    n = num_sessions.pop()
    weights = generator.multinomial(n, np.full(n, 1.0 / n), size=num_draws) / n
    return list((weights @ np.array([row["returns"] for row in rows]).T).T)
