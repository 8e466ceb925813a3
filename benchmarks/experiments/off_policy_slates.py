"""Errors of off-policy estimators of slates against the clicks of the policies themselves.

`python -m benchmarks.experiments.off_policy_slates --out DIR`. Plackett-Luce slates of three items in Video, with warm
users and sessions of one step; the reward is the share of the slate that is clicked. Users look from the top down and
choose among the items that they have examined, so that no assumption of an estimator holds exactly. Policies and
columns are those of `benchmarks.experiments.off_policy`. Writes off_policy_slates.jsonl and the table
off_policy_slates.md; the same command resumes.
"""

import argparse
import sys
from typing import Any

import numpy as np

from agents.terminal import console, not_negative, number_in, positive
from benchmarks.experiments.off_policy import BEHAVIOUR, POLICIES, mean_errors, table
from benchmarks.experiments.plackett_luce_slates import NUM_SLOTS, ShownSlates, marginals, remaining, show
from benchmarks.experiments.script import finished_rows, make_parser, run_script, write_results

_OVERRIDES = {"population": {"warm_share": 1.0}, "reward": {"rating": 0.0, "click": 1.0}}
_TRUTH_SEED, _LOG_SEED, _SEEDS_APART, _BLOCKS_APART = 10**9, 2 * 10**9, 10**8, 10**5
_MAX_LANES, _CHUNK = 5_000, 20_000


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("off_policy_slates", __doc__)
    parser.add_argument(
        "--size",
        type=number_in(int, 100, _BLOCKS_APART),
        action="append",
        metavar="N",
        help="rows of a log; repeat for several (default: 1000, 10000, 100000)",
    )
    parser.add_argument(
        "--blocks", type=positive, default=4, metavar="N", help="independent logs of the largest size, which are cut"
    )
    parser.add_argument(
        "--logs", type=positive, default=50, metavar="N", help="largest number of logs of a size in a block"
    )
    parser.add_argument(
        "--truth-rows",
        type=number_in(int, 100, 10**9),
        default=500_000,
        metavar="N",
        help="slates that each policy shows for the truth",
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of sessions and draws")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import recsim_env
    from benchmarks.rows import append_rows

    screen, file = console(), parsed.out / "off_policy_slates.jsonl"
    parsed.out.mkdir(parents=True, exist_ok=True)
    sizes = sorted(parsed.size or [1_000, 10_000, 100_000])
    settings = {"sizes": sizes, "logs": parsed.logs, "truth_rows": parsed.truth_rows, "seed": parsed.seed}
    common = {"horizon": 1, "version": recsim_env.__version__, **settings, **origin}
    rows = finished_rows(file, settings)
    if not rows:
        rows = [{"kind": "truth", **_truth(parsed), **common}]
        append_rows(file, rows)
    truth = np.array(list(rows[0]["values"].values()))
    screen.print(f"values {rows[0]['values']}", highlight=False)
    for block in range(parsed.blocks):
        if any(row.get("block") == block for row in rows):
            continue
        new = [{"kind": "errors", "block": block, **row, **common} for row in _errors(block, sizes, truth, parsed)]
        append_rows(file, new)
        rows += new
        screen.print(f"block {block}  finished", highlight=False)
    write_results(parsed.out / "off_policy_slates", table(rows))


def _shown(policy: Any, num_rows: int, seed: int) -> ShownSlates:
    import gymnasium

    import recsim_env  # noqa: F401  (registers the ids)

    env = gymnasium.make_vec(
        "recsim_env/VideoSlate-v0",
        min(num_rows, _MAX_LANES),
        vectorization_mode="vector_entry_point",
        observation="full",
        slate_size=NUM_SLOTS,
        overrides=_OVERRIDES,
        max_episode_steps=1,
        autoreset_mode="Disabled",
    )
    shown = show(env, policy, num_rows, seed)
    env.close()
    return shown


def _truth(parsed: argparse.Namespace) -> dict[str, Any]:
    """Mean share of clicks of each policy and its standard error, in the same sessions for all of them."""
    seed = _TRUTH_SEED + parsed.seed * _SEEDS_APART
    found = {name: _shown(policy, parsed.truth_rows, seed).clicks.mean(1) for name, policy in POLICIES.items()}
    return {
        "values": {name: round(float(values.mean()), 6) for name, values in found.items()},
        "errors": {name: round(float(values.std(ddof=1)) / len(values) ** 0.5, 6) for name, values in found.items()},
    }


def _errors(block: int, sizes: list[int], truth: np.ndarray, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each size and estimator: its errors on the logs of that size, cut from one large log."""
    shown = _shown(BEHAVIOUR, sizes[-1], _LOG_SEED + parsed.seed * _SEEDS_APART + block * _BLOCKS_APART)
    found: dict[tuple[int, str], list[list[Any]]] = {}
    for policy in POLICIES.values():
        columns = _columns(shown, policy)
        for size in sizes:
            for name, estimates in _estimates(shown, columns, size, min(sizes[-1] // size, parsed.logs)).items():
                found.setdefault((size, name), []).append(estimates)
    return [
        {"size": size, "estimator": name, **mean_errors(of_policies, truth)}
        for (size, name), of_policies in found.items()
    ]


def _columns(shown: ShownSlates, policy: Any) -> dict[str, np.ndarray]:
    """Log-probabilities of the slots [R, S] under both policies, and features [R, S, F] of the model of the cascade."""
    parts = []
    for start in range(0, len(shown.slates), _CHUNK):
        part = slice(start, start + _CHUNK)
        slates, candidates, mask = shown.slates[part], shown.candidates[part].astype(np.float64), shown.masks[part]
        found = {}
        for name, each in (("behaviour", BEHAVIOUR), ("evaluation", policy)):
            probabilities = np.exp(each.log_probabilities(candidates, mask))
            conditional = remaining(probabilities, slates)
            chosen = np.take_along_axis(conditional, slates[:, :, None], 2)[:, :, 0]
            found[f"{name}_log_probabilities"] = np.log(chosen)
            found[f"{name}_marginals"] = np.log(marginals(probabilities, slates))
        items = np.take_along_axis(candidates, slates[:, :, None], 1)
        means = np.einsum("rsm,rmf->rsf", conditional, candidates)  # of the evaluation policy
        above = np.cumsum(items, 1) - items
        slots = np.broadcast_to(np.eye(NUM_SLOTS), (len(slates), NUM_SLOTS, NUM_SLOTS))
        found["features"] = np.concatenate([slots, above, _by_slot(items)], 2)
        found["policy_features"] = np.concatenate([slots, above, _by_slot(means)], 2)
        parts.append(found)
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


def _by_slot(items: np.ndarray) -> np.ndarray:
    """[R, S, S * F]: columns [R, S, F] with coefficients of their own in each slot."""
    return np.einsum("rsf,st->rstf", items, np.eye(NUM_SLOTS)).reshape(*items.shape[:2], -1)


def _estimates(shown: ShownSlates, columns: dict[str, np.ndarray], size: int, num_logs: int) -> dict[str, list[Any]]:
    """The estimates of one policy by each estimator on each log of that size."""
    from dataclasses import replace

    from agents.off_policy import (
        SlateLog,
        cascade_doubly_robust,
        direct_method,
        importance_sampling,
        item_position,
        reward_interaction,
        weighted_importance_sampling,
    )
    from agents.off_policy.fitted_q import fit

    found: dict[str, list[Any]] = {}
    for n in range(num_logs):
        part = slice(n * size, (n + 1) * size)
        own: dict[str, Any] = {name: values[part] for name, values in columns.items()}
        features, policy_features = (own.pop(name) for name in ("features", "policy_features"))
        slates = SlateLog(
            sessions=np.arange(size),
            steps=np.zeros(size, np.int64),
            slot_rewards=shown.clicks[part] / NUM_SLOTS,
            **own,
        )
        flat = [each.reshape(-1, each.shape[2]) for each in (features, policy_features)]
        action_values, state_values = (each.reshape(size, NUM_SLOTS) for each in fit(slates.as_decisions, *flat))
        slates = replace(slates, action_values=action_values, state_values=state_values)
        estimates = {
            "IS of slates": importance_sampling(slates.as_slates),
            "WIS of slates": weighted_importance_sampling(slates.as_slates),
            "item-position": item_position(slates),
            "RIPS": reward_interaction(slates),
            "self-normalised RIPS": reward_interaction(slates, is_self_normalized=True),
            "DM": direct_method(slates.as_decisions),
            "cascade DR": cascade_doubly_robust(slates),
        }
        for name, each in estimates.items():
            found.setdefault(name, []).append(each)
    return found


if __name__ == "__main__":
    sys.exit(main())
