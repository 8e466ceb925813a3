"""Compare a ratings log with ratings simulated in the world fitted to it.

Simulates a rating for each user-item pair of the log, and of the sample under random exposure if there is one, and
compares statistics. The exit status is 1 if a difference exceeds its tolerance. For the log, tolerances are the
differences between random halves of the users of MovieLens-100K, and larger for a log of fewer users.
"""

import argparse
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import check_number
from recsim_env.logs.commands.log_arguments import (
    add_log_arguments,
    add_random_exposure_argument,
    random_exposure_log,
    ratings_log,
)
from recsim_env.logs.fitting.fitted_world import FittedWorld
from recsim_env.logs.fitting.log_comparison import (
    Comparison,
    compare_logs,
    comparison_table,
    log_statistics,
    random_exposure_comparisons,
)
from recsim_env.logs.fitting.selection import random_pairs, selection_summary
from recsim_env.logs.reading.ratings_log import positions_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_log_arguments(parser)
    add_random_exposure_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated ratings (default: 0)")
    parser.add_argument("world", metavar="WORLD.npz", type=Path, help="the world fitted to the log")


def run(parsed: argparse.Namespace) -> int:
    check_number("seed", parsed.seed, 0, 2**63 - 1, int)
    world = FittedWorld.load(parsed.world)
    log = ratings_log(parsed)
    if not np.array_equal(log.rating_levels, world.rating_levels):
        raise ValueError(f"{parsed.world}: its rating scale differs from that of {parsed.log}; fit it to this log")
    users = _indices_in_world("user", log.user_ids, world.user_ids, parsed)[log.users]
    items = _indices_in_world("item", log.item_ids, world.item_ids, parsed)[log.items]
    generator = np.random.default_rng(parsed.seed)
    simulated = world.rate(users, items, generator, is_chosen=True)
    # With one topic, as without genres, all cosines are 1.
    topics = world.item_topics if world.item_topics.shape[1] > 1 else None
    real, other = (
        log_statistics(users, items, ratings, world.rating_levels, topics) for ratings in (log.ratings, simulated)
    )
    comparisons: list[Comparison] = compare_logs(real, other)
    print(f"{printable(log.source)}: simulated ratings of the {len(users):,} pairs of the log, seed {parsed.seed}")
    print(comparison_table(comparisons))
    sample = random_exposure_log(parsed)
    if sample is None:
        print("\nunder random exposure: unknown without a sample (--random-exposure)")
        print(selection_summary(world, log))
    else:
        pairs = random_pairs(world, sample)
        shown = world.rate(pairs.users, pairs.items, generator, is_chosen=False)
        at_random = random_exposure_comparisons(pairs.ratings, shown, world.rating_levels)
        print(f"\n{printable(sample.source)}: simulated ratings of {len(shown):,} pairs under random exposure")
        print(comparison_table(at_random))
        comparisons = [*comparisons, *at_random]
    return 0 if all(each.is_close for each in comparisons) else 1


def _indices_in_world(name: str, log_ids: np.ndarray, world_ids: np.ndarray, parsed: argparse.Namespace) -> np.ndarray:
    """The indices in the world of the users, or the items, of the log."""
    positions = positions_of(log_ids, world_ids)
    if (positions < 0).any():
        missing = min(log_ids[positions < 0].tolist())
        raise ValueError(f"{parsed.world}: has no {name} {missing!r} of {parsed.log}; fit it to this log")
    return positions
