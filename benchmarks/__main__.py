"""The benchmark's commands: `run`, `plot`, `headroom`, `throughput`, `pages`; `COMMAND --help` says more."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.results import ResultsError, Row, provenance, read_rows, write_rows
from benchmarks.suites import SUITES, Suite
from recsim_env.scenarios import SCENARIOS

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: list[str]) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.command(parsed)
    except (ResultsError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: stopped; nothing was written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare agents that recommend.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="train and evaluate the agents of a suite",
        description="Train and evaluate the agents of a suite on held-out users and a held-out catalogue. Leaves "
        "results.jsonl, leaderboard.md and learning_curves.png in the folder OUT. MovieLens needs its ratings log "
        "(RECSIM_DATA or --world); without it the scenario Ratings takes its place.",
    )
    run.add_argument("--suite", choices=SUITES, default="quick", help="what to compare (default: %(default)s)")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results; made if missing")
    run.add_argument("--world", metavar="PATH", help="fitted world (.npz), MovieLens-100K folder or ratings CSV")
    run.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="worker processes (default: %(default)s)"
    )
    run.set_defaults(command=_run)

    plot = commands.add_parser(
        "plot", help="redraw from the rows alone", description="Redraw the picture and the table from results.jsonl."
    )
    plot.add_argument("directory", type=Path, metavar="DIR", help="folder that holds results.jsonl")
    plot.set_defaults(command=_plot)

    headroom = commands.add_parser(
        "headroom",
        help="measure what there is to gain in a scenario",
        description="Measure the headroom ladder: random, popularity, LinUCB, the best history-blind player, the "
        "Bayes-filter player, and the myopic, foresight and planning oracles on the same held-out sessions. Leaves "
        "headroom.jsonl, headroom.md and headroom.png in the folder OUT, after each scenario; scenarios that are in "
        "headroom.jsonl already and are not measured now stay there. Takes minutes for each scenario.",
    )
    headroom.add_argument(
        "--scenario", choices=SCENARIOS, action="append", help="repeat for several (default: all that can be built)"
    )
    headroom.add_argument(
        "--out", type=Path, default=Path("runs/headroom"), metavar="DIR", help="folder (default: %(default)s)"
    )
    headroom.add_argument("--sessions", type=_positive, default=300, help="sessions (default: %(default)s)")
    headroom.add_argument("--futures", type=_positive, default=32, help="futures to plan with (default: %(default)s)")
    headroom.set_defaults(command=_headroom)

    throughput = commands.add_parser(
        "throughput",
        help="measure user-steps per second",
        description="Measure user-steps per second of the single env, the vector env and the SB3 env, beside CartPole "
        "in the same run, and the share of SB3 PPO's time that is spent in the env.",
    )
    throughput.add_argument("--env", default="recsim_env/Video-v0", help="env id (default: %(default)s)")
    throughput.add_argument("--rounds", type=_positive, default=5, help="rounds (default: %(default)s)")
    throughput.add_argument("--seconds", type=float, default=1.0, help="seconds for each way and round (default: 1)")
    throughput.add_argument("--ppo-steps", type=_positive, default=32_768, help="PPO's steps (default: %(default)s)")
    throughput.set_defaults(command=_throughput)

    pages = commands.add_parser(
        "pages",
        help="write the documentation of the scenarios",
        description="Write a page for each scenario, and README.md that lists them, into the folder OUT: what it is "
        "about, its equations, spaces and numbers, and its headroom ladder, where headroom.jsonl has it.",
    )
    pages.add_argument(
        "--out", type=Path, default=Path("docs/scenarios"), metavar="DIR", help="folder (default: %(default)s)"
    )
    pages.add_argument(
        "--ladder",
        type=Path,
        default=Path("benchmarks/results/headroom"),
        metavar="DIR",
        help="folder that holds headroom.jsonl (default: %(default)s)",
    )
    pages.set_defaults(command=_pages)
    return parser


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 1")
    return number


def _console() -> Console:
    """The terminal; where there is none (a pipe, a log), wide enough for the tables."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def _scenarios(suite: Suite, world: str | None, console: Console) -> tuple[Suite, str | None]:
    """The suite with Ratings in place of MovieLens where there is no log; the fitted world's path where there is."""
    from recsim_env.ratings_log import find_log, load_or_fit

    if "MovieLens" not in suite.scenarios:
        return suite, None
    path = Path(world) if world else find_log()
    if path is None:
        console.print("MovieLens: no ratings log found (set RECSIM_DATA); the scenario Ratings takes its place.")
        names = tuple("Ratings" if name == "MovieLens" else name for name in suite.scenarios)
        return dataclasses.replace(suite, scenarios=names), None
    load_or_fit(path)  # once, before the workers ask for it
    return suite, str(path)


