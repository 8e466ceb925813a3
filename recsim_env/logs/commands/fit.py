"""Fit a world to a ratings log.

Writes items, users and rating scale as one .npz file, from which environments are made.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.logs.commands.log_arguments import (
    add_log_arguments,
    add_random_exposure_argument,
    comma_separated,
    random_exposure_log,
    ratings_log,
)
from recsim_env.logs.commands.output_file import check_output_file
from recsim_env.logs.fitting.fit import CONTENT, fit_ratings, num_fit_passes
from recsim_env.logs.fitting.fitted_world import MAX_SELECTION
from recsim_env.logs.fitting.selection import DEFAULT_SELECTION, selection_summary
from recsim_env.logs.fitting.session_behaviour import ASSUMED, Estimate, fitted_behaviour, overrides_of
from recsim_env.logs.reading.ratings_log import RatingsLog
from recsim_env.progress_line import ProgressLine
from recsim_env.scenarios import SCENARIOS
from recsim_env.timed_line import timed_line

if TYPE_CHECKING:
    from recsim_env.logs.reading.shown_items import ShownItems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_log_arguments(parser)
    add_random_exposure_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the hold-out and of all draws (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="WORLD.npz", help="file to write")
    parser.add_argument("--num-factors", type=int, default=16, help="latent factors, 1 to 256 (default: 16)")
    parser.add_argument(
        "--selection",
        type=float,
        metavar="S",
        help="mean rating noise of items that users chose to rate, in standard deviations of that noise, 0 to "
        f"{MAX_SELECTION:g} (default: estimated from --random-exposure; without it {DEFAULT_SELECTION:g}, an "
        "assumption)",
    )
    parser.add_argument(
        "--content",
        choices=CONTENT,
        default=CONTENT[0],
        help="item features: from the item metadata, or factors learnt from the log (default: described)",
    )
    parser.add_argument(
        "--sessions",
        type=Path,
        metavar="PATH",
        help="a log of items shown to these users, with columns user, item, click (1 or 0), session or time, and "
        "optionally step and position: coefficients of the user model are fitted to it and replace the preset's",
    )
    parser.add_argument(
        "--session-columns", type=comma_separated, default=(), metavar="ROLE=NAME,...", help="columns of --sessions"
    )


def run(parsed: argparse.Namespace) -> int:
    check_output_file(parsed.out, ".npz")
    log = ratings_log(parsed)
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    print(f"{printable(log.source)}: {len(log.ratings):,} ratings, {num_users:,} users, {num_items:,} items")
    random_exposure = random_exposure_log(parsed)
    shown = _shown_items(parsed, log)
    started = time.perf_counter()
    with ProgressLine(num_fit_passes(len(log.ratings)), "ratings in all regressions") as line:
        world = fit_ratings(
            log,
            num_factors=parsed.num_factors,
            seed=parsed.seed,
            random_exposure=random_exposure,
            selection=parsed.selection,
            content=parsed.content,
            on_pass=line.advance,
        )
    seconds = time.perf_counter() - started
    estimates: list[Estimate] = []
    if shown is not None:
        with timed_line("fitting behaviour"):
            estimates = fitted_behaviour(shown, world, SCENARIOS["MovieLens"], parsed.seed)
    world = replace(world, behaviour=overrides_of(estimates))
    world.save(parsed.out)
    print(f"fitted {world.fit_facts['num_factors']} factors in {seconds:.1f} s, seed {parsed.seed}")
    print("RMSE on 10% held-out ratings:")
    for name, error in world.fit_facts["held_out_rmse"].items():
        print(f"  {name.replace('_', ' '):<15}{error:.4f}")
    if world.fit_facts["factor_ridge"] is None:
        print("  factors do not predict better than biases; tastes in this world are little more than noise")
    print(selection_summary(world, log))
    _print_behaviour(estimates)
    print(f"wrote {printable(parsed.out)}")
    return 0


def _shown_items(parsed: argparse.Namespace, log: RatingsLog) -> "ShownItems | None":
    """The log of shown items, if it is given."""
    if parsed.sessions is None:
        if parsed.session_columns:
            raise ValueError("--session-columns: needs --sessions")
        return None
    from recsim_env.logs.reading.shown_items import read_shown_items

    shown = read_shown_items(parsed.sessions, parsed.session_columns, parsed.encoding)
    num_known = int((np.isin(shown.users, log.user_ids) & np.isin(shown.items, log.item_ids)).sum())
    if not num_known:
        raise ValueError(f"{parsed.sessions}: no row has a user and an item of {parsed.log}; ids must be the same")
    print(
        f"{printable(shown.source)}: {len(shown.users):,} shown items, {num_known:,} with a user and an item of the log"
    )
    return shown


def _print_behaviour(estimates: list[Estimate]) -> None:
    """Fitted and assumed behaviour."""
    if estimates:
        print("fitted behaviour, preset -> fitted:")
        for each in estimates:
            print(f"  {each.section}.{each.field:<26}{each.preset:>10.4g} -> {each.fitted:<10.4g}{each.measure}")
    fitted = {each.field for each in estimates}
    assumed = [f"{name} ({meaning})" for name, (fields, meaning) in ASSUMED.items() if not fitted & set(fields)]
    print("assumed behaviour, as in the preset:")
    for line in assumed:
        print(f"  {line}")
