"""Estimate the time and cost of a suite on a cluster from the durations of finished runs.

Nothing is executed. Each run is assumed to occupy one core for the median duration of finished runs of the same agent
in the same scenario, whose training is scaled to the suite's number of user-steps; a core takes the next run as soon as
it is free. Transfers, the start of processes, and differences between machines are ignored.
"""

import argparse
from statistics import median

from agents.terminal import console, number_in, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="standard", help="`python -m benchmarks agents` lists the suites")
    parser.add_argument("--seeds", type=positive, metavar="N", help="number of seeds (default: the suite's)")
    parser.add_argument(
        "--nodes",
        type=positive,
        action="append",
        metavar="N",
        help="number of nodes; repeat for several (default: 1, 10 and 100)",
    )
    parser.add_argument("--cores", type=positive, default=2, metavar="N", help="cores per node")
    parser.add_argument(
        "--price", type=number_in(float, 0.0), metavar="X", help="price of one core-hour, in any currency"
    )
    parser.add_argument(
        "--results",
        type=path,
        action="append",
        metavar="DIR",
        help="folder with rows of finished runs; repeat for several (default: benchmarks/results)",
    )


def cost(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from benchmarks.analysis.run_times import expected_seconds, measured_seconds
    from benchmarks.analysis.schedules import lower_bound, makespan
    from benchmarks.committed_results import COMMITTED
    from benchmarks.rows import ResultsError
    from benchmarks.running.execution import log_to
    from benchmarks.running.result_folder import final_rows_in
    from benchmarks.running.suite_runs import selected, suite_named

    screen = console()
    log = log_to(screen)
    suite = selected(suite_named(parsed.suite), num_seeds=parsed.seeds)
    tasks = suite.tasks()
    runs = [(agent, task, seed) for seed in range(suite.num_seeds) for task in tasks for agent in suite.agents]
    rows = []
    for folder in parsed.results or [COMMITTED]:
        if not folder.is_dir():
            raise ResultsError(f"--results {folder}: no such folder")
        rows += final_rows_in(folder)
    used = [row for row in rows if row["agent"] in suite.agents and row["scenario"] in tasks]
    measured = measured_seconds(used, suite.num_steps)
    if not measured:
        raise ResultsError(f"suite {suite.name}: none of its agents has a finished run in its scenarios")
    seconds, unknown = expected_seconds(runs, measured)
    log(
        f"{len(runs):,} runs, {sum(seconds) / 3_600:.1f} core-hours; the longest takes {max(seconds) / 60:.1f} minutes,"
        f" the median {median(seconds):.1f} s"
    )
    versions = ", ".join(sorted({row["version"] for row in used}))
    machines = "; ".join(sorted({row["machine"] for row in used if "machine" in row}))
    log(f"measured: {len(measured):,} pairs of agent and scenario (versions: {versions}; machines: {machines})")
    if unknown:
        log(f"not measured, and assumed to take as long as the longest run: {', '.join(unknown)}")
    # The order of `execute`: seed by seed, the longest runs of each first.
    in_order = [each for _, each in sorted(zip(runs, seconds, strict=True), key=lambda it: (it[0][2], -it[1]))]
    headings = ["nodes", "cores", "seed by seed, min", "longest first, min", "lower bound, min", "utilisation"]
    table = Table(*headings, *(["price"] if parsed.price is not None else []))
    for num_nodes in parsed.nodes or (1, 10, 100):
        slots = num_nodes * parsed.cores
        ends = [makespan(order, slots) for order in (in_order, sorted(seconds, reverse=True))]
        minutes = [f"{each / 60:,.1f}" for each in (*ends, lower_bound(seconds, slots))]
        cells = [f"{num_nodes:,}", f"{slots:,}", *minutes, f"{sum(seconds) / (slots * ends[0]):.0%}"]
        if parsed.price is not None:
            cells.append(f"{parsed.price * slots * ends[0] / 3_600:,.2f}")
        table.add_row(*cells)
    screen.print(table)
    return 0
