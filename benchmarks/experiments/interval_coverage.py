"""Coverage of the report's intervals, and errors of its tiers, in simulated results with known scores.

`python -m benchmarks.experiments.interval_coverage --out DIR`. Scores are simulated: each scenario has a mean, each
seed has an effect that all agents share, as they share its catalogue and sessions, and the rest varies between runs.
The report's leaderboard is computed from these rows. Its 95% intervals should contain the true value in 95% of the
results; the percentile bootstrap over all seeds, as in rliable, is shown for comparison. Agents with equal scores
should be in one tier in 95% of the results. Writes interval_coverage.jsonl, with a row for each design and
distribution, and the table interval_coverage.md. The same command resumes an interrupted experiment.
"""

import argparse
import sys
from typing import Any

import numpy as np
from rich.progress import track

from agents.terminal import not_negative, number_in
from benchmarks.experiments.script import finished_rows, make_parser, run_script, write_results

DESIGNS = {
    "1 x 3": (1, 3, 1),
    "1 x 5": (1, 5, 1),
    "1 x 10": (1, 10, 1),
    "2 x 2": (2, 2, 1),
    "2 x 5": (2, 5, 1),
    "2 x 3, 4 variants": (2, 3, 4),
    "6 x 3": (6, 3, 1),
    "7 x 2": (7, 2, 1),
    "7 x 5": (7, 5, 1),
    "7 x 10": (7, 10, 1),
}
"""Number of scenarios, of seeds, and of variants of each scenario."""

DISTRIBUTIONS = ("normal", "skewed", "heavy-tailed")

NUM_EQUAL = 8
"""Number of agents with equal scores, which are in one tier unless a test errs."""
SPREAD = 0.06
"""Standard deviation of the scores of an agent's runs, besides the effect of the seed."""
SPREAD_OF_SEEDS = 0.04
"""Standard deviation of the effect of the seed, which all agents share."""
SPREAD_OF_VARIANTS = 0.04
"""Standard deviation of the effect of a variant on a trained agent's score."""
SPREAD_OF_REFERENCES = 0.01
LEAD = 0.04
"""Score of agent `better` minus that of agent `worse`."""


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("interval_coverage", __doc__)
    parser.add_argument(
        "--repetitions",
        type=number_in(int, 2, 10**6),
        default=1_000,
        metavar="N",
        help="results per design and distribution",
    )
    parser.add_argument("--design", action="append", choices=DESIGNS, help="only this design; repeat for several")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the results")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import recsim_env
    from benchmarks.rows import write_rows

    parsed.out.mkdir(parents=True, exist_ok=True)
    file = parsed.out / "interval_coverage.jsonl"
    settings = {"num_repetitions": parsed.repetitions, "seed": parsed.seed, "version": recsim_env.__version__}
    rows = finished_rows(file, settings)
    finished = {(row["design"], row["distribution"]) for row in rows}
    pairs = [(design, name) for design in parsed.design or DESIGNS for name in DISTRIBUTIONS]
    for design, name in track([pair for pair in pairs if pair not in finished], description="designs"):
        rows.append({**coverage(design, name, parsed.repetitions, parsed.seed), **settings, **origin})
        write_rows(file, rows)
    write_results(parsed.out / "interval_coverage", table(rows))


def coverage(design: str, distribution: str, num_repetitions: int, seed: int) -> dict[str, Any]:
    """The share of results whose intervals contain the true value, and of those whose tiers separate equal agents."""
    from benchmarks.analysis.leaderboard import Leaderboard
    from benchmarks.analysis.statistics import interquartile_mean, paired_improvement, probability_of_improvement

    generator = np.random.default_rng([seed, *design.encode(), *distribution.encode()])
    size, means = DESIGNS[design], {"worse": 0.5, "better": 0.5 + LEAD}
    # Enough seeds for the errors of the true values to be negligible.
    many = drawn_scores((size[0], 20_000, size[2]), distribution, means, generator)
    better, worse = ({str(n): runs for n, runs in enumerate(many[agent])} for agent in ("better", "worse"))
    any_seeds = (
        {name: runs[:1_000] for name, runs in better.items()},
        {name: runs[:1_000] for name, runs in worse.items()},
    )
    true = {
        "score": float(interquartile_mean(better)),
        "lead": float(interquartile_mean(better) - interquartile_mean(worse)),
        "improvement, same seed": float(paired_improvement(better, worse)),
        "improvement, any seeds": float(probability_of_improvement(*any_seeds)),
    }
    is_covered: dict[str, list[bool]] = {name: [] for name in (*true, "score, percentile bootstrap")}
    num_wrong = 0
    for n in range(num_repetitions):
        scores = drawn_scores(size, distribution, means, generator)
        leaderboard = Leaderboard(_rows(scores, size, generator), seed=n)
        found = {
            "score": leaderboard.by_agent["better"].score,
            "lead": leaderboard.lead("better", "worse"),
            "improvement, same seed": leaderboard.improvement("better", "worse"),
            "improvement, any seeds": leaderboard.improvement("better", "worse", is_paired=False),
        }
        for name, value in found.items():
            is_covered[name].append(value is not None and value.low <= true[name] <= value.high)
        low, high = _percentile_interval(scores["better"], generator)
        is_covered["score, percentile bootstrap"].append(low <= true["score"] <= high)
        equal = drawn_scores(size, distribution, {f"agent {k}": 0.5 for k in range(NUM_EQUAL)}, generator)
        num_wrong += max(Leaderboard(_rows(equal, size, generator), seed=n).tiers.values()) > 1
    return {
        "design": design,
        "distribution": distribution,
        "true": {name: round(value, 4) for name, value in true.items()},
        "coverage": {name: round(float(np.mean(values)), 4) for name, values in is_covered.items()},
        "wrong_tiers": round(num_wrong / num_repetitions, 4),
    }


