"""Command line: describe a ratings log, fit a world to it, check it, export its statistics; write a simulated log."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import check_number, unknown_name
from recsim_env.logs.fidelity import Comparison, compare, log_statistics, random_exposure_comparisons, table
from recsim_env.logs.fitted_world import MAX_SELECTION, FittedWorld
from recsim_env.logs.fitting import CONTENT, fit_ratings, num_fit_passes
from recsim_env.logs.log_files import WHERE_TO_GET_DATA
from recsim_env.logs.population_statistics import save_statistics, statistics_of
from recsim_env.logs.ratings_log import RatingsLog, positions_of
from recsim_env.logs.selection import DEFAULT_SELECTION, SELECTION_RANGE, mean_rating_by_selection, random_pairs
from recsim_env.logs.session_behaviour import ASSUMED, Estimate, fitted_behaviour, overrides_of
from recsim_env.logs.write_command import add_write_command
from recsim_env.progress_line import ProgressLine
from recsim_env.scenarios import SCENARIOS
from recsim_env.timed_line import timed_line

if TYPE_CHECKING:
    from recsim_env.logs.reading import LogContent, ReadingOptions

_LOG_HELP = (
    "a folder or .zip of MovieLens, a file of the Netflix Prize, or a file of ratings (delimited text with or without "
    "a header, JSON lines, Parquet; packed by gzip or not)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 success, 1 `check` found a difference or `describe` a problem, 2
    invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m recsim_env.logs",
        description="Worlds from real ratings logs, and logs of simulated sessions.",
        epilog=f"{WHERE_TO_GET_DATA[0].upper()}{WHERE_TO_GET_DATA[1:]}.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    log = _log_arguments()
    seed = argparse.ArgumentParser(add_help=False)
    seed.add_argument("--seed", type=int, default=0, help="seed of all draws (default 0)")
    exposure = argparse.ArgumentParser(add_help=False)
    exposure.add_argument(
        "--random-exposure",
        type=Path,
        metavar="FILE",
        help="ratings by users of the log of items that were shown to them at random, read with the same options",
    )

    describe = commands.add_parser(
        "describe",
        parents=[log],
        help="say what a log is, and all that is wrong with it",
        description="Say what a file is: format, columns, rating scale, times, repeated pairs, first rows, and all "
        "problems with their lines. The exit code is 1 if there are problems.",
    )
    describe.set_defaults(run=_describe)

    fit = commands.add_parser(
        "fit", parents=[log, exposure, seed], help="fit a world to a log", description="Fit a world to a ratings log."
    )
    fit.add_argument("--out", type=Path, required=True, metavar="WORLD.npz", help="file to write")
    fit.add_argument("--num-factors", type=int, default=16, help="interest factors, 1 to 256 (default 16)")
    fit.add_argument(
        "--selection",
        type=float,
        metavar="S",
        help="how much higher users rate what they chose, in standard deviations of the rating noise, 0 to "
        f"{MAX_SELECTION:g} (default: estimated from --random-exposure, or {DEFAULT_SELECTION:g}, an assumption)",
    )
    fit.add_argument(
        "--content",
        choices=CONTENT,
        default=CONTENT[0],
        help="features of the items: as they are described, or factors learnt from the log (default: described)",
    )
    fit.add_argument(
        "--sessions",
        type=Path,
        metavar="PATH",
        help="a log of items shown to these users, with columns of user, item, click (1 or 0), session or time, and "
        "optionally step and position: behaviour is fitted to it, in place of the preset's numbers",
    )
    fit.add_argument(
        "--session-columns", type=_comma_separated, default=(), metavar="ROLE=NAME,...", help="columns of --sessions"
    )
    fit.set_defaults(run=_fit)

    check = commands.add_parser(
        "check",
        parents=[log, exposure, seed],
        help="compare a log with simulated ratings of the same pairs of user and item",
        description="Simulate a rating for each pair of the log, and of the sample under random exposure if there is "
        "one, and compare statistics. The exit code is 1 if a difference exceeds its tolerance, which for the log is "
        "the noise between two halves of the users of MovieLens-100K (larger for a log of fewer users).",
    )
    check.add_argument("world", metavar="WORLD.npz", type=Path, help="the world fitted to the log")
    check.set_defaults(run=_check)

    statistics = commands.add_parser(
        "statistics",
        help="export the statistics of a fitted world, to draw new items and users",
        description="Write the population statistics of a fitted world, without ids, titles or rows.",
    )
    statistics.add_argument("world", metavar="WORLD.npz", type=Path, help="a fitted world")
    statistics.add_argument("--out", type=Path, required=True, metavar="OUT.json", help="file to write")
    statistics.set_defaults(run=_statistics)

    add_write_command(commands)

    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(f"command {arguments[0]!r}: {unknown_name(arguments[0], commands.choices)}")
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _log_arguments() -> argparse.ArgumentParser:
    """The log and how to read it; see `ReadingOptions`."""
    log = argparse.ArgumentParser(add_help=False)
    log.add_argument("log", metavar="PATH", type=Path, help=_LOG_HELP)
    group = log.add_argument_group("reading", "what the files do not say; `describe` proposes what is missing")
    group.add_argument(
        "--items",
        type=Path,
        metavar="FILE",
        help="for a single file: its items, a table with a column of ids; optional: title, genres (a|b|c), numbers",
    )
    group.add_argument(
        "--columns",
        type=_comma_separated,
        default=(),
        metavar="A,B,...",
        help="user, item, rating, time in the order of the columns, - to skip one; or user=NAME,item=NAME,...",
    )
    group.add_argument(
        "--scale",
        nargs=2,
        type=float,
        default=(),
        metavar=("LOW", "HIGH"),
        help="ends of the rating scale, if not 1 5 or half stars",
    )
    group.add_argument(
        "--levels", type=_comma_separated, default=(), metavar="WORD,...", help="ratings in words, in ascending order"
    )
    group.add_argument(
        "--feedback",
        default="ratings",
        metavar="KIND",
        help="ratings, clicks, plays (counts) or watch_ratio (default: ratings)",
    )
    group.add_argument(
        "--missing", action="append", default=[], metavar="VALUE", help="rating that means not rated, such as 0; repeat"
    )
    group.add_argument(
        "--duplicates",
        default="error",
        metavar="KIND",
        help="of several ratings of an item by a user: error, last or mean (default: error)",
    )
    group.add_argument("--encoding", default="", help="of text (default: UTF-8)")
    return log


def _comma_separated(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _reading_options(options: argparse.Namespace) -> "ReadingOptions":
    from recsim_env.logs.reading import ReadingOptions

    names = ("columns", "scale", "levels", "feedback", "missing", "duplicates", "encoding")
    values: dict[str, Any] = {name: getattr(options, name) for name in names}
    for name in ("scale", "missing"):
        values[name] = tuple(values[name])
    return ReadingOptions(**values)


def _content(options: argparse.Namespace) -> "LogContent":
    from recsim_env.logs.reading import read_content

    with timed_line(f"reading {printable(options.log)}"):
        return read_content(options.log, options.items, _reading_options(options))


def _random_exposure(options: argparse.Namespace) -> RatingsLog | None:
    from recsim_env.logs.reading import read_log

    return (
        None if options.random_exposure is None else read_log(options.random_exposure, None, _reading_options(options))
    )


def _log(options: argparse.Namespace) -> RatingsLog:
    """The log; writes what was noticed about it to stderr."""
    from recsim_env.logs.reading import whole_log

    content = _content(options)
    log = whole_log(content)
    for note in content.notes:
        print(note if note.startswith("warning: ") else f"note: {note}", file=sys.stderr)
    return log


def _describe(options: argparse.Namespace) -> int:
    from recsim_env.logs.describing import description

    content = _content(options)
    print(description(content))
    return 1 if content.problems else 0


def _fit(options: argparse.Namespace) -> int:
    _check_writable(options.out, ".npz")
    log = _log(options)
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    print(f"{printable(log.source)}: {len(log.ratings):,} ratings, {num_users:,} users, {num_items:,} items")
    random_exposure = _random_exposure(options)
    started = time.perf_counter()
    with ProgressLine(num_fit_passes(len(log.ratings)), "ratings in all regressions") as line:
        world = fit_ratings(
            log,
            num_factors=options.num_factors,
            seed=options.seed,
            random_exposure=random_exposure,
            selection=options.selection,
            content=options.content,
            on_pass=line.advance,
        )
    seconds = time.perf_counter() - started
    estimates = _behaviour(options, world)
    world = replace(world, behaviour=overrides_of(estimates))
    world.save(options.out)
    print(f"fitted {world.fit_facts['num_factors']} factors in {seconds:.1f} s, seed {options.seed}")
    print("RMSE on 10% held-out ratings:")
    for name, error in world.fit_facts["held_out_rmse"].items():
        print(f"  {name.replace('_', ' '):<15}{error:.4f}")
    if world.fit_facts["factor_ridge"] is None:
        print("  factors do not predict better than biases; tastes in this world are hardly more than noise")
    _print_selection(world, log)
    _print_behaviour(estimates)
    print(f"wrote {printable(options.out)}")
    return 0


def _behaviour(options: argparse.Namespace, world: FittedWorld) -> list[Estimate]:
    """Coefficients of the user model from `--sessions`; none without it."""
    if options.sessions is None:
        if options.session_columns:
            raise ValueError("--session-columns: needs --sessions")
        return []
    from recsim_env.logs.shown_items import read_shown_items

    shown = read_shown_items(options.sessions, options.session_columns, options.encoding)
    num_known = int((np.isin(shown.users, world.user_ids) & np.isin(shown.items, world.item_ids)).sum())
    if not num_known:
        raise ValueError(f"{options.sessions}: shows no item of {options.log} to a user of it; ids must be the same")
    print(
        f"{printable(shown.source)}: {len(shown.users):,} shown items, {num_known:,} with a user and an item of the log"
    )
    with timed_line("fitting behaviour"):
        return fitted_behaviour(shown, world, SCENARIOS["MovieLens"], options.seed)


def _print_behaviour(estimates: list[Estimate]) -> None:
    """What is fitted, and what is assumed."""
    if estimates:
        print("behaviour, in place of the preset's:")
        for each in estimates:
            print(f"  {each.section}.{each.field:<26}{each.preset:>10.4g} -> {each.fitted:<10.4g}{each.measure}")
    told = {each.field for each in estimates}
    assumed = [f"{name} ({meaning})" for name, (fields, meaning) in ASSUMED.items() if not told & set(fields)]
    print("behaviour that is assumed, as in the preset:")
    for line in assumed:
        print(f"  {line}")


def _print_selection(world: FittedWorld, log: RatingsLog) -> None:
    """Mean ratings in the log and under random exposure, and how far the assumption matters."""
    means = mean_rating_by_selection(world, (world.selection, *SELECTION_RANGE))
    how = world.fit_facts["selection"]
    print(f"mean rating: {log.ratings.mean():.2f} in the log, {means[0]:.2f} under random exposure")
    print(f"selection: {world.selection:.2f}, {how}", end="")
    low, high = SELECTION_RANGE
    print(
        f"; from {low:g} to {high:g} the mean would fall from {means[1]:.2f} to {means[2]:.2f}"
        if how == "assumed"
        else ""
    )


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
    log = _log(options)
    if not np.array_equal(log.rating_levels, world.rating_levels):
        raise ValueError(f"{options.world}: has another rating scale than {options.log}; fit it to this log")
    users = _indices_in_world("user", log.user_ids, world.user_ids, options)[log.users]
    items = _indices_in_world("item", log.item_ids, world.item_ids, options)[log.items]
    generator = np.random.default_rng(options.seed)
    simulated = world.rate(users, items, generator, is_chosen=True)
    # With one topic, as without genres, all cosines are 1.
    topics = world.item_topics if world.item_topics.shape[1] > 1 else None
    real, other = (
        log_statistics(users, items, ratings, world.rating_levels, topics) for ratings in (log.ratings, simulated)
    )
    comparisons: list[Comparison] = compare(real, other)
    print(f"{printable(log.source)}: simulated ratings of the {len(users):,} pairs of the log, seed {options.seed}")
    print(table(comparisons))
    sample = _random_exposure(options)
    if sample is None:
        print("\nunder random exposure: unknown without a sample (--random-exposure)")
        _print_selection(world, log)
    else:
        pairs = random_pairs(world, sample)
        shown = world.rate(pairs.users, pairs.items, generator, is_chosen=False)
        at_random = random_exposure_comparisons(pairs.ratings, shown, world.rating_levels)
        print(f"\n{printable(sample.source)}: simulated ratings of {len(shown):,} pairs under random exposure")
        print(table(at_random))
        comparisons = [*comparisons, *at_random]
    return 0 if all(each.is_close for each in comparisons) else 1


def _indices_in_world(name: str, log_ids: np.ndarray, world_ids: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """The indices in the world of the users, or the items, of the log."""
    positions = positions_of(log_ids, world_ids)
    if (positions < 0).any():
        missing = min(log_ids[positions < 0].tolist())
        raise ValueError(f"{options.world}: has no {name} {missing!r} of {options.log}; fit it to this log")
    return positions


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
