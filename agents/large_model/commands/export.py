"""Export a trained model to ONNX, so that it can be served without PyTorch.

DIR gets three graphs (items to tables; a session read from one observation; the feedback to its last step, with
everything before in a cache) and model.json, which describes them. An older export in DIR is replaced; any other folder
with files is refused. The graphs are compared with PyTorch in random sessions of Video and Music with held-out users
and items; the export fails if scores in full precision differ.
"""

import argparse
import itertools

from rich.table import Table

from agents.large_model.commands.train import add_model_argument
from agents.large_model.serving.export_folder import GRAPH_NAMES, PRECISIONS, graph_file
from agents.terminal import console, not_negative, path, positive, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder; created if necessary")
    parser.add_argument(
        "--precision",
        action="append",
        choices=(*PRECISIONS, "all"),
        help="of linear layers; repeat for several, which are written beside fp32 (default: fp32)",
    )
    parser.add_argument(
        "--check",
        type=not_negative,
        default=10_000,
        metavar="N",
        help="observations in which each graph is compared with PyTorch; 0 for no comparison",
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of PyTorch")


def export(parsed: argparse.Namespace) -> int:
    import torch

    from agents.large_model.checkpoint import load_network

    try:
        from agents.large_model.export import export_network
    except ModuleNotFoundError as error:
        raise ValueError(f"needs the package {error.name}: pip install 'recsim-env[export]'") from None
    torch.set_num_threads(parsed.threads)
    screen = console()
    precisions = PRECISIONS if "all" in (parsed.precision or ()) else parsed.precision or PRECISIONS[:1]
    network = load_network(parsed.model, warn=warn)
    description = export_network(network, parsed.out, precisions=precisions, num_checked=parsed.check, log=screen.print)
    table = Table(title=f"{parsed.out}, version {description['version']}")
    for heading in ("precision", "graph", "kB", "observations", "largest difference of logits", "same best candidate"):
        table.add_column(heading, justify="left" if heading in ("precision", "graph") else "right")
    check = description.get("check", {})
    for precision, name in itertools.product(description["precisions"], GRAPH_NAMES):
        size = description["files"].get(graph_file(name, precision))
        found = check.get(precision, {}).get(name)
        figures: tuple[str, ...] = ()
        if found:
            difference, same_best = f"{found['largest_difference']:.1e}", f"{found['same_best']:.2%}"
            figures = (f"{found['num_observations']:,}", difference, same_best)
        if size:
            table.add_row(precision, name, f"{size / 1e3:,.0f}", *figures)
    screen.print(table)
    return 0
