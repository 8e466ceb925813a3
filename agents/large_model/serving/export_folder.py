"""The folder that `python -m agents.large_model export` writes: graphs, and a description that is read first."""

import json
from pathlib import Path
from typing import Any

from agents.large_model.config import INPUT_VERSION

DESCRIPTION = "model.json"
FORMAT_VERSION = 1
"""Raised when inputs or outputs of the graphs change: older exports are refused."""

PRECISIONS = ("fp32", "int8-dynamic", "int8-static")
"""Of the weights of linear layers: as trained; or quantised, with the scales of activations measured in each call, or
once on calibration data."""

GRAPH_NAMES = ITEMS, START, STEP = "items", "start", "step"
"""The graph of items is there in `fp32` alone."""


def graph_file(name: str, precision: str = "fp32") -> str:
    """The name of a graph's file."""
    return f"{name}.onnx" if precision == "fp32" else f"{name}.{precision}.onnx"


def graph_files(precision: str) -> list[str]:
    """The names of the files that serve a model in that precision."""
    return [graph_file(ITEMS), *(graph_file(name, precision) for name in (START, STEP))]


def is_export(folder: Path) -> bool:
    """Whether there is an export, whole or damaged, in a folder."""
    return (folder / DESCRIPTION).is_file()


def read_description(folder: Path) -> dict[str, Any]:
    """`model.json` of an export.

    Raises:
        ValueError: the folder is no export, is damaged, or is not of this version; one line.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        files, versions = description["files"], (description["format"], description["settings"]["input_version"])
    except (OSError, ValueError, LookupError, TypeError):
        raise ValueError(f"{folder}: not an exported model; must be written by `export --out`") from None
    present = FORMAT_VERSION, INPUT_VERSION
    if versions != present:
        found, needed = (f"{form} with inputs of version {inputs}" for form, inputs in (versions, present))
        raise ValueError(f"{folder}: an export of format {found}, must be {needed}; export the model again")
    for name, size in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise ValueError(f"{file}: damaged (must have {size} bytes); export the model again")
    return description