def drawn_scores(
    size: tuple[int, int, int], distribution: str, means: dict[str, float], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """For each agent in `means`, the scores [T, R] of its R runs in T tasks, the variants of all scenarios."""
    num_scenarios, num_seeds, num_variants = size
    levels = np.linspace(-0.1, 0.1, num_scenarios) if num_scenarios > 1 else np.zeros(1)
    of_scenario = num_scenarios, num_seeds
    of_seed = SPREAD_OF_SEEDS * _noise(distribution, of_scenario, generator)
    found = {}
    for agent, mean in means.items():
        own = SPREAD * _noise(distribution, of_scenario, generator)
        runs = np.repeat(mean + levels[:, None] + of_seed + own, num_variants, 0)
        if num_variants > 1:
            runs = runs + SPREAD_OF_VARIANTS * _noise(distribution, runs.shape, generator)
        found[agent] = runs
    return found


def _noise(distribution: str, size: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Noise with mean 0 and standard deviation 1: normal, gamma with a skewness of 1.4, or Student's t with 5 degrees
    of freedom."""
    if distribution == "skewed":
        return (generator.gamma(2.0, size=size) - 2.0) / 2.0**0.5
    if distribution == "heavy-tailed":
        return generator.standard_t(5, size=size) / (5.0 / 3.0) ** 0.5
    return generator.normal(size=size)


def _rows(scores: dict[str, np.ndarray], size: tuple[int, int, int], generator: np.random.Generator) -> list[Any]:
    """Final rows with these scores as returns, and those of the references, which define the scale with some error."""
    from benchmarks.suites import ONE, ZERO

    num_scenarios, num_seeds, num_variants = size
    tasks = [f"scenario{n} variant{k}" for n in range(num_scenarios) for k in range(num_variants)]
    references = {ZERO: 0.0, ONE: 1.0}
    returns = scores | {
        name: value + SPREAD_OF_REFERENCES * generator.normal(size=(len(tasks), num_seeds))
        for name, value in references.items()
    }
    return [
        {
            "suite": "simulated",
            "agent": agent,
            "family": "reference" if agent in references else "own",
            "scenario": task,
            "seed": seed,
            "status": "ok",
            "is_final": True,
            "env_steps": 0,
            "return_mean": float(value),
            "return_sem": 0.0,
            "returns": [float(value)],
        }
        for agent, of_agent in returns.items()
        for task, runs in zip(tasks, of_agent, strict=True)
        for seed, value in enumerate(runs)
    ]


def _percentile_interval(runs: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of the interquartile mean of runs [T, R]; each draw resamples R of R seeds in each task."""
    from benchmarks.analysis.statistics import interquartile_mean

    num_seeds = runs.shape[1]
    draws = {str(n): task[generator.integers(num_seeds, size=(1_000, num_seeds))] for n, task in enumerate(runs)}
    low, high = np.quantile(interquartile_mean(draws), (0.025, 0.975))
    return float(low), float(high)


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of the coverage of each interval and the errors of tiers: ranges over the distributions."""
    names = list(rows[0]["coverage"]) if rows else []
    lines = [
        f"| scenarios x seeds | {' | '.join(names)} | equal agents in two tiers |",
        f"| --- |{' ---: |' * (len(names) + 1)}",
    ]
    for design in dict.fromkeys(row["design"] for row in rows):
        own = [row for row in rows if row["design"] == design]
        cells = [_range([row["coverage"][name] for row in own], 2) for name in names]
        cells.append(_range([row["wrong_tiers"] for row in own], 3))
        lines.append(f"| {' | '.join([design, *cells])} |")
    return "\n".join(lines) + "\n"


def _range(values: list[float], digits: int) -> str:
    """`0.94 to 0.96`, or one number if both are the same."""
    return " to ".join(dict.fromkeys(f"{end:.{digits}f}" for end in (min(values), max(values))))


if __name__ == "__main__":
    sys.exit(main())
