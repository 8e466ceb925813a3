"""List the versions of a model in a folder, and which of them is published.

--create makes the folder, with an export of a model as the first version, which is published. `serve --model DIR`
serves the published version; `rollback` publishes an earlier one again. --json also has the evidence: results with
which versions were added and published.
"""

import argparse
import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.table import Table

from agents.terminal import console, path, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=path, required=True, metavar="DIR", help="folder of versions")
    parser.add_argument(
        "--create",
        type=path,
        metavar="MODEL",
        help="create the folder from a model by train --out or save, or pretrained",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def versions(parsed: argparse.Namespace) -> int:
    from agents.large_model.serving.model_versions import ModelVersions

    found = _created(parsed) if parsed.create else ModelVersions(parsed.models)
    if parsed.json:
        print(json.dumps(_description(found)))
    else:
        console().print(_table(found))
    return 0


def _created(parsed: argparse.Namespace) -> Any:
    from agents.large_model.checkpoint import load_network
    from agents.large_model.serving.model_versions import ModelVersions

    network = load_network(parsed.create, warn=warn)
    warn(f"exporting {parsed.create} into {parsed.models}, which takes minutes")
    try:
        return ModelVersions.create(parsed.models, network)
    except ModuleNotFoundError as error:
        raise ValueError(f"--create needs the package {error.name}: pip install 'recsim-env[export]'") from None


def _description(found: Any) -> dict[str, Any]:
    return {
        "published": found.published,
        "versions": [
            {"version": each, "is_withdrawn": found.is_withdrawn(each), "evidence": found.evidence_of(each)}
            for each in found.versions
        ],
        "history": [asdict(each) for each in found.history],
    }


def _table(found: Any) -> Table:
    """The changes of the published version, oldest first; then the versions that have never been published."""
    table = Table(title=f"{found.folder}, version {found.published} is published")
    for heading in ("version", "published", "reason", "now"):
        table.add_column(heading)
    history, versions = found.history, found.versions
    for number, each in enumerate(history, 1):
        now = "withdrawn" if found.is_withdrawn(each.version) else "" if each.version in versions else "deleted"
        time = datetime.fromtimestamp(each.time).isoformat(" ", "seconds")
        table.add_row(each.version, time, each.reason, "published" if number == len(history) else now)
    for version in versions:
        if version not in {each.version for each in history}:
            table.add_row(version, "never", "", "")
    return table