def _run(parsed: argparse.Namespace) -> int:
    for name in _SINGLE_THREADED:
        os.environ[name] = "1"  # one thread for each worker: they are as many as there are cores
    from benchmarks.runner import cells, run_cells, with_scores

    console = _console()
    try:
        suite, world = _scenarios(SUITES[parsed.suite], parsed.world, console)
    except ValueError as error:
        raise ResultsError(str(error)) from None
    parsed.out.mkdir(parents=True, exist_ok=True)
    todo = cells(parsed.suite, suite, world)
    origin = provenance(sys.argv[1:])
    rows: list[Row] = []
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"suite {parsed.suite}", total=len(todo))
        for cell, found in run_cells(todo, parsed.workers):
            rows += found
            last = found[-1]
            progress.console.print(
                f"{cell.scenario:>10} {cell.agent:<16} seed {cell.seed}  return {last['return_mean']:7.2f}  "
                f"{last['env_steps']:>8,} steps in {last['wall_s']:.0f} s"
            )
            progress.advance(task)
    order = {(cell.scenario, cell.agent, cell.seed): n for n, cell in enumerate(todo)}
    rows.sort(key=lambda row: (order[row["scenario"], row["agent"], row["seed"]], row["env_steps"]))
    write_rows(parsed.out / "results.jsonl", [{**row, **origin} for row in with_scores(rows)])
    return _show(parsed.out, console)


def _plot(parsed: argparse.Namespace) -> int:
    return _show(parsed.directory, _console())


def _show(directory: Path, console: Console) -> int:
    from benchmarks.leaderboard import write_leaderboard
    from benchmarks.plots import draw_learning_curves

    rows = read_rows(directory / "results.jsonl")
    console.print(Markdown(write_leaderboard(directory, rows)))
    console.print(f"{directory / 'leaderboard.md'}\n{draw_learning_curves(directory, rows)}", highlight=False)
    return 0


def _headroom(parsed: argparse.Namespace) -> int:
    from benchmarks.headroom import Ladder, climb, finished
    from benchmarks.headroom_report import write_headroom
    from recsim_env.ratings_log import find_log

    console, origin = _console(), provenance(sys.argv[1:])
    parsed.out.mkdir(parents=True, exist_ok=True)
    scenarios = parsed.scenario
    if scenarios is None:
        scenarios = [name for name, it in SCENARIOS.items() if it.source != "ratings_log" or find_log() is not None]
    path = parsed.out / "headroom.jsonl"
    rows = read_rows(path) if path.exists() else []
    for scenario in scenarios:
        ladder = Ladder(scenario=scenario, num_sessions=parsed.sessions, num_futures=parsed.futures)
        found: list[Row] = []
        returns = {}
        with console.status(f"{scenario}: climbing"):
            for row, of_sessions in climb(ladder):
                found.append(row)
                returns[row["agent"]] = of_sessions
                console.print(f"{scenario:>10} {row['agent']:<17} return {row['return_mean']:7.2f}")
        rows = [row for row in rows if row["scenario"] != scenario]
        rows += [{**row, **origin} for row in finished(found, returns)]
        write_rows(path, rows)  # after each scenario: what is measured is not lost
        table = write_headroom(parsed.out, rows)
    console.print(Markdown(table))
    return 0


def _throughput(parsed: argparse.Namespace) -> int:
    from benchmarks.throughput import (
        CARTPOLE_VECTOR,
        SARDINE_TO_CARTPOLE,
        WAYS,
        measure,
        ppo_share_in_env,
        profile,
        ratios,
    )

    console = _console()
    found = measure(parsed.env, parsed.rounds, parsed.seconds)
    to_cartpole, to_vector = ratios(found), ratios(found, CARTPOLE_VECTOR)
    table = Table(title="User-steps per second, median over rounds (lowest and highest)")
    for heading in ("way", "steps/s", "range", "x CartPole single", "x CartPole vector", "x SARDINE, scaled"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    for each in found:
        ratio = to_cartpole[each.name]
        low, high = min(each.steps_per_second), max(each.steps_per_second)
        table.add_row(
            each.name,
            f"{each.median:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{ratio:.2f}",
            f"{to_vector[each.name]:.2f}",
            f"{ratio / SARDINE_TO_CARTPOLE:.1f}",
        )
    console.print(table)
    parts = Table(title="Where the time of a user-step goes, in nanoseconds, median over rounds")
    for heading in ("way", "step", "observe", "all else", "copying that observation"):
        parts.add_column(heading, justify="left" if heading == "way" else "right")
    for name in WAYS:
        if "thread" not in name:
            took = profile(parsed.env, name, parsed.rounds)
            parts.add_row(name, *(f"{each:,.0f}" for each in (took.step, took.observe, took.rest, took.copy)))
    console.print(parts)
    share, steps_per_second = ppo_share_in_env(parsed.env, parsed.ppo_steps)
    console.print(f"SB3 PPO, 64 lanes: {share:.1%} of its wall time in the env, {steps_per_second:,.0f} steps/s")
    return 0


def _pages(parsed: argparse.Namespace) -> int:
    from benchmarks.scenario_pages import write_pages

    path = parsed.ladder / "headroom.jsonl"
    rows = read_rows(path) if path.exists() else []
    written = write_pages(parsed.out, rows)
    measured = ", ".join(dict.fromkeys(row["scenario"] for row in rows)) or "none"
    print(f"{len(written)} pages in {parsed.out}; headroom ladders in {parsed.ladder}: {measured}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
