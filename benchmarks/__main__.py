"""The benchmark's commands: `run`, `report`, `tune`, `agents`, `throughput`, `pages`; `COMMAND --help` says more."""

import argparse
import sys

from benchmarks.commands import agents, pages, report, run, throughput, tune
from benchmarks.results import ResultsError

_COMMANDS = (run, report, tune, agents, throughput, pages)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare agents that recommend.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.command(parsed)
    except (ResultsError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: stopped; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
