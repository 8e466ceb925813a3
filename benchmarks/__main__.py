"""The benchmark's commands, from `run` and `report` to `validity`.

See `python -m benchmarks COMMAND --help`.
"""

import sys

from agents.terminal import run_command
from benchmarks.commands import (
    agents,
    cost,
    leaderboard,
    log_sets,
    off_policy,
    report,
    retention,
    run,
    submit,
    throughput,
    tune,
    validity,
    verify,
    verify_results,
    watch,
)

_COMMANDS = (
    *(run, report, tune, agents, watch, throughput, off_policy, retention, validity),
    *(submit, verify, leaderboard, verify_results, log_sets, cost),
)


def main(arguments: list[str]) -> int:
    return run_command("benchmarks", "Compare agents on held-out users and catalogues.", _COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
