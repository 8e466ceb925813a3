"""Commands on models that protect people: see `python -m agents.private COMMAND --help`."""

import sys

from agents.private.commands import audit, forget, train
from agents.terminal import run_command

_ABOUT = "Reward models, learned from logs, that are private or can forget people, and audits of them."


def main(arguments: list[str]) -> int:
    return run_command("agents.private", _ABOUT, (train, forget, audit), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
