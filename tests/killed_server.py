"""A server that is killed under load again and again: what it has acknowledged must be there afterwards.

`PYTHONPATH=.:tests python tests/killed_server.py 50` does so 50 times.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conftest import CHECKOUT

_NUM_CLIENTS = 4
_SERVER = """
import json
import sys
from pathlib import Path
from stand_in_model import catalog_of, recommender_with
from agents.large_model.serving.app import create_app, listen, run

folder, env_id, token, settings = Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None, json.loads(sys.argv[4])
recommender = recommender_with(folder, catalog_of(env_id), **settings)
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
run(create_app(recommender, token=token), listener)
"""


class Client:
    """Asks a server over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, request: Any = None) -> Any:
        """The answer as JSON; `OSError` or `HTTPException` if there is none, `ValueError` if it is refused."""
        body = None if request is None else json.dumps(request)
        self._connection.request(method, path, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise ValueError(f"{answer.status}: {content!r}")
        return json.loads(content)


def start(
    folder: Path,
    env_id: str = "recsim_env/Video-v0",
    token: str = "",
    settings: Mapping[str, int] | None = None,
    stderr: Any = None,
) -> tuple[subprocess.Popen, int]:
    """A server with these fields of its `ServingConfig`, and its port."""
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"}
    command = [sys.executable, "-c", _SERVER, str(folder), env_id, token, json.dumps(settings or {})]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    assert server.stdout is not None
    return server, int(server.stdout.readline())


def load(port: int, seed: int, acknowledged: dict[str, dict[int, list]]) -> None:
    """Play sessions until the server is gone; `acknowledged` gets the feedback to each recommendation of a session."""
    client, generator = Client(port), random.Random(seed)
    try:
        while True:
            session = client.ask("POST", "/sessions", {})["session"]
            for _ in range(5):
                shown = client.ask("POST", f"/sessions/{session}/recommendations", {"num_items": 2})
                items = [
                    {"item": each["item"], "click": generator.random() < 0.5, "rating": generator.randrange(6)}
                    for each in shown["items"]
                ]
                feedback = {"recommendation": shown["recommendation"], "items": items}
                client.ask("POST", f"/sessions/{session}/feedback", feedback)
                acknowledged.setdefault(session, {})[shown["recommendation"]] = items
    except (OSError, http.client.HTTPException):
        return


def lost(port: int, acknowledged: dict[str, dict[int, list]]) -> int:
    """Acknowledged feedback that the server does not have."""
    client, number = Client(port), 0
    for session, expected in acknowledged.items():
        try:
            stored = client.ask("GET", f"/sessions/{session}")["recommendations"]
        except ValueError:
            number += len(expected)
            continue
        found = {
            each["recommendation"]: [
                {"item": it["item"], "click": bool(it["click"]), "rating": it["rating"]} for it in each["feedback"]
            ]
            for each in stored
            if each["feedback"] is not None
        }
        number += sum(found.get(recommendation) != items for recommendation, items in expected.items())
    return number


def kill_again_and_again(folder: Path, num_rounds: int, seed: int = 0) -> list[tuple[int, int]]:
    """Acknowledged and lost feedback of each round."""
    generator, rounds = random.Random(seed), []
    server, port = start(folder)
    try:
        for number in range(num_rounds):
            acknowledged: dict[str, dict[int, list]] = {}
            clients = [
                threading.Thread(target=load, args=(port, 100 * number + n, acknowledged)) for n in range(_NUM_CLIENTS)
            ]
            for client in clients:
                client.start()
            while not acknowledged:
                time.sleep(0.01)
            time.sleep(generator.uniform(0.0, 0.6))
            server.send_signal(signal.SIGKILL)
            server.wait()
            for client in clients:
                client.join()
            server, port = start(folder)
            rounds.append((sum(map(len, acknowledged.values())), lost(port, acknowledged)))
    finally:
        server.kill()
        server.wait()
    return rounds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        results = kill_again_and_again(Path(place), int(sys.argv[1]))
    print(f"{len(results)} kills, {sum(n for n, _ in results):,} acknowledged, {sum(n for _, n in results)} lost")
