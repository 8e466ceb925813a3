"""The board: what all runs of a suite say together, worked out once for the pictures, the tables and the words.

Shape legend: R runs (seeds) of an agent, D bootstrap draws, H thresholds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.analysis.bootstrap import AgentRuns, Estimate, Runs, draw_runs, estimate
from benchmarks.analysis.scores import compared_seeds, final_rows, scored
from benchmarks.analysis.statistics import (
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from benchmarks.running.rows import Row
from benchmarks.suites import ONE, ZERO

LEARNING_FAMILIES = ("logged", "learner", "library", "own")
BASELINE_FAMILIES = ("rule", "bandit")
POPULARITY = "popularity"
OBSERVED_ITEMS, TOLD_ITEMS = "bayes-filter-observed", "bayes-filter"
"""The Bayes filter that sees of items what an agent sees, and the one that is told what they are."""
REFERENCES = (ZERO, OBSERVED_ITEMS, TOLD_ITEMS, ONE)
"""What scores are measured against, in every picture."""

Drawn = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""By scenario, runs as measured [R] and as drawn again [D, R]."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One agent's place."""

    agent: str
    family: str
    score: Estimate | None
    """Interquartile mean over all scored scenarios x seeds; None unless it has runs in each of them."""
    gap: Estimate | None
    """Optimality gap: what lacks to the planning oracle, mean over scenarios."""
    scores: dict[str, Estimate]
    """Mean score over the seeds that are compared, by scenario."""
    returns: dict[str, Estimate]
    """Mean return of a session over seeds, by scenario."""
    num_seeds: dict[str, int]
    """Behind its score in a scenario, and where it has none, behind its return."""

    @property
    def is_deployable(self) -> bool:
        """Whether it needs no more than a recommender has."""
        return self.family != "reference"


