"""Errors of off-policy estimators against the returns of the policies themselves.

`python -m benchmarks.experiments.off_policy --out DIR`. A popularity softmax writes logs in Video, with warm users and
sessions of at most 1, 5 and 50 steps; ten other softmax policies are evaluated from them, and by playing. Writes
off_policy.jsonl, with rows for the true values of a horizon and for each estimator and size of a block of logs, as soon
as they are finished (the same command resumes), the table off_policy.md and the figure off_policy.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from agents.terminal import console, number_in, positive
from benchmarks.experiments.script import finished_rows, make_parser, run_script, write_results
from benchmarks.experiments.softmax_sessions import LinearSoftmax, Sessions, play, returns

BEHAVIOUR = LinearSoftmax(popularity=2.0)
POLICIES = {
    "unpopular": LinearSoftmax(popularity=-2.0),
    "uniform": LinearSoftmax(),
    "popularity 4": LinearSoftmax(popularity=4.0),
    "popularity 8": LinearSoftmax(popularity=8.0),
    "personal 4": LinearSoftmax(deviation=4.0),
    "relevance 1": LinearSoftmax(popularity=1.0, deviation=1.0),
    "relevance 2": LinearSoftmax(popularity=2.0, deviation=2.0),
    "relevance 4": LinearSoftmax(popularity=4.0, deviation=4.0),
    "relevance 8": LinearSoftmax(popularity=8.0, deviation=8.0),
    "exploring": LinearSoftmax(popularity=2.0, deviation=2.0, evidence=2.0),
}
ENV_ID = "recsim_env/Video-v0"
_OVERRIDES = {"population": {"warm_share": 1.0}}  # personal from the first step on
_TRUTH_SEED, _LOG_SEED, _SEEDS_APART = 10**9, 2 * 10**9, 10**8
_MAX_ROWS = 10**7
_MAX_LANES = 5_000
_CHUNK = 100_000
_MIN_LOGS = 20
"""Of fewer logs, an RMSE has no interval: it would be too short even for normal errors."""


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("off_policy", __doc__)
    parser.add_argument(
        "--horizon",
        type=number_in(int, 1, 50),
        action="append",
        metavar="N",
        help="steps of a session; repeat for several (default: 1, 5, 50)",
    )
    parser.add_argument(
        "--size",
        type=number_in(int, 100, _MAX_ROWS),
        action="append",
        metavar="N",
        help="rows of a log; repeat for several (default: 1000, 10000, 100000)",
    )
    parser.add_argument(
        "--blocks",
        type=number_in(int, 1, 10),
        default=1,
        metavar="N",
        help="independent logs of the largest size, which are cut",
    )
    parser.add_argument(
        "--logs", type=positive, default=20, metavar="N", help="largest number of logs of a size in a block"
    )
    parser.add_argument(
        "--truth-rows",
        type=number_in(int, 100, _MAX_ROWS),
        default=1_000_000,
        metavar="N",
        help="steps that each policy plays, about",
    )
    parser.add_argument("--seed", type=number_in(int, 0, 9), default=0, metavar="S", help="seed of sessions and draws")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    from benchmarks.report.figures.experiments import off_policy_errors
    from benchmarks.rows import append_rows

    screen, file = console(), parsed.out / "off_policy.jsonl"
    parsed.out.mkdir(parents=True, exist_ok=True)
    horizons, sizes = parsed.horizon or [1, 5, 50], sorted(parsed.size or [1_000, 10_000, 100_000])
    settings = {"sizes": sizes, "logs": parsed.logs, "truth_rows": parsed.truth_rows, "seed": parsed.seed}
    rows = finished_rows(file, settings)
    for horizon in horizons:
        truths = [row for row in rows if row["kind"] == "truth" and row["horizon"] == horizon]
        if not truths:
            truths = [{"kind": "truth", "horizon": horizon, **_truth(horizon, parsed), **settings, **origin}]
            append_rows(file, truths)
            rows += truths
        truth = truths[0]
        screen.print(f"horizon {horizon:>2}  values {truth['values']}", highlight=False)
        for block in range(parsed.blocks):
            if any((row["kind"], row["horizon"], row.get("block")) == ("errors", horizon, block) for row in rows):
                continue
            place = {"kind": "errors", "horizon": horizon, "block": block}
            new = [{**place, **row, **settings, **origin} for row in _errors(horizon, block, sizes, truth, parsed)]
            append_rows(file, new)
            rows += new
            screen.print(f"horizon {horizon:>2}  block {block}  finished", highlight=False)
    shown = [row for row in rows if row["horizon"] in horizons]
    write_results(parsed.out / "off_policy", table(shown), lambda: off_policy_errors(summaries(shown)))


def _env(horizon: int, num_sessions: int) -> Any:
    import gymnasium

    import recsim_env  # noqa: F401  (registers the ids)

    return gymnasium.make_vec(
        ENV_ID,
        min(num_sessions, _MAX_LANES),
        vectorization_mode="vector_entry_point",
        observation="dict",
        overrides=_OVERRIDES,
        max_episode_steps=horizon,
        autoreset_mode="Disabled",
    )


@cache
def _mean_length(horizon: int) -> float:
    """Mean steps of the sessions that the behaviour policy plays."""
    env = _env(horizon, _MAX_LANES)
    sessions = play(env, BEHAVIOUR, _MAX_LANES, _TRUTH_SEED - _MAX_LANES)
    env.close()
    return len(sessions.steps) / _MAX_LANES


def _num_sessions(horizon: int, num_rows: int) -> int:
    """Sessions of about as many rows. Logs are cut by sessions: cut by rows, they would end with a short one."""
    return max(round(num_rows / _mean_length(horizon)), 2)


def _truth(horizon: int, parsed: argparse.Namespace) -> dict[str, Any]:
    """Mean return of each policy and its standard error, in the same sessions for all of them."""
    import recsim_env

    num_sessions, seed = _num_sessions(horizon, parsed.truth_rows), _TRUTH_SEED + parsed.seed * _SEEDS_APART
    env = _env(horizon, num_sessions)
    found = {name: returns(env, policy, num_sessions, seed) for name, policy in POLICIES.items()}
    env.close()
    return {
        "values": {name: round(float(values.mean()), 5) for name, values in found.items()},
        "errors": {name: round(float(values.std(ddof=1)) / num_sessions**0.5, 5) for name, values in found.items()},
        "num_sessions": num_sessions,
        "version": recsim_env.__version__,
    }


def _errors(
    horizon: int, block: int, sizes: list[int], truth: dict[str, Any], parsed: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each size and estimator: its errors on the logs of that size, cut from one large log."""
    import recsim_env

    seed = _LOG_SEED + parsed.seed * _SEEDS_APART + block * sizes[-1]  # no two logs share a session
    counts = {size: _num_sessions(horizon, size) for size in sizes}
    env = _env(horizon, counts[sizes[-1]])
    sessions = play(env, BEHAVIOUR, counts[sizes[-1]], seed)
    env.close()
    ends = np.searchsorted(sessions.sessions, np.arange(counts[sizes[-1]] + 1))
    logs = {
        size: [
            slice(ends[n * count], ends[(n + 1) * count]) for n in range(min(counts[sizes[-1]] // count, parsed.logs))
        ]
        for size, count in counts.items()
    }
    found: dict[tuple[int, str], list[list[Any]]] = {}
    for policy in POLICIES.values():
        for size, parts in _estimates(sessions, policy, logs):
            for name, estimates in parts.items():
                found.setdefault((size, name), []).append(estimates)
    values = np.array(list(truth["values"].values()))
    return [
        {"size": size, "estimator": name, **mean_errors(of_policies, values), "version": recsim_env.__version__}
        for (size, name), of_policies in found.items()
    ]


def _estimates(
    sessions: Sessions, policy: LinearSoftmax, logs: dict[int, list[slice]]
) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """For each size, the estimates of one policy by each estimator on each log."""
    from agents.off_policy import OffPolicyLog, estimates
    from benchmarks.running.policy_log import value_features, with_actions

    evaluation, features, policy_features = [], [], []
    for start in range(0, len(sessions.steps), _CHUNK):
        part = slice(start, start + _CHUNK)
        candidates, mask, actions = sessions.candidates[part], sessions.masks[part], sessions.actions[part]
        log_probabilities = policy.log_probabilities(candidates, mask)
        evaluation.append(log_probabilities[np.arange(len(actions)), actions])
        observed = {"user": sessions.users[part], "candidates": candidates, "candidate_mask": mask}
        states, of_candidates = value_features(observed)
        both = with_actions(states, of_candidates, actions, np.exp(log_probabilities))
        features.append(both["features"])
        policy_features.append(both["policy_features"])
    log_probabilities, phi, mean_phi = (np.concatenate(parts) for parts in (evaluation, features, policy_features))
    for size, parts in logs.items():
        found: dict[str, list[Any]] = {}
        for part in parts:
            log = OffPolicyLog(
                sessions=sessions.sessions[part],
                steps=sessions.steps[part],
                rewards=sessions.rewards[part],
                behaviour_log_probabilities=sessions.log_probabilities[part],
                evaluation_log_probabilities=log_probabilities[part],
            )
            for name, each in estimates(log, phi[part], mean_phi[part]).items():
                found.setdefault(name, []).append(each)
        yield size, found


def mean_errors(of_policies: list[list[Any]], truth: np.ndarray) -> dict[str, Any]:
    """Means over logs of the errors for each policy, and of how well the policies are ranked and chosen; and
    `squared_errors`, the mean over policies for each log."""
    from scipy.stats import spearmanr

    def matrix(name: str) -> np.ndarray:
        return np.array([[getattr(each, name) for each in estimates] for estimates in of_policies])

    values, low, high = matrix("value"), matrix("low"), matrix("high")
    errors = values - truth[:, None]
    is_covered = (low <= truth[:, None]) & (truth[:, None] <= high)
    ranked = np.where(np.isnan(values), -np.inf, values)
    correlations = [spearmanr(column, truth).statistic for column in ranked.T]
    chosen = truth[ranked.argmax(0)]

    def rounded(array: np.ndarray) -> list[float]:
        return [float(f"{value:.6g}") for value in array]

    return {
        "num_logs": values.shape[1],
        "mean_error": rounded(np.nan_to_num(errors).mean(1)),
        "mean_squared_error": rounded(np.nan_to_num(errors**2).mean(1)),
        "squared_errors": rounded(np.nan_to_num(errors**2).mean(0)),
        "coverage": rounded(is_covered.mean(1)),
        "effective_sample_size": rounded(matrix("effective_sample_size").mean(1)),
        "warned": rounded((matrix("warning") != "").mean(1)),
        "undefined": int(np.isnan(values).sum()),
        "rank_correlation": float(f"{np.nan_to_num(correlations).mean():.6g}"),
        "regret": float(f"{(truth.max() - chosen).mean():.6g}"),
    }


def summaries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over policies, logs and blocks for each horizon, size and estimator.

    `rmse` is the root of the mean over policies, with its interval `rmse_low` to `rmse_high`, NaN if there is none;
    `bias` is the mean absolute one; errors are in rating points.
    """
    found: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "errors":
            found.setdefault((row["horizon"], row["size"], row["estimator"]), []).append(row)
    truths = {row["horizon"]: np.array(list(row["values"].values())) for row in rows if row["kind"] == "truth"}
    summary = []
    for (horizon, size, estimator), own in sorted(found.items(), key=lambda each: each[0][:2]):
        weights = [row["num_logs"] for row in own]

        def mean(name: str, own: Any = own, weights: Any = weights) -> np.ndarray:
            return np.average([row[name] for row in own], 0, weights)

        low, high = _interval([error for row in own for error in row.get("squared_errors", [])])
        summary.append(
            {
                "horizon": horizon,
                "size": size,
                "estimator": estimator,
                "num_logs": sum(weights),
                "bias": float(np.abs(mean("mean_error")).mean()),
                "rmse": float(np.sqrt(mean("mean_squared_error").mean())),
                "rmse_low": low,
                "rmse_high": high,
                "coverage": float(mean("coverage").mean()),
                "effective_sample_size": float(np.median(mean("effective_sample_size"))),
                "warned": float(mean("warned").mean()),
                "rank_correlation": float(mean("rank_correlation")),
                "regret": float(mean("regret")),
                "spread": float(truths[horizon].std()),
            }
        )
    return summary


def _interval(squared_errors: list[float]) -> tuple[float, float]:
    """Nominal 95% interval of the root of their mean, by a bootstrap over logs; NaN where there are too few, or none in
    rows of earlier commits.

    Too short where large errors are rare, and not in the logs yet: the true RMSE is then above the interval.
    """
    from benchmarks.analysis.bootstrap import NUM_DRAWS

    if len(squared_errors) < _MIN_LOGS:
        return np.nan, np.nan
    draws = np.random.default_rng(0).choice(squared_errors, (NUM_DRAWS, len(squared_errors)))
    low, high = np.quantile(np.sqrt(draws.mean(1)), (0.025, 0.975))
    return float(low), float(high)


def table(rows: list[dict[str, Any]]) -> str:
    """Errors of each estimator by horizon and size of the log, in Markdown."""
    lines = [
        "| horizon | rows | estimator | bias | RMSE | coverage | rank correlation | regret | ESS | warned | logs |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in summaries(rows):
        cells = [
            f"{each['horizon']}",
            f"{each['size']:,}",
            each["estimator"],
            f"{each['bias']:.3f}",
            f"{each['rmse']:.3f}",
            f"{each['coverage']:.2f}",
            f"{each['rank_correlation']:.2f}",
            f"{each['regret']:.3f}",
            f"{each['effective_sample_size']:,.0f}",
            f"{each['warned']:.0%}",
            f"{each['num_logs']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
