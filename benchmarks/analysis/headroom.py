"""The headroom ladder of a scenario: what there is to gain by personalising, by remembering and by planning.

Every rung plays the same sessions of held-out users and held-out catalogues, so differences are paired.

Shape legend: N evaluation sessions of all seeds together.
"""

import numpy as np

from benchmarks.analysis.scores import final_rows, scored
from benchmarks.running.rows import Row
from benchmarks.suites import LADDER

CLAIMS = {
    "personalising pays": ("myopic-oracle", "history-blind"),
    "remembering pays": ("bayes-filter", "history-blind"),
    "planning pays": ("planning-oracle", "myopic-oracle"),
}
"""Ratios of gains over random that a scenario is judged by: the first rung's over the second's."""


def ratio_of_gains(
    upper: np.ndarray, lower: np.ndarray, at_random: np.ndarray, num_draws: int = 2_000
) -> tuple[float, float, float]:
    """(mean upper - mean random) / (mean lower - mean random), and its 95% interval by the paired bootstrap.

    Arguments are returns [N] of the same sessions. Sessions are drawn with replacement, together for all three.
    """
    generator = np.random.default_rng(0)
    draws = generator.integers(len(upper), size=(num_draws, len(upper)))

    def ratio(sample: np.ndarray) -> np.ndarray:
        zero = at_random[sample].mean(-1)
        return (upper[sample].mean(-1) - zero) / (lower[sample].mean(-1) - zero)

    low, high = np.percentile(ratio(draws), [2.5, 97.5])
    return float(ratio(np.arange(len(upper)))), float(low), float(high)


def returns_of(rows: list[Row], scenario: str) -> dict[str, np.ndarray]:
    """Returns [N] of each rung in one scenario, over the seeds that all rungs have: session n is the same for all."""
    by_agent: dict[str, dict[int, list[float]]] = {}
    for row in final_rows(rows):
        if row["scenario"] == scenario and row["agent"] in LADDER:
            by_agent.setdefault(row["agent"], {})[row["seed"]] = row["returns"]
    if not by_agent:
        return {}
    seeds = sorted(set.intersection(*(set(of_seeds) for of_seeds in by_agent.values())))
    if not seeds:
        return {}
    return {agent: np.concatenate([np.array(of_seeds[seed]) for seed in seeds]) for agent, of_seeds in by_agent.items()}


def claims(returns: dict[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Each of `CLAIMS` whose rungs are there, with its ratio and interval, from the rungs' returns."""
    return {
        claim: ratio_of_gains(returns[upper], returns[lower], returns["random"])
        for claim, (upper, lower) in CLAIMS.items()
        if {upper, lower, "random"} <= set(returns)
    }


def headroom_table(rows: list[Row], scenario: str) -> str:
    """Markdown: the rungs of a scenario from the top, and the ratios that it is judged by; empty if it has none."""
    returns = returns_of(rows, scenario)
    if not returns:
        return ""
    final = [row for row in final_rows(scored(rows)) if row["scenario"] == scenario and row["agent"] in returns]
    lines = ["| rung | score | return of a session | session length | left |", "|---|---|---|---|---|"]
    for agent in sorted(returns, key=lambda agent: -returns[agent].mean()):
        of_agent = [row for row in final if row["agent"] == agent]
        half = 1.96 * returns[agent].std(ddof=1) / np.sqrt(len(returns[agent]))
        length, churn = (float(np.mean([row[name] for row in of_agent])) for name in ("session_length_mean", "churn"))
        scores = [row["score"] for row in of_agent if "score" in row] or [np.nan]
        score = round(float(np.mean(scores)), 2) + 0.0  # never -0.00
        lines.append(
            f"| {agent} | {score:.2f} | {returns[agent].mean():.1f} ± {half:.1f} | {length:.1f} | {churn:.0%} |"
        )
    lines.append("")
    for claim, (ratio, low, high) in claims(returns).items():
        upper, lower = CLAIMS[claim]
        lines.append(f"* {claim}: {upper} over {lower} {ratio:.2f} ({low:.2f} to {high:.2f})")
    return "\n".join(lines)


LADDER_WORDS = (
    "Score: 0 is random, 1 the planning oracle; ± is half of the 95% interval over sessions. Ratios compare gains over "
    "random on the same sessions, with 95% intervals by the paired bootstrap. The three oracles read the latent state; "
    "the history-blind and the Bayes-filter player know the items and the population but not the person; "
    "bayes-filter-observed knows of items, too, only what an agent sees (content, age, statistics)."
)
"""What a reader of `headroom_table` has to know."""
