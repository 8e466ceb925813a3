"""Coverage of the intervals of off-policy estimators in a contextual bandit with a known value.

`python -m benchmarks.experiments.off_policy_coverage --out DIR`. Contexts, actions and mean rewards are tables, so that
the value of a policy is a sum; rewards are 0 or 1. Values are predicted, with cross-fitting, by a linear model that
knows no interactions of context and action. Writes off_policy_coverage.jsonl, a row for each estimator, and the table
off_policy_coverage.md. The intervals of IPS, SNIPS and DR should cover the value in 93% to 97% of the logs; clipping
is biased, and so are models.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.terminal import console, not_negative, number_in
from benchmarks.experiments.script import make_parser, run_script

NUM_CONTEXTS, NUM_ACTIONS = 20, 10
TARGETED = ("IPS", "SNIPS", "DR")
"""Estimators whose intervals should cover the value 95% of the time."""


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("off_policy_coverage", __doc__)
    parser.add_argument(
        "--rows", type=number_in(int, 100, 10**8), default=100_000, metavar="N", help="rows of a log, a session each"
    )
    parser.add_argument(
        "--repetitions", type=number_in(int, 2, 10**6), default=500, metavar="N", help="independent logs"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the tables and the logs")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import recsim_env
    from benchmarks.rows import write_rows
    from recsim_env.atomic_file import write_atomically

    parsed.out.mkdir(parents=True, exist_ok=True)
    settings = {"num_rows": parsed.rows, "seed": parsed.seed, "version": recsim_env.__version__}
    rows = [{**row, **settings} for row in coverage(parsed.rows, parsed.repetitions, parsed.seed)]
    write_rows(parsed.out / "off_policy_coverage.jsonl", [{**row, **origin} for row in rows])
    text = table(rows)
    write_atomically(parsed.out / "off_policy_coverage.md", text.encode())
    console().print(text, highlight=False, markup=False)


@dataclass(frozen=True, kw_only=True)
class Bandit:
    """A contextual bandit with C contexts and A actions, and the policies that log and that are evaluated."""

    contexts: np.ndarray
    """[C] probabilities."""
    mean_rewards: np.ndarray
    """[C, A] in [0, 1]."""
    behaviour: np.ndarray
    """[C, A] probabilities."""
    evaluation: np.ndarray
    """[C, A] probabilities."""

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "Bandit":
        """Rewards at random; the evaluation policy leans towards good actions, the behaviour policy towards others."""
        mean_rewards = generator.beta(1.0, 3.0, (NUM_CONTEXTS, NUM_ACTIONS))
        return cls(
            contexts=generator.dirichlet(np.ones(NUM_CONTEXTS)),
            mean_rewards=mean_rewards,
            behaviour=_softmax(generator.normal(0.0, 1.0, mean_rewards.shape)),
            evaluation=_softmax(4.0 * mean_rewards),
        )

    @property
    def value(self) -> float:
        """The evaluation policy's mean reward."""
        return float(self.contexts @ (self.evaluation * self.mean_rewards).sum(1))

    def log(self, num_rows: int, generator: np.random.Generator) -> Any:
        """An `OffPolicyLog` of as many rounds, with cross-fitted values, and the features of the fit."""
        from agents.off_policy import OffPolicyLog
        from agents.off_policy.fitted_q import fit

        pairs = (self.contexts[:, None] * self.behaviour).ravel()
        context, action = np.divmod(generator.choice(len(pairs), num_rows, p=pairs), NUM_ACTIONS)
        log = OffPolicyLog(
            sessions=np.arange(num_rows),
            steps=np.zeros(num_rows, np.int64),
            rewards=(generator.random(num_rows) < self.mean_rewards[context, action]).astype(np.float64),
            behaviour_log_probabilities=np.log(self.behaviour[context, action]),
            evaluation_log_probabilities=np.log(self.evaluation[context, action]),
        )
        of_context = np.eye(NUM_CONTEXTS)[context]
        features = np.concatenate([of_context, np.eye(NUM_ACTIONS)[action]], 1)
        policy_features = np.concatenate([of_context, self.evaluation[context]], 1)
        return log.with_values(*fit(log, features, policy_features)), features, policy_features


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True)


def coverage(num_rows: int, num_repetitions: int, seed: int) -> list[dict[str, Any]]:
    """For each estimator: the share of logs whose interval covers the value, lies above it, and lies below it."""
    from agents.off_policy import MODEL_BASED, WEIGHTING, fitted_q_evaluation

    generator = np.random.default_rng(seed)
    bandit = Bandit.draw(generator)
    found: dict[str, list[Any]] = {}
    names = {name: WEIGHTING[name] for name in ("IPS", "SNIPS", "clipped IPS")} | dict(MODEL_BASED)
    for _ in range(num_repetitions):
        log, features, policy_features = bandit.log(num_rows, generator)
        for name, estimator in names.items():
            found.setdefault(name, []).append(estimator(log))
        found.setdefault("FQE", []).append(fitted_q_evaluation(log, features, policy_features))
    rows = []
    for name, estimates in found.items():
        values, low, high, sizes = (
            np.array([getattr(each, part) for each in estimates])
            for part in ("value", "low", "high", "effective_sample_size")
        )
        above, below = float((low > bandit.value).mean()), float((high < bandit.value).mean())
        rows.append(
            {
                "estimator": name,
                "value": round(bandit.value, 6),
                "num_repetitions": num_repetitions,
                "coverage": round(1.0 - above - below, 6),
                "above": above,
                "below": below,
                "bias": float(f"{(values - bandit.value).mean():.4g}"),
                "standard_deviation": float(f"{values.std(ddof=1):.4g}"),
                "mean_width": float(f"{(high - low).mean():.4g}"),
                "effective_sample_size": float(f"{sizes.mean():.6g}"),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Coverage of each estimator with its standard error, in Markdown."""
    lines = [
        "| estimator | coverage | above | below | bias | standard deviation | mean width | ESS |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        error = (row["coverage"] * (1.0 - row["coverage"]) / row["num_repetitions"]) ** 0.5
        cells = [
            row["estimator"],
            f"{row['coverage']:.3f} ± {error:.3f}",
            f"{row['above']:.3f}",
            f"{row['below']:.3f}",
            f"{row['bias']:+.5f}",
            f"{row['standard_deviation']:.5f}",
            f"{row['mean_width']:.5f}",
            f"{row['effective_sample_size']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
