"""The benchmark's commands: `run`, `report`, `tune`, `agents`, `throughput`; `COMMAND --help` says more."""

import sys

from agents.registry import UnknownAgentError
from agents.terminal import run_command
from benchmarks.commands import agents, report, run, throughput, tune
from benchmarks.running.rows import ResultsError

_COMMANDS = (run, report, tune, agents, throughput)


def main(arguments: list[str]) -> int:
    return run_command(
        "benchmarks", "Compare agents that recommend.", _COMMANDS, arguments, (ResultsError, UnknownAgentError, OSError)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
