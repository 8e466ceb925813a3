"""Recommend to people over HTTP.

The items are those of an env, or of a table (--items). Serves an exported model (`export --out DIR`) without torch;
another model is exported first. Of a folder of versions (`versions --create`) it serves the published one, and changes
while it runs when another is published or rolled back to (`rollback`). People, sessions, recommendations with their
propensities and feedback are stored in --database, in SQLite; `served-log` writes a log of them. Beyond this machine
(--host) a token is required: the environment variable RECSIM_TOKEN, which clients send as `Authorization: Bearer`.
/openapi.json describes the requests.
"""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from agents.large_model.commands.evaluate import CATALOG_SEED
from agents.large_model.commands.train import add_model_argument, add_world_argument, world_arguments
from agents.large_model.serving.config import ServingConfig
from agents.terminal import add_config_arguments, config_from, not_negative, number_in, path, positive, warn
from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.scenarios import ITEMS
from recsim_env.world.splits import SPLITS

TOKEN = "RECSIM_TOKEN"

_NUM_CHECKED = 200  # observations in which an export is compared with PyTorch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, "folder of an export or of versions, or a model to export")
    parser.add_argument("--precision", default="fp32", metavar="NAME", help="of the export")
    parser.add_argument("--env", default="recsim_env/Video-v0", metavar="ID", help="whose items are recommended")
    parser.add_argument(
        "--items", type=path, metavar="FILE", help="instead: a table of items (columns: docs/serving.md)"
    )
    add_world_argument(parser)
    parser.add_argument("--split", choices=SPLITS, default="all", help="of the items")
    parser.add_argument("--catalog-seed", type=not_negative, default=CATALOG_SEED, metavar="S", help="of the catalogue")
    parser.add_argument(
        "--slate", type=number_in(int, 1, MAX_SLATE_SIZE), metavar="N", help="items to show (default: as in the env)"
    )
    parser.add_argument("--database", type=path, default=Path("served.sqlite"), metavar="FILE", help="what is stored")
    parser.add_argument("--host", default="127.0.0.1", metavar="NAME", help="name or address to listen at")
    parser.add_argument("--port", type=number_in(int, 0, 65_535), default=8_000, metavar="N", help="0 for any")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of the model")
    add_config_arguments(parser, ServingConfig)


def serve(parsed: argparse.Namespace) -> int:
    from agents.large_model.serving.limits import is_loopback

    config, token = config_from(parsed, ServingConfig), os.environ.get(TOKEN) or None
    if token is None and not is_loopback(parsed.host):
        raise ValueError(f"--host {parsed.host}: is not of this machine alone; set {TOKEN} to the token of its clients")
    from agents.large_model.serving.app import create_app, listen, run
    from agents.large_model.serving.database import Database
    from agents.large_model.serving.recommender import Recommender
    from agents.large_model.serving.served_model import ServedModel

    with listen(parsed.host, parsed.port) as listener:
        model, followed = _model(parsed)
        catalog = _catalog(parsed)
        served = ServedModel.of(model, catalog.simulator)
        database = Database(parsed.database, catalog.fingerprint, catalog.about)
        recommender = Recommender(served, catalog, database, config)
        app = create_app(recommender, followed=followed, token=token, loopback_only=is_loopback(parsed.host))
        host, port = listener.getsockname()[:2]
        warn(f"{len(catalog):,} items of {parsed.items or parsed.env}, model {model.version}, at http://{host}:{port}")
        try:
            run(app, listener)
        except KeyboardInterrupt:  # which it raises again after it has ended its work
            warn("stopped")
    return 0


def _model(parsed: argparse.Namespace) -> tuple[Any, Any]:
    """The model, and the versions to follow, if it is one of several."""
    from agents.large_model.serving.exported_model import ExportedModel
    from agents.large_model.serving.followed_versions import FollowedVersions
    from agents.large_model.serving.model_versions import ModelVersions, is_versions_folder

    load = partial(ExportedModel, precision=parsed.precision, num_threads=parsed.threads)
    if not is_versions_folder(parsed.model):
        return load(exported(parsed.model)), None
    followed = FollowedVersions(ModelVersions(parsed.model), load, warn)
    return followed.published_model(), followed


def _catalog(parsed: argparse.Namespace) -> Any:
    from agents.large_model.env import items_env, make_env
    from agents.large_model.serving.catalog import ServedCatalog

    if parsed.items:
        env = items_env(parsed.items, parsed.slate or 1)
        arguments = {"world": str(parsed.items), "slate_size": parsed.slate or 1}
        return ServedCatalog(env.simulator, ITEMS.name, arguments)
    arguments = {"split": parsed.split, "catalog_seed": parsed.catalog_seed, **world_arguments(parsed)}
    arguments |= {"slate_size": parsed.slate} if parsed.slate else {}
    env = make_env(parsed.env, 1, **arguments)
    return ServedCatalog(env.simulator, parsed.env, arguments)


def exported(path: Path) -> Path:
    """The folder of an exported model; other models are exported first, into a cache ($RECSIM_CACHE, or
    ~/.cache/recsim_env).

    Raises:
        ValueError: there is no such model, or PyTorch is missing, by which it could be exported; one line.
    """
    from agents.large_model.serving.export_folder import DESCRIPTION

    if (path / DESCRIPTION).is_file():
        return path
    try:
        from agents.large_model.checkpoint import load_network
        from agents.large_model.export import export_network, version_of
    except ImportError as error:
        raise ValueError(
            f"{path}: is not an exported model, and cannot be exported here ({error}); "
            "must be written by `export --out` where PyTorch is installed"
        ) from None
    network = load_network(path, warn=warn)
    cache = Path(os.environ.get("RECSIM_CACHE") or Path.home() / ".cache" / "recsim_env")
    folder = cache / f"exported-{version_of(network)}"
    if not (folder / DESCRIPTION).is_file():
        warn(f"exporting {path} into {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        export_network(network, folder, num_checked=_NUM_CHECKED)
    return folder
