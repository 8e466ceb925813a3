"""The command line of an experiment: its parser, its provenance, errors in one line, its rows, and its results."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agents.terminal import HelpFormatter, console, one_line, path, warn


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
    kept: list[dict[str, Any]] = []
    stale: list[dict[str, Any]] = []
    for row in read_objects(file, allow_incomplete=True):
        (kept if wanted.items() <= row.items() else stale).append(row)
    if stale:
        warn(f"{file}: {len(stale)} rows of another version or other settings are moved to {STALE}")
        set_aside(stale, file.parent)
    write_rows(file, kept)
    return kept


def measured_rows(
    file: Path,
    keys: Iterable[Mapping[str, Any]],
    settings: Mapping[str, Any],
    measure: Callable[..., Mapping[str, Any]],
    origin: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The rows of all keys, each once and in their order. Those that the file does not have yet are measured and
    appended to it one by one, so that the same command resumes.

    Args:
        file: of JSON lines; its folder is created.
        keys: values that identify a row, such as {"scenario": "Video", "agent": "ppo"}.
        settings: values that all rows share, see `finished_rows`.
        measure: called with a key as keyword arguments; returns the measured values.
        origin: provenance of new rows.
    """
    import recsim_env
    from benchmarks.rows import append_rows

    file.parent.mkdir(parents=True, exist_ok=True)
    finished, rows = finished_rows(file, settings), []
    for key in {tuple(each.values()): each for each in keys}.values():
        row = next((row for row in finished if key.items() <= row.items()), None)
        if row is None:
            row = {**key, **settings, "version": recsim_env.__version__, **measure(**key), **origin}
            append_rows(file, [row])
            name = ", ".join(f"{part} {value}" for part, value in key.items())
            console().print(f"{name}: finished", highlight=False, markup=False)
        rows.append(row)
    return rows


def write_results(path: Path, text: str, picture: Callable[[], Any] | None = None) -> None:
    """Write the text to `path`.md and the picture beside it, and print the text."""
    from benchmarks.report.figures.style import write_figure
    from recsim_env.atomic_file import write_atomically

    write_atomically(path.with_name(f"{path.name}.md"), text.encode())
    if picture is not None:
        write_figure(path, picture)
    console().print(text, highlight=False, markup=False)
