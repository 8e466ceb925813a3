"""The leaderboard: agents of one suite, best first, with all estimates that tables and figures show.

Shape legend: R runs (seeds) of an agent, D bootstrap draws, H thresholds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from benchmarks.analysis.bootstrap import AgentRuns, Estimate, Runs, bootstrap_runs, estimate, p_value, stretched
from benchmarks.analysis.scores import compared_seeds, final_rows, reference_seeds, scored, without_variant
from benchmarks.analysis.statistics import (
    Scores,
    degrees_of_freedom_of_means,
    holm,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    paired_improvement,
    paired_improvement_interval,
    performance_profile,
    probability_of_improvement,
)
from benchmarks.rows import Row
from benchmarks.suites import ONE, ZERO

LEARNING_FAMILIES = ("supervised", "reinforcement", "offline", "library", "own")
BASELINE_FAMILIES = ("rule", "bandit")
POPULARITY = "popularity"
SIGNIFICANCE = 0.05
REFERENCES = (ZERO, "bayes-filter-observed", "bayes-filter", ONE)
"""Reference levels of all figures."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Scores and returns of one agent."""

    agent: str
    family: str
    is_privileged: bool
    """Whether an agent of a user, by its own declaration or in fact, reads the latent state in play."""
    score: Estimate | None
    """Interquartile mean over all scored scenarios × seeds; None unless the agent has runs in each of them."""
    gap: Estimate | None
    """Optimality gap: mean shortfall from the planning oracle over scenarios."""
    scores: dict[str, Estimate]
    """Mean score over the compared seeds, by scenario."""
    returns: dict[str, Estimate]
    """Mean return of a session over seeds, by scenario."""
    num_seeds: dict[str, int]
    """Number of seeds of the score in a scenario, or of the return if there is no score."""

    @property
    def is_deployable(self) -> bool:
        """Whether the agent uses only information that a deployed recommender has."""
        return self.family != "reference" and not self.is_privileged


