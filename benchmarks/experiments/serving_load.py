"""The time of recommendations over HTTP, for one session and for many side by side.

`python -m benchmarks.experiments.serving_load --out DIR`. A server of the pretrained model, or of an export, runs in a
process of its own on the loopback interface. Sessions ask for a recommendation, send the feedback to it, and so on
without a pause, each over one connection; the catalogue has 10,000 items that are all available. Some requests name
100 random candidates, the others none, which is all items. Writes serving_load.jsonl, with a row for each number of
sessions, number of candidates and endpoint.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from agents.large_model.config import PRETRAINED
from agents.terminal import console, number_in, path, positive
from benchmarks.experiments.script import make_parser, run_script

NUM_ITEMS = 10_000
NUM_SESSIONS, NUM_CANDIDATES = (1, 8, 64), (100, NUM_ITEMS)
ENDPOINTS = ("recommendations", "feedback")
_PERCENTILES = (50, 95, 99)
_WARM_UP = 0.2  # share of the time, in addition, that is not measured


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("serving_load", __doc__)
    parser.add_argument(
        "--model", type=path, default=PRETRAINED, metavar="PATH", help="an export, or a model to export"
    )
    parser.add_argument("--seconds", type=number_in(float, 0.1, 3_600.0), default=10.0, metavar="X", help="of each row")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of the model")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import recsim_env
    from agents.large_model.commands.serve import exported
    from agents.large_model.serving.app import listen
    from benchmarks.rows import write_rows

    rows: list[dict[str, Any]] = []
    parsed.out.mkdir(parents=True, exist_ok=True)
    with listen("127.0.0.1", 0) as listener, tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        arguments = (listener, Path(folder), exported(parsed.model), parsed.threads, ready)
        server = context.Process(target=serve, args=arguments, daemon=True)
        server.start()
        try:
            while not ready.wait(0.1):
                if not server.is_alive():
                    raise ValueError("the server has failed")
            for num_candidates in NUM_CANDIDATES:
                for num_sessions in NUM_SESSIONS:
                    sizes = {"num_sessions": num_sessions, "num_candidates": num_candidates}
                    times, lasted = measure(listener.getsockname()[1], num_sessions, num_candidates, parsed.seconds)
                    for endpoint, seconds in times.items():
                        row = {**sizes, "endpoint": endpoint, "requests_per_s": len(seconds) / lasted}
                        values = np.percentile(seconds, _PERCENTILES) * 1e3
                        row |= {f"p{share}_ms": float(it) for share, it in zip(_PERCENTILES, values, strict=True)}
                        rows.append({**row, "version": recsim_env.__version__, **origin})
                    write_rows(parsed.out / "serving_load.jsonl", rows)
        finally:
            server.terminate()
            server.join()
    console().print(table(rows))


def serve(listener: socket.socket, folder: Path, export: Path, num_threads: int, ready: Any) -> None:
    """Run the server, in a process of its own."""
    from agents.large_model.env import make_env
    from agents.large_model.serving.app import create_app, run
    from agents.large_model.serving.catalog import ServedCatalog
    from agents.large_model.serving.config import ServingConfig
    from agents.large_model.serving.database import Database
    from agents.large_model.serving.exported_model import ExportedModel
    from agents.large_model.serving.recommender import Recommender
    from agents.large_model.serving.served_model import ServedModel

    env_id, model = "recsim_env/Video-v0", ExportedModel(export, num_threads=num_threads)
    arguments = {"overrides": {"catalog": {"num_items": NUM_ITEMS, "arrivals_per_step": 0.0}}}
    simulator = make_env(env_id, 1, **arguments).simulator
    served, catalog = ServedModel.of(model, simulator), ServedCatalog(simulator, env_id, arguments)
    config = ServingConfig(requests_per_second=1_000_000, max_sessions_of_person=1_000_000, max_session_length=10**9)
    app = create_app(
        Recommender(served, catalog, Database(folder / "served.sqlite", catalog.fingerprint, catalog.about), config)
    )
    ready.set()
    run(app, listener)


def measure(port: int, num_sessions: int, num_candidates: int, seconds: float) -> tuple[dict[str, list[float]], float]:
    """Seconds of each request, by endpoint, and those until the last answer to a request that began in time."""
    times: dict[str, list[float]] = {endpoint: [] for endpoint in ENDPOINTS}
    start = time.perf_counter() + _WARM_UP * seconds
    arguments = (port, num_candidates, start, start + seconds, times)
    sessions = [threading.Thread(target=_play, args=(seed, *arguments)) for seed in range(num_sessions)]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join()
    return times, time.perf_counter() - start


def _play(seed: int, port: int, num_candidates: int, start: float, end: float, times: dict[str, list[float]]) -> None:
    """Play one session; requests that begin between two times are noted."""
    generator, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", port)

    def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
        body, began = json.dumps(request), time.perf_counter()
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        content, ended = answer.read(), time.perf_counter()
        if answer.status >= 300:
            raise ValueError(f"{path}: {answer.status} {content.decode()}")
        endpoint = path.rpartition("/")[2]
        if endpoint in times and start <= began:
            times[endpoint].append(ended - began)
        return json.loads(content)

    session = ask("/sessions", {})["session"]
    while time.perf_counter() < end:
        candidates = generator.sample(range(NUM_ITEMS), num_candidates) if num_candidates < NUM_ITEMS else None
        shown = ask(f"/sessions/{session}/recommendations", {} if candidates is None else {"candidates": candidates})
        is_clicked = generator.random() < 1 / 3
        item = {"item": shown["items"][0]["item"], "click": is_clicked}
        item |= {"consumption": generator.random(), "rating": generator.randrange(1, 6)} if is_clicked else {}
        ask(f"/sessions/{session}/feedback", {"recommendation": shown["recommendation"], "items": [item]})


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows for people."""
    figures = ("requests_per_s", *(f"p{share}_ms" for share in _PERCENTILES))
    found = Table(title="Requests over HTTP on the loopback interface")
    for heading in ("candidates", "sessions", "endpoint", "requests/s", *(f"p{share}, ms" for share in _PERCENTILES)):
        found.add_column(heading, justify="left" if heading == "endpoint" else "right")
    for row in rows:
        cells = (f"{row[name]:,.1f}" for name in figures)
        found.add_row(f"{row['num_candidates']:,}", str(row["num_sessions"]), row["endpoint"], *cells)
    return found


if __name__ == "__main__":
    sys.exit(main())