class Board:
    """Agents, best first, from the rows of one suite.

    Scores are of the seeds that both references and all ranked agents have, where there are any (`compared_seeds`).

    Args:
        rows: what the runs left, failed ones too; at least one.
        seed: of the bootstrap.
    """

    def __init__(self, rows: Iterable[Row], seed: int = 0) -> None:
        rows = list(rows)
        if not rows:
            raise ValueError("rows: none, must be at least one")
        self.compared_seeds = compared_seeds(rows)
        self.rows = scored(rows, self.compared_seeds)
        self.final = final_rows(self.rows)
        self.scenarios = list(dict.fromkeys(row["scenario"] for row in self.rows))
        self.scored_scenarios = [name for name in self.scenarios if name in self.compared_seeds]
        self.family_of = {row["agent"]: row["family"] for row in self.rows}
        drawn = draw_runs(self.rows, self.compared_seeds, seed)
        self.of_agent = {agent: AgentRuns() for agent in self.family_of} | drawn
        places = [self._standing(agent) for agent in self.family_of]
        self.standings = sorted(places, key=_place)
        self.by_agent = {standing.agent: standing for standing in self.standings}

    @cached_property
    def ranked(self) -> list[Standing]:
        """Those with runs in every scored scenario, best first."""
        return [standing for standing in self.standings if standing.score]

    @cached_property
    def deployable(self) -> list[Standing]:
        """The ranked ones that are no references."""
        return [standing for standing in self.ranked if standing.is_deployable]

    @cached_property
    def learners(self) -> list[Standing]:
        """Whoever took steps to learn from, best first."""
        learned = {row["agent"] for row in self.rows if row["env_steps"] > 0 and row["status"] == "ok"}
        return [standing for standing in self.standings if standing.agent in learned]

    @cached_property
    def best_baseline(self) -> Standing | None:
        """The best rule or bandit."""
        return next((each for each in self.deployable if each.family in BASELINE_FAMILIES), None)

    @cached_property
    def num_seeds(self) -> dict[str, int]:
        """By scenario, the fewest seeds of the winner, the next and both references; of all agents if none is ranked.

        Scenarios that are not compared, and those without runs, are left out.
        """
        references = [standing for standing in self.ranked if standing.agent in (ZERO, ONE)]
        standings = [*self.deployable[:2], *references] or self.standings
        found = {name: [of.num_seeds[name] for of in standings if name in of.num_seeds] for name in self.scenarios}
        where = self.scored_scenarios or self.scenarios
        return {name: min(found[name]) for name in where if found[name]}

    @cached_property
    def unevenly_compared(self) -> list[str]:
        """Scored scenarios in which a ranked agent lacks some of the seeds that are compared."""
        return [
            name
            for name, seeds in self.compared_seeds.items()
            if any(standing.num_seeds[name] < len(seeds) for standing in self.ranked)
        ]

    def highlights(self, num_agents: int = 6) -> list[str]:
        """The agents to look at, best first: the best deployable ones, with popularity and the best baseline."""
        names = [standing.agent for standing in self.deployable]
        if not names:
            names = [standing.agent for standing in self.standings if standing.is_deployable]
        wanted = {self.best_baseline.agent if self.best_baseline else POPULARITY, POPULARITY} & set(names)
        best = [name for name in names if name not in wanted][: num_agents - len(wanted)]
        return [name for name in names if name in best or name in wanted]

    def improvement(self, x: str, y: str) -> Estimate | None:
        """The probability that a run of `x` scores above the run of `y` with the same seed, mean over scenarios.

        None, as for `lead` and `lead_in`, where the two share nothing.
        """
        first, second = self._shared(x, y)
        if not first[0]:
            return None
        value, draws = (probability_of_improvement(*pair, is_paired=True) for pair in zip(first, second, strict=True))
        return estimate(value, draws)

    def lead(self, x: str, y: str) -> Estimate | None:
        """Interquartile mean of `x` minus that of `y`, over the scenarios and seeds that both have."""
        first, second = self._shared(x, y)
        if not first[0]:
            return None
        value, draws = (interquartile_mean(a) - interquartile_mean(b) for a, b in zip(first, second, strict=True))
        return estimate(value, draws)

    def lead_in(self, scenario: str, x: str, y: str) -> Estimate | None:
        """Mean return of `x` minus that of `y` in one scenario, over the seeds that both have, on the same sessions."""
        runs = _with_shared_seeds(self.of_agent[x].returns[scenario], self.of_agent[y].returns[scenario])
        if not runs[0].seeds:
            return None
        value = runs[0].values.mean() - runs[1].values.mean()
        return estimate(value, runs[0].drawn().mean(1) - runs[1].drawn().mean(1))

    def profile(self, agent: str, thresholds: np.ndarray) -> np.ndarray:
        """[H] share of runs above each threshold, mean over scenarios."""
        return performance_profile(_drawn(self.of_agent[agent].scores)[0], thresholds)

    def profile_band(self, agent: str, thresholds: np.ndarray) -> np.ndarray:
        """[2, H] the low and the high end of the 95% interval of each point of the profile."""
        drawn = performance_profile(_drawn(self.of_agent[agent].scores)[1], thresholds)
        return np.quantile(drawn, (0.025, 0.975), axis=0)

    def runs(self, agent: str, scenario: str | None = None) -> list[Row]:
        """The final rows of an agent, in one scenario or in all."""
        return [row for row in self.final if row["agent"] == agent and scenario in (None, row["scenario"])]

    def metric(self, agent: str, name: str) -> np.ndarray:
        """[R] a metric of an agent's runs: for each seed the mean over scenarios; empty where no run has it."""
        by_seed: dict[int, list[float]] = {}
        for row in self.runs(agent):
            value = (row.get("metrics") or {}).get(name)
            if value is not None:
                by_seed.setdefault(row["seed"], []).append(value)
        return np.array([np.mean(values) for values in by_seed.values()])

    def _standing(self, agent: str) -> Standing:
        of_agent = self.of_agent[agent]
        measured, drawn = _drawn(of_agent.scores)
        score = gap = None
        if self.scored_scenarios and set(measured) == set(self.scored_scenarios):
            score = estimate(interquartile_mean(measured), interquartile_mean(drawn))
            gap = estimate(optimality_gap(measured), optimality_gap(drawn))
        return Standing(
            agent=agent,
            family=self.family_of[agent],
            score=score,
            gap=gap,
            scores={name: _mean(runs) for name, runs in of_agent.scores.items()},
            returns={name: _mean(runs) for name, runs in of_agent.returns.items()},
            num_seeds={name: len(of_agent.scores.get(name, runs).seeds) for name, runs in of_agent.returns.items()},
        )

    def _shared(self, x: str, y: str) -> tuple[Drawn, Drawn]:
        """The scores of both in the scenarios, and with the seeds, that both have."""
        first, second = self.of_agent[x].scores, self.of_agent[y].scores
        pairs = {name: _with_shared_seeds(first[name], second[name]) for name in first if name in second}
        pairs = {name: pair for name, pair in pairs.items() if pair[0].seeds}
        return tuple(_drawn({name: pair[n] for name, pair in pairs.items()}) for n in range(2))  # type: ignore[return-value]


def _place(standing: Standing) -> tuple[bool, float]:
    """Ranked ones by score, then the others by what they have."""
    if standing.score:
        return False, -standing.score.value
    found = standing.scores or standing.returns
    return True, -float(np.mean([each.value for each in found.values()])) if found else np.inf


def _mean(runs: Runs) -> Estimate:
    return estimate(runs.values.mean(), runs.drawn().mean(1))


def _drawn(by_scenario: dict[str, Runs]) -> Drawn:
    measured = {name: runs.values for name, runs in by_scenario.items()}
    return measured, {name: runs.drawn() for name, runs in by_scenario.items()}


def _with_shared_seeds(x: Runs, y: Runs) -> tuple[Runs, Runs]:
    shared = [seed for seed in x.seeds if seed in y.seeds]
    return x.of_seeds(shared), y.of_seeds(shared)
