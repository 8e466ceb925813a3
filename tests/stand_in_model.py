"""A server around a stand-in for the exported model, whose scores are hashes of an item and of all that was read; and
versions of it."""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from starlette.testclient import TestClient

from agents.large_model.env import make_env
from agents.large_model.serving.app import create_app
from agents.large_model.serving.catalog import ServedCatalog
from agents.large_model.serving.config import ServingConfig
from agents.large_model.serving.database import Database
from agents.large_model.serving.recommender import Recommender
from agents.large_model.serving.served_model import ServedModel
from recsim_env.simulation.observation import FEEDBACK

SMALL = {"catalog": {"num_items": 400, "item_lifetime": 300}}
"""Worlds that are drawn quickly; their sessions start before the last items are released."""

URL = "http://127.0.0.1"


DATABASE = "served.sqlite"


class Scores(NamedTuple):
    logits: np.ndarray
    scores: np.ndarray
    expected_rewards: np.ndarray


class Session(NamedTuple):
    digest: int
    candidates: np.ndarray
    num_bytes: int = 1_000


class StandInModel:
    """Reads a history at once or step by step, which gives other scores, as in the large model: it notices whether an
    item was a candidate in the step before."""

    max_tokens = 1_001

    def __init__(self, version: str = "stand-in") -> None:
        self.version = version
        self.batch_sizes: list[int] = []

    def catalog(self, simulator: Any) -> None:
        """No tables: it reads observations alone."""

    def start(self, tables: Any, observations: dict[str, np.ndarray]) -> tuple[Scores, list[Session]]:
        return self._read(
            observations, [Session(zlib.crc32(self.version.encode()), np.zeros(0))] * len(observations["user"]), None
        )

    def step(
        self, tables: Any, sessions: list[Session], observations: dict[str, np.ndarray], num_shown: np.ndarray
    ) -> tuple[Scores, list[Session]]:
        return self._read(observations, sessions, num_shown)

    def _read(self, observations, sessions, num_shown) -> tuple[Scores, list[Session]]:
        number, width = observations["candidate_items"].shape
        self.batch_sizes.append(number)
        scores, read = np.full((number, width), -1e9, np.float32), []
        for n, session in enumerate(sessions):
            user, items, rows, candidates, relevance, time = (part[n] for part in observations.values())
            items, candidates = items[items >= 0], candidates[candidates >= 0]
            num_new = len(items) if num_shown is None else int(num_shown[n])
            assert num_new <= len(items)
            rows, relevance = rows.reshape(-1, len(FEEDBACK)), relevance.reshape(-1, 3)[: len(candidates)]
            digest = session.digest if num_shown is not None else zlib.crc32(user.tobytes(), session.digest)
            for item, row in zip(items[:num_new][::-1], rows[:num_new][::-1], strict=True):
                digest = zlib.crc32(bytes([item in session.candidates]), digest)
                digest = zlib.crc32(row.tobytes(), zlib.crc32(str(item).encode(), digest))
            seen = zlib.crc32(user.tobytes() + time.tobytes(), digest)
            hashes = [zlib.crc32(str(item).encode(), seen) / 2**32 for item in candidates]
            scores[n, : len(candidates)] = np.array(hashes) + 0.1 * relevance[:, 0]
            read.append(Session(digest, candidates))
        return Scores(scores, 2.0 * scores, 0.5 * scores), read


def catalog_of(env_id: str = "recsim_env/Video-v0", **arguments: Any) -> ServedCatalog:
    arguments = {"catalog_seed": 5, "overrides": SMALL, **arguments}
    return ServedCatalog(make_env(env_id, 1, **arguments).simulator, env_id, arguments)


def recommender_with(folder: Path, catalog: ServedCatalog, model: Any = None, **settings: Any) -> Recommender:
    config = ServingConfig(**{"requests_per_second": 1_000_000, **settings})
    database = Database(folder / DATABASE, catalog.fingerprint, catalog.about)
    return Recommender(ServedModel.of(model or StandInModel(), catalog.simulator), catalog, database, config)


def client_with(
    folder: Path, catalog: ServedCatalog, token: str | None = None, loopback_only: bool = True, **settings: Any
) -> TestClient:
    """Use it as a context: the end of the context is that of the server."""
    recommender = recommender_with(folder, catalog, **settings)
    app = create_app(recommender, token=token, loopback_only=loopback_only)
    return TestClient(app, base_url=URL)


def begin(client, **request) -> str:
    answer = client.post("/sessions", json=request)
    assert answer.status_code == 201, answer.text
    return answer.json()["session"]


def recommend(client, session: str, **request) -> dict:
    answer = client.post(f"/sessions/{session}/recommendations", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def respond(client, session: str, recommendation: dict, **feedback):
    items = [{"item": recommendation["items"][0]["item"], **feedback}]
    request = {"recommendation": recommendation["recommendation"], "items": items}
    return client.post(f"/sessions/{session}/feedback", json=request)
