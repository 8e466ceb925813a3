"""Command line: fit a world to a ratings log, export its statistics, check its fidelity; write a simulated log."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import check_number, unknown_name
from recsim_env.logs.fidelity import compare, log_statistics, table
from recsim_env.logs.fitted_world import FittedWorld
from recsim_env.logs.fitting import fit_ratings
from recsim_env.logs.population_statistics import save_statistics, statistics_of
from recsim_env.logs.reading import WHERE_TO_GET_DATA, read_log
from recsim_env.logs.write_command import add_write_command
from recsim_env.timed_line import timed_line

_LOG_HELP = (
    "a MovieLens-100K folder (u.data, u.item, u.user), or a CSV whose first line names the columns "
    "user,item,rating,timestamp; ratings are integers 1 to 5, at most one for each user and item"
)
_ITEMS_HELP = "for a CSV log: a CSV with a column item; optional: title, genres (a|b|c), numeric columns"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 success, 1 `check` found a difference, 2 invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m recsim_env.logs",
        description="Worlds from real ratings logs, and logs of simulated sessions.",
        epilog=f"{WHERE_TO_GET_DATA[0].upper()}{WHERE_TO_GET_DATA[1:]}.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    log = argparse.ArgumentParser(add_help=False)
    log.add_argument("log", metavar="PATH", type=Path, help=_LOG_HELP)
    log.add_argument("--items", type=Path, help=_ITEMS_HELP)
    log.add_argument("--seed", type=int, default=0, help="seed of all draws (default 0)")

    fit = commands.add_parser(
        "fit", parents=[log], help="fit a world to a log", description="Fit a world to a ratings log."
    )
    fit.add_argument("--out", type=Path, required=True, metavar="WORLD.npz", help="file to write")
    fit.add_argument("--num-factors", type=int, default=16, help="interest factors, 1 to 256 (default 16)")
    fit.set_defaults(run=_fit)

    statistics = commands.add_parser(
        "statistics",
        help="export the statistics of a fitted world, to draw new items and users",
        description="Write the population statistics of a fitted world, without ids, titles or rows.",
    )
    statistics.add_argument("world", metavar="WORLD.npz", type=Path, help="a fitted world")
    statistics.add_argument("--out", type=Path, required=True, metavar="OUT.json", help="file to write")
    statistics.set_defaults(run=_statistics)

    check = commands.add_parser(
        "check",
        parents=[log],
        help="compare a log with simulated ratings of the same pairs of user and item",
        description="Simulate a rating for each pair of the log and compare statistics. The exit code is 1 if a "
        "difference exceeds its tolerance, which is the noise between two halves of the users of MovieLens-100K "
        "(larger for a log of fewer users).",
    )
    check.add_argument("world", metavar="WORLD.npz", type=Path, help="the world fitted to the log")
    check.set_defaults(run=_check)

    add_write_command(commands)

    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(f"command {arguments[0]!r}: {unknown_name(arguments[0], commands.choices)}")
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _fit(options: argparse.Namespace) -> int:
    _check_writable(options.out, ".npz")
    log = read_log(options.log, options.items)
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    print(f"{printable(log.source)}: {len(log.ratings):,} ratings, {num_users:,} users, {num_items:,} items")
    started = time.perf_counter()
    with timed_line("fitting"):
        world = fit_ratings(log, num_factors=options.num_factors, seed=options.seed)
    seconds = time.perf_counter() - started
    world.save(options.out)
    print(f"fitted {world.fit_facts['num_factors']} factors in {seconds:.1f} s, seed {options.seed}")
    print("RMSE on 10% held-out ratings:")
    for name, error in world.fit_facts["held_out_rmse"].items():
        print(f"  {name.replace('_', ' '):<15}{error:.4f}")
    print(f"wrote {printable(options.out)}")
    return 0


def _statistics(options: argparse.Namespace) -> int:
    _check_writable(options.out, ".json")
    statistics = statistics_of(FittedWorld.load(options.world))
    save_statistics(statistics, options.out)
    for name, value in statistics.summary.items():
        print(f"{name.replace('_', ' '):<30}{value:>8.4f}")
    print(f"wrote {printable(options.out)}, {options.out.stat().st_size:,} bytes")
    return 0


def _check(options: argparse.Namespace) -> int:
    check_number("seed", options.seed, 0, 2**63 - 1, int)
    world = FittedWorld.load(options.world)
    log = read_log(options.log, options.items)
    users = _indices_in_world("user", log.user_ids, world.user_ids, options)[log.users]
    items = _indices_in_world("item", log.item_ids, world.item_ids, options)[log.items]
    simulated = world.rate(users, items, np.random.default_rng(options.seed))
    # With one topic, as without genres, all cosines are 1.
    topics = world.item_topics if world.item_topics.shape[1] > 1 else None
    real, other = (log_statistics(users, items, ratings, topics) for ratings in (log.ratings, simulated))
    comparisons = compare(real, other)
    print(f"{printable(log.source)}: simulated ratings of the {len(users):,} pairs of the log, seed {options.seed}")
    print(table(comparisons))
    return 0 if all(each.is_close for each in comparisons) else 1


def _indices_in_world(name: str, log_ids: np.ndarray, world_ids: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """The indices in the world of the users, or the items, of the log."""
    missing = np.setdiff1d(log_ids, world_ids)
    if len(missing):
        raise ValueError(f"{options.world}: has no {name} {str(missing[0])!r} of {options.log}; fit it to this log")
    order = np.argsort(world_ids)
    return order[np.searchsorted(world_ids, log_ids, sorter=order)]


def _check_writable(out: Path, suffix: str) -> None:
    """Reject a path that cannot be written before the work starts; the suffix protects logs from being overwritten."""
    if "\0" in str(out):
        raise ValueError(f"--out={str(out)!r}: must not contain a null character")
    if out.suffix != suffix or out.is_dir():
        raise ValueError(f"{out}: must be a file, and its name must end in {suffix}")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out}: cannot be written, {out.parent} is not a folder with permission to write")


if __name__ == "__main__":
    sys.exit(main())
