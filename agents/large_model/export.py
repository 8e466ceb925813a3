"""Exports of a network to ONNX: graphs that ONNX Runtime executes without PyTorch (`serving.exported_model`)."""

import hashlib
import json
import logging
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

import recsim_env
from agents.large_model.checkpoint import digest_of
from agents.large_model.export_check import LARGEST_DIFFERENCE, LEAST_SAME_BEST, Agreement, agreements
from agents.large_model.graphs import GRAPHS, Graph
from agents.large_model.model import LargeModelNetwork
from agents.large_model.quantization import quantize
from agents.large_model.serving.export_folder import (
    DESCRIPTION,
    FORMAT_VERSION,
    PRECISIONS,
    graph_file,
    is_export,
)
from recsim_env.atomic_file import printable

OPSET = 18

_SIZES = {"n": 3, "U": 4, "H": 5, "M": 7, "C": 8, "P": 9, "I": 11, "D": 6, "i": 5, "W": 3, "V": 4}
"""Of the inputs that a graph is traced with: all different, and none of them 0 or 1, which would be taken as fixed."""
_MAX_BYTES = 2**31 - 2**24  # of a file of this format, without the structure of the graph


def export_network(
    network: LargeModelNetwork,
    folder: Path,
    *,
    precisions: Sequence[str] = PRECISIONS[:1],
    num_checked: int = 10_000,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Write an export of a network into `folder`, whole or not at all, in place of an older one; its description.

    Graphs in all `precisions` are compared with PyTorch in `num_checked` observations of each graph; 0 skips that.

    Raises:
        ValueError: the backbone is a language model; the folder has something else in it; or scores in full precision
            differ from PyTorch's.
    """
    if hasattr(network.backbone, "describe"):
        raise ValueError("the backbone is a language model, which cannot be exported; must be a Transformer")
    if sum(weight.nbytes for weight in network.state_dict().values()) > _MAX_BYTES:
        raise ValueError("the weights have more than 2 GB, which cannot be exported")
    precisions = [precision for precision in PRECISIONS if precision in {PRECISIONS[0], *precisions}]
    with replaced_folder(folder) as new:
        for name, kind in GRAPHS.items():
            log(f"graph {name}")
            onnx.save(onnx_of(kind(network).eval()), new / graph_file(name))
        weights = digest_of(network)
        description = {
            "format": FORMAT_VERSION,
            "version": version_of(network),
            "weights": weights,
            "versions": {
                "recsim_env": recsim_env.__version__,
                **{package.__name__: package.__version__ for package in (torch, onnx, onnxruntime)},
                "opset": OPSET,
            },
            "precisions": PRECISIONS[:1],
            "files": {},
            "settings": network.settings(),
        }
        _write_description(new, description)
        for precision in precisions[1:]:
            log(f"graphs in {precision}")
            quantize(new, precision)
        files = sorted(path.name for path in new.iterdir())
        description["precisions"] = precisions
        description["files"] = {file: (new / file).stat().st_size for file in files if file != DESCRIPTION}
        _write_description(new, description)
        if num_checked > 0:
            log(f"comparing {num_checked:,} observations with PyTorch")
            check = agreements(network, new, precisions, num_checked)
            description["check"] = {
                precision: {graph: found._asdict() for graph, found in graphs.items()}
                for precision, graphs in check.items()
            }
            _raise_for(check[PRECISIONS[0]])
            _write_description(new, description)
    return description


@torch.no_grad()
def onnx_of(graph: Graph) -> onnx.ModelProto:
    """A graph in ONNX's format, with its dynamic dimensions."""
    examples = tuple(_example(name, *kind) for name, kind in graph.inputs.items())
    graph(*examples)  # so that constants which are made once are not made of the tracer's tensors
    limit = graph.network.config.max_tokens - 1
    dimensions = {name: torch.export.Dim(name, max=limit if name in "HP" else None) for name in _SIZES}
    dynamic = tuple(
        {place: _size(size, dimensions) for place, size in enumerate(shape) if isinstance(size, str)}
        for _, shape in graph.inputs.values()
    )
    with _quiet():
        program = torch.export.export(graph, examples, dynamic_shapes={"arrays": dynamic})
        names: dict[str, Any] = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
        found = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)
    assert found is not None, "is None only where a file is written"
    model = found.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # lines of source code, half of the file
    model.graph.ClearField("value_info")
    _name_dimensions(model, graph)
    return model


def _name_dimensions(model: onnx.ModelProto, graph: Graph) -> None:
    """Give dynamic dimensions the names that `graph` has for them; the exporter numbers them."""
    names = {}
    for value, (_, shape) in zip(model.graph.input, graph.inputs.values(), strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if isinstance(size, str):
                names[dimension.dim_param] = size
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = names.get(dimension.dim_param, dimension.dim_param)


def _example(name: str, dtype: torch.dtype, shape: tuple[int | str, ...]) -> torch.Tensor:
    sizes = [_size(size, _SIZES) for size in shape]
    if dtype.is_floating_point:
        return torch.rand(sizes, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return torch.full(sizes, int(name in ("slate_size", "session_length")), dtype=dtype)


def _size(size: int | str, sizes: Mapping[str, Any]) -> Any:
    """A size of `graphs.Shape` where those of named dimensions are `sizes`."""
    if isinstance(size, int):
        return size
    *parts, name = size.split()
    if not parts:
        return sizes[name]
    return int(parts[0]) * sizes[name] if parts[1] == "*" else int(parts[0]) + sizes[name]


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder, which takes the place of `folder` when the block ends without an error, and is deleted otherwise.

    `folder` is as it was before if the new one cannot take its place.

    Raises:
        ValueError: `folder` is neither missing, nor empty, nor an export.
        OSError: it cannot be written.
    """
    if folder.exists() and not is_export(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{printable(folder)}: exists, and is no export; must be a new folder or an export")
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.{kind}") for kind in ("new", "old"))
    try:
        new.mkdir(parents=True)
    except OSError as error:
        raise OSError(f"{printable(folder)}: cannot be written ({error.strerror})") from None
    try:
        yield new
        try:
            if folder.exists():
                os.rename(folder, old)
            os.rename(new, folder)
        except BaseException:
            if old.exists() and not folder.exists():
                os.rename(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _raise_for(graphs: Mapping[str, Agreement]) -> None:
    """`ValueError` unless scores in full precision are PyTorch's."""
    for name, found in graphs.items():
        if not found.is_close:
            raise ValueError(
                f"the graph {name} differs from PyTorch: logits by up to {found.largest_difference:.2g} (at most "
                f"{LARGEST_DIFFERENCE} is allowed), the best candidate is the same in {found.same_best:.2%} of "
                f"observations (at least {LEAST_SAME_BEST:.1%})"
            )


def _write_description(folder: Path, description: Mapping[str, Any]) -> None:
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def version_of(network: LargeModelNetwork) -> str:
    """The `version` of an export of the network: a short digest of its weights and of the format."""
    return hashlib.sha256(f"{FORMAT_VERSION} {digest_of(network)}".encode()).hexdigest()[:12]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings: problems are raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
