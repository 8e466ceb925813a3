"""Write the feedback that a server has stored as a log.

The log has the format of simulated logs, with propensities, for off-policy evaluation; `recsim_env.read_events` reads
it. Recommendations without feedback are left out. The server may be running.
"""

import argparse

from agents.terminal import path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", type=path, required=True, metavar="FILE", help="of the server")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the log; must be new")


def served_log(parsed: argparse.Namespace) -> int:
    from agents.large_model.serving.served_log import write_served_log

    manifest = write_served_log(parsed.database, parsed.out)
    print(f"{manifest.num_steps:,} recommendations with feedback in {parsed.out}")
    return 0
