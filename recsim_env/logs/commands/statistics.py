"""Export the population statistics of a fitted world, from which items and users are drawn.

The statistics contain no ids, no titles and no ratings.
"""

import argparse
from pathlib import Path

from recsim_env.atomic_file import printable
from recsim_env.logs.commands.output_file import check_output_file
from recsim_env.logs.fitting.fitted_world import FittedWorld
from recsim_env.logs.fitting.population_statistics import save_statistics, statistics_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", metavar="WORLD.npz", type=Path, help="a fitted world")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.json", help="file to write")


def run(parsed: argparse.Namespace) -> int:
    check_output_file(parsed.out, ".json")
    statistics = statistics_of(FittedWorld.load(parsed.world))
    save_statistics(statistics, parsed.out)
    for name, value in statistics.summary.items():
        print(f"{name.replace('_', ' '):<30}{value:>8.4f}")
    print(f"wrote {printable(parsed.out)}, {parsed.out.stat().st_size:,} bytes")
    return 0
