"""The command line of an experiment: its parser, its provenance, errors in one line, and rows to resume from."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.terminal import HelpFormatter, one_line, path, warn


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m benchmarks.experiments.NAME`, with `--out`; its help is the docstring of the module."""
    program = f"python -m benchmarks.experiments.{name}"
    parser = argparse.ArgumentParser(prog=program, description=description, formatter_class=HelpFormatter)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for the results")
    return parser


def run_script(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, dict[str, Any]], None],
    arguments: list[str] | None = None,
) -> int:
    """Call `run` with the parsed arguments and the provenance of its rows, the GPU of `--device` included; the exit
    status is 2 after an error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed, module = parser.parse_args(arguments), parser.prog.removeprefix("python -m ")
    from benchmarks.rows import provenance

    try:
        origin = provenance(arguments, module)
        if getattr(parsed, "device", "cpu") != "cpu":
            from torch.cuda import get_device_name

            from agents.networks.device import device_named

            origin["machine"] += f", {get_device_name(device_named(parsed.device))}"
        run(parsed, origin)
    except (ValueError, OSError) as error:
        warn(f"{module.rpartition('.')[2]}: {one_line(error)}")
        return 2
    return 0


def finished_rows(file: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of this version with these settings; others move to `stale.jsonl` in the same folder, with a line that says
    so. An incomplete last line is dropped.

    Raises:
        ResultsError: another line is not a JSON object.
    """
    import recsim_env
    from benchmarks.rows import STALE, read_objects, set_aside, write_rows

    if not file.is_file():
        return []
    wanted = {**settings, "version": recsim_env.__version__}
    kept, stale = [], []
    for row in read_objects(file, allow_incomplete=True):
        (kept if wanted.items() <= row.items() else stale).append(row)
    if stale:
        warn(f"{file}: {len(stale)} rows of another version or other settings are moved to {STALE}")
        set_aside(stale, file.parent)
    write_rows(file, kept)
    return kept