class Leaderboard:
    """Agents of one suite, best first.

    Scores are those of the seeds that both references and all ranked agents share, if there are any (`compared_seeds`).

    Args:
        rows: rows of one suite, including failed runs; at least one.
        seed: seed of the bootstrap.
    """

    def __init__(self, rows: Iterable[Row], seed: int = 0) -> None:
        rows = list(rows)
        if not rows:
            raise ValueError("rows: must contain at least one row")
        self.compared_seeds = compared_seeds(rows)
        self.rows = scored(rows, self.compared_seeds)
        self.final = final_rows(self.rows)
        self.suite = self.rows[0]["suite"]
        self.scenarios = list(dict.fromkeys(row["scenario"] for row in self.rows))
        self.scored_scenarios = [name for name in self.scenarios if name in self.compared_seeds]
        self.family_of = {row["agent"]: row["family"] for row in self.rows}
        self._privileged = {
            row["agent"] for row in self.rows if row.get("is_privileged") or "play" in row.get("latent_reads", ())
        }
        self.agent_runs = {agent: AgentRuns() for agent in self.family_of}
        self.agent_runs |= bootstrap_runs(self.rows, self.compared_seeds, seed)
        self.standings = sorted(map(self._standing, self.family_of), key=_order)
        self.by_agent = {standing.agent: standing for standing in self.standings}

    @cached_property
    def without_scale(self) -> list[str]:
        """Scenarios without scores although both references have runs: the oracle is not measurably above random."""
        shared = reference_seeds(self.rows)
        return [name for name in self.scenarios if shared.get(name) and name not in self.scored_scenarios]

    @cached_property
    def ranked(self) -> list[Standing]:
        """Agents with runs in every scored scenario."""
        return [standing for standing in self.standings if standing.score]

    @cached_property
    def deployable(self) -> list[Standing]:
        """Ranked agents that are neither references nor privileged."""
        return [standing for standing in self.ranked if standing.is_deployable]

    @cached_property
    def learners(self) -> list[Standing]:
        """Agents that were trained."""
        trained = {row["agent"] for row in self.rows if row["env_steps"] > 0 and row["status"] == "ok"}
        return [standing for standing in self.standings if standing.agent in trained]

    @cached_property
    def best_baseline(self) -> Standing | None:
        """The best rule or bandit."""
        return next((each for each in self.deployable if each.family in BASELINE_FAMILIES), None)

    @cached_property
    def num_seeds(self) -> dict[str, int]:
        """By scenario, the fewest seeds of the two best agents and both references; of all agents if none is ranked.

        Scenarios without runs are omitted, as are those without scores if others have scores.
        """
        references = [standing for standing in self.ranked if standing.agent in (ZERO, ONE)]
        standings = [*self.deployable[:2], *references] or self.standings
        numbers = {
            name: [each.num_seeds[name] for each in standings if name in each.num_seeds] for name in self.scenarios
        }
        return {name: min(numbers[name]) for name in self.scored_scenarios or self.scenarios if numbers[name]}

    @cached_property
    def unevenly_compared(self) -> list[str]:
        """Scored scenarios in which a ranked agent has no run of some compared seed."""
        return [
            name
            for name, seeds in self.compared_seeds.items()
            if any(standing.num_seeds[name] < len(seeds) for standing in self.ranked)
        ]

    def highlights(self, num_agents: int = 6) -> list[str]:
        """The best deployable agents, best first, including popularity and the best baseline."""
        names = [standing.agent for standing in self.deployable]
        if not names:
            names = [standing.agent for standing in self.standings if standing.is_deployable]
        wanted = {self.best_baseline.agent if self.best_baseline else POPULARITY, POPULARITY} & set(names)
        best = [name for name in names if name not in wanted][: num_agents - len(wanted)]
        return [name for name in names if name in best or name in wanted]

    @cached_property
    def tiers(self) -> dict[str, int]:
        """Tier of each deployable agent, from 1 for the best.

        The first tier consists of the best agent and all agents whose scores do not differ significantly from its
        score; each further tier is formed in the same way from the remaining agents. The tests of all pairs are
        corrected together (`holm`), because the best agent is selected on the same data.
        """
        agents = [standing.agent for standing in self.deployable]
        pairs = list(combinations(agents, 2))
        compared = [_compared(self.agent_runs[x].scores, self.agent_runs[y].scores, _difference) for x, y in pairs]
        p_values = holm(np.array([p_value(*each) if each else 1.0 for each in compared]))
        is_different = {pair: value < SIGNIFICANCE for pair, value in zip(pairs, p_values, strict=True)}
        found: dict[str, int] = {}
        for first in agents:
            if first not in found:
                tier = max(found.values(), default=0) + 1
                equal = [agent for agent in agents if agent not in found and not is_different.get((first, agent))]
                found |= dict.fromkeys(equal, tier)
        return found

    @property
    def first_tier(self) -> list[str]:
        """The best deployable agent and those that are not significantly below it, best first."""
        return [agent for agent, tier in self.tiers.items() if tier == 1]

    def improvement(self, x: str, y: str, *, is_paired: bool = True) -> Estimate | None:
        """Probability that a run of `x` scores higher than the run of `y` with the same seed, averaged over scenarios.

        If not `is_paired`, a run of `x` is compared with all runs of `y` in the scenario, as in Agarwal et al. (2021).
        None, as for `lead` and `lead_in`, if the agents share no seed.
        """
        of_x, of_y = _shared(self.agent_runs[x].scores, self.agent_runs[y].scores)
        if not of_x:
            return None
        # Variants of a scenario have the same seeds, users and, loaded, trained agents: they are no further runs.
        numbers = list({without_variant(name): len(runs.seeds) for name, runs in of_x.items()}.values())
        statistic, interval = (
            (paired_improvement, paired_improvement_interval)
            if is_paired
            else (probability_of_improvement, improvement_interval)
        )
        value = float(statistic(_values(of_x), _values(of_y)))
        low, high = interval(value, numbers)
        return Estimate(value=value, low=low, high=high)

    def lead(self, x: str, y: str) -> Estimate | None:
        """Interquartile mean of `x` minus that of `y`, over the scenarios and seeds that both have."""
        compared = _compared(self.agent_runs[x].scores, self.agent_runs[y].scores, _difference)
        return estimate(*compared) if compared else None

    def lead_in(self, scenario: str, x: str, y: str) -> Estimate | None:
        """Mean return of `x` minus that of `y` in one scenario, over the seeds and sessions that both have."""
        first, second = (self.agent_runs.get(agent, AgentRuns()).returns for agent in (x, y))
        if scenario not in first or scenario not in second:
            return None
        in_scenario = {scenario: first[scenario]}, {scenario: second[scenario]}
        compared = _compared(*in_scenario, lambda x, y: x[scenario].mean(-1) - y[scenario].mean(-1))
        return estimate(*compared) if compared else None

    def profile(self, agent: str, thresholds: np.ndarray) -> np.ndarray:
        """[H] share of runs above each threshold, mean over scenarios."""
        return performance_profile(_samples(self.agent_runs[agent].scores)[0], thresholds)

    def profile_band(self, agent: str, thresholds: np.ndarray) -> np.ndarray:
        """[2, H] low and high end of the 95% interval of each point of the profile."""
        scores = self.agent_runs[agent].scores
        shares, draws = (performance_profile(sample, thresholds) for sample in _samples(scores))
        ends = np.quantile(draws, (0.025, 0.975), axis=0)
        return np.clip(stretched(shares, ends, _degrees_of_freedom(_values(scores))), 0.0, 1.0)

    def runs(self, agent: str, scenario: str | None = None) -> list[Row]:
        """Final rows of an agent, in one scenario or in all."""
        return [row for row in self.final if row["agent"] == agent and scenario in (None, row["scenario"])]

    def metric(self, agent: str, name: str) -> np.ndarray:
        """[R] a metric of an agent, for each seed averaged over scenarios; empty if no run has it."""
        by_seed: dict[int, list[float]] = {}
        for row in self.runs(agent):
            value = (row.get("metrics") or {}).get(name)
            if value is not None:
                by_seed.setdefault(row["seed"], []).append(value)
        return np.array([np.mean(values) for values in by_seed.values()])

    def _standing(self, agent: str) -> Standing:
        runs = self.agent_runs[agent]
        measured, resampled = _samples(runs.scores)
        score = gap = None
        if self.scored_scenarios and set(measured) == set(self.scored_scenarios):
            df = _degrees_of_freedom(measured)
            score = estimate(interquartile_mean(measured), interquartile_mean(resampled), df)
            gap = estimate(optimality_gap(measured), optimality_gap(resampled), df)
        return Standing(
            agent=agent,
            family=self.family_of[agent],
            is_privileged=agent in self._privileged,
            score=score,
            gap=gap,
            scores={name: of_scenario.mean for name, of_scenario in runs.scores.items()},
            returns={name: of_scenario.mean for name, of_scenario in runs.returns.items()},
            num_seeds={name: len(runs.scores.get(name, returns).seeds) for name, returns in runs.returns.items()},
        )


