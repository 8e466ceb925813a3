"""Describe a ratings log and list its problems.

Prints format, columns, rating scale, times, repeated pairs, first rows, and every problem with its lines. The exit
status is 1 if there are problems.
"""

import argparse

from recsim_env.logs.commands.log_arguments import add_log_arguments, log_content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_log_arguments(parser)


def run(parsed: argparse.Namespace) -> int:
    from recsim_env.logs.reading.description import description

    content = log_content(parsed)
    print(description(content))
    return 1 if content.problems else 0