def _order(standing: Standing) -> tuple[bool, float]:
    """Ranked agents by score, then the others by their mean score or return."""
    if standing.score:
        return False, -standing.score.value
    estimates = standing.scores or standing.returns
    return True, -float(np.mean([each.value for each in estimates.values()])) if estimates else np.inf


def _values(by_scenario: Mapping[str, Runs]) -> Scores:
    """By scenario, the values of measured runs [R]."""
    return {name: runs.values for name, runs in by_scenario.items()}


def _samples(by_scenario: Mapping[str, Runs]) -> tuple[Scores, Scores]:
    """By scenario, measured runs [R] and resampled ones [D, R - 1]."""
    return _values(by_scenario), {name: runs.resampled for name, runs in by_scenario.items()}


def _degrees_of_freedom(scores: Scores) -> float:
    """Degrees of freedom of a mean over scenarios; variants with equal numbers of runs are one stratum, as they are
    resampled jointly."""
    strata: dict[tuple[str, int], np.ndarray] = {}
    for scenario, runs in scores.items():
        key = without_variant(scenario), len(runs)
        strata[key] = strata.get(key, 0.0) + runs
    return degrees_of_freedom_of_means(strata.values())


def _shared(x: Mapping[str, Runs], y: Mapping[str, Runs]) -> tuple[dict[str, Runs], dict[str, Runs]]:
    """The runs of two agents in the scenarios and with the seeds that both have."""
    seeds = {name: set(x[name].seeds) & set(y[name].seeds) for name in x if name in y}
    of_x, of_y = ({name: of[name].of_seeds(both) for name, both in seeds.items() if both} for of in (x, y))
    return of_x, of_y


class _Compared(NamedTuple):
    """A statistic of two agents."""

    value: np.ndarray
    """[] the measured value."""
    draws: np.ndarray
    """[D] bootstrap draws."""
    df: float
    """Degrees of freedom of the standard error."""


def _compared(
    x: Mapping[str, Runs], y: Mapping[str, Runs], statistic: Callable[[Scores, Scores], np.ndarray]
) -> _Compared | None:
    """A statistic of the runs of two agents, in the scenarios and with the seeds that both have; None without any."""
    (of_x, draws_of_x), (of_y, draws_of_y) = map(_samples, _shared(x, y))
    if not of_x:
        return None
    df = _degrees_of_freedom({name: runs - of_y[name] for name, runs in of_x.items()})
    return _Compared(statistic(of_x, of_y), statistic(draws_of_x, draws_of_y), df)


def _difference(x: Scores, y: Scores) -> np.ndarray:
    """[*] interquartile mean of one agent minus that of another."""
    return interquartile_mean(x) - interquartile_mean(y)
