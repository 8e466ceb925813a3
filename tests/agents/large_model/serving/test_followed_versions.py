"""A running server changes the version of its model without an error, and goes on if a version cannot be used."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_in_exports import networks, stand_in_exports  # noqa: F401 (a fixture)
from stand_in_model import URL, StandInModel, begin, catalog_of, recommend, recommender_with, respond
from starlette.testclient import TestClient

from agents.large_model.__main__ import main
from agents.large_model.export import version_of
from agents.large_model.serving.app import create_app
from agents.large_model.serving.followed_versions import FollowedVersions
from agents.large_model.serving.model_versions import STATE, ModelVersions
from agents.large_model.serving.requests import Feedback, NewSession, RecommendationRequest

pytestmark = pytest.mark.usefixtures("stand_in_exports")

NETWORKS = networks(3)
A, B, C = map(version_of, NETWORKS)
SETTINGS = {"versions_poll_seconds": 0.02, "exploration": 0.0}
PATIENCE = 30.0  # seconds


@pytest.fixture(scope="module")
def catalog():
    return catalog_of(session_length=4, history_length=3)


@pytest.fixture
def versions(tmp_path) -> ModelVersions:
    """A is published, B and C are there."""
    found = ModelVersions.create(tmp_path / "models", NETWORKS[0])
    for network in NETWORKS[1:]:
        found.add(network)
    return found


def load(folder: Path) -> StandInModel:
    return StandInModel(folder.name)


class Server:
    """A server that follows versions, as a context."""

    def __init__(self, folder: Path, catalog: Any, versions: ModelVersions, load: Callable[[Path], Any] = load) -> None:
        self.lines: list[str] = []
        followed = FollowedVersions(versions, load, self.lines.append)
        self.recommender = recommender_with(folder, catalog, followed.published_model(), **SETTINGS)
        self.client = TestClient(create_app(self.recommender, followed=followed), base_url=URL)

    def __enter__(self) -> "Server":
        self.client.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.client.__exit__(*error)

    @property
    def version(self) -> str:
        return self.client.get("/healthz").json()["model"]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.01)

    def metric(self, name: str) -> str:
        (line,) = (line for line in self.client.get("/metrics").text.splitlines() if line.startswith(name))
        return line.removeprefix(name)


@pytest.fixture
def server(tmp_path, catalog, versions):
    with Server(tmp_path, catalog, versions) as server:
        yield server


def test_a_version_is_used_soon_after_it_is_published(server, versions):
    assert server.version == A
    session = begin(server.client)
    first = recommend(server.client, session)
    respond(server.client, session, first, click=1)
    versions.publish(B, "better in the log")
    server.wait_for(lambda: server.version == B)
    second = recommend(server.client, session)
    assert (first["model"], second["model"]) == (A, B)
    stored = server.client.get(f"/sessions/{session}").json()["recommendations"]
    assert [each["model"] for each in stored] == [A, B]
    assert server.lines == [f"version {B} is in use in place of {A} (better in the log)"]
    assert server.metric("recsim_model_info") == f'{{version="{B}"}} 1.0'
    assert server.metric("recsim_model_swaps_total") == " 1.0"


def test_a_roll_back_takes_effect_in_a_running_server(server, versions, capsys):
    versions.publish(B, "")
    server.wait_for(lambda: server.version == B)
    assert main(["rollback", "--models", str(versions.folder)]) == 0
    server.wait_for(lambda: server.version == A)
    assert recommend(server.client, begin(server.client))["model"] == A
    assert server.lines[-1] == f"version {A} is in use in place of {B} (roll-back from {B})"


def test_sessions_continue_as_if_the_server_had_started_with_the_new_version(tmp_path, catalog, versions):
    def answers(client, sessions: list[str]) -> list[list]:
        found = [recommend(client, session, num_items=1 + n, explain=True) for n, session in enumerate(sessions)]
        return [[each["model"], each["items"]] for each in found]

    with Server(tmp_path, catalog, versions) as server:
        sessions = [begin(server.client, person="ada"), begin(server.client), begin(server.client, agent="platform")]
        for step in range(6):
            for session in sessions:
                shown = recommend(server.client, session, num_items=1 + step % 3)
                respond(server.client, session, shown, click=step % 2, rating=1.0 + step % 5)
        before = answers(server.client, sessions)
        versions.publish(B, "")
        server.wait_for(lambda: server.version == B)
        after = answers(server.client, sessions)
    with Server(tmp_path, catalog, versions) as server:
        restarted = answers(server.client, sessions)
    assert after == restarted
    assert [one[1] != other[1] for one, other in zip(before, after, strict=True)] == [True, True, False]


def test_requests_under_load_see_no_error_while_versions_change(tmp_path, catalog, versions):
    lines: list[str] = []
    followed = FollowedVersions(versions, load, lines.append)
    recommender = recommender_with(tmp_path, catalog, followed.published_model(), **SETTINGS)

    async def play(name: str, used: list[str]) -> None:
        """Until the last version is in use."""
        while not used or used[-1] != C:
            shown = await recommender.recommend(name, RecommendationRequest(num_items=2, explain=len(used) % 3 == 0))
            used.append(shown.model)
            answer = {"item": shown.items[0].item, "click": True, "rating": 3.0}
            request = {"recommendation": shown.recommendation, "items": [answer]}
            await recommender.add_feedback(name, Feedback.model_validate(request))

    async def run() -> list[tuple[list[str], list[str]]]:
        following = asyncio.create_task(followed.follow(recommender))
        names = [(await recommender.create_session(NewSession())).session for _ in range(8)]
        used: list[list[str]] = [[] for _ in names]
        playing = asyncio.gather(*map(play, names, used))
        for version in (B, C):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(versions.publish, version, "")
        await asyncio.wait_for(playing, PATIENCE)
        stored = [(await recommender.everything_of(name))["recommendations"] for name in names]
        following.cancel()
        await recommender.close()
        return [(own, [each["model"] for each in rows]) for own, rows in zip(used, stored, strict=True)]

    for used, stored in asyncio.run(run()):
        assert stored == used
        assert used == sorted(used, key=[A, B, C].index)
        assert set(used) == {A, B, C}
    assert len(lines) == 2


def test_a_request_finishes_with_the_version_it_began_with(tmp_path, catalog, versions):
    may_score = threading.Event()

    class Slow(StandInModel):
        def start(self, *arguments: Any) -> Any:
            assert may_score.wait(PATIENCE)
            return super().start(*arguments)

    def load_slowly(folder: Path) -> StandInModel:
        return Slow(folder.name) if folder.name == A else StandInModel(folder.name)

    followed = FollowedVersions(versions, load_slowly, lambda line: None)
    recommender = recommender_with(tmp_path, catalog, followed.published_model(), **SETTINGS)

    async def run() -> tuple[str, str]:
        following = asyncio.create_task(followed.follow(recommender))
        name = (await recommender.create_session(NewSession())).session
        request = asyncio.create_task(recommender.recommend(name, RecommendationRequest(explain=True)))
        await asyncio.sleep(0.05)
        versions.publish(B, "")
        while recommender.version != B:
            await asyncio.sleep(0.01)
        may_score.set()
        first, second = await request, await recommender.recommend(name, RecommendationRequest())
        following.cancel()
        await recommender.close()
        return first.model, second.model

    assert asyncio.run(run()) == (A, B)


def test_requests_are_answered_while_a_version_loads(tmp_path, catalog, versions):
    may_load = threading.Event()

    def load_slowly(folder: Path) -> StandInModel:
        assert folder.name == A or may_load.wait(PATIENCE)
        return load(folder)

    with Server(tmp_path, catalog, versions, load_slowly) as server:
        versions.publish(B, "")
        session = begin(server.client)
        for _ in range(20):
            assert recommend(server.client, session)["model"] == A
        may_load.set()
        server.wait_for(lambda: recommend(server.client, session)["model"] == B)


def test_a_version_that_does_not_load_is_refused_and_the_next_one_used(tmp_path, catalog, versions):
    def load_but_one(folder: Path) -> StandInModel:
        if folder.name == B:
            raise ValueError("start.onnx: damaged\n(in two lines)")
        return load(folder)

    with Server(tmp_path, catalog, versions, load_but_one) as server:
        versions.publish(B, "")
        server.wait_for(lambda: bool(server.lines))
        time.sleep(5 * SETTINGS["versions_poll_seconds"])
        assert server.lines == [f"version {B} is refused, {A} stays in use: start.onnx: damaged (in two lines)"]
        assert recommend(server.client, begin(server.client))["model"] == server.version == A
        assert server.metric("recsim_model_refusals_total") == " 1.0"
        versions.publish(C, "")
        server.wait_for(lambda: server.version == C)
        assert server.metric("recsim_model_swaps_total") == " 1.0"


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [("max_tokens", 500, "at most 500 tokens, must be at least 1001"), ("version", "other", "that of version other")],
)
def test_a_version_that_does_not_fit_is_refused(tmp_path, catalog, versions, attribute, value, problem):
    def load_unfit(folder: Path) -> StandInModel:
        model = load(folder)
        if folder.name == B:
            setattr(model, attribute, value)
        return model

    with Server(tmp_path, catalog, versions, load_unfit) as server:
        versions.publish(B, "")
        server.wait_for(lambda: bool(server.lines))
        assert problem in server.lines[0]
        assert server.version == A


def test_a_server_goes_on_while_the_folder_cannot_be_read(server, versions):
    state = (versions.folder / STATE).read_bytes()
    (versions.folder / STATE).write_text("damaged")
    server.wait_for(lambda: bool(server.lines))
    assert server.version == A
    (versions.folder / STATE).write_bytes(state)
    versions.publish(B, "")
    server.wait_for(lambda: server.version == B)
    assert [line.partition(":")[0] for line in server.lines][:-1] == ["versions"]


def test_simulated_visits_go_on_with_the_new_version(tmp_path, versions):
    with Server(tmp_path, catalog_of(), versions) as server:
        visit = server.client.post("/simulated-visits", json={"seed": 3}).json()["visit"]
        steps = [server.client.post(f"/simulated-visits/{visit}/step") for _ in range(2)]
        versions.publish(B, "")
        server.wait_for(lambda: server.version == B)
        steps += [server.client.post(f"/simulated-visits/{visit}/step") for _ in range(2)]
    assert [(step.status_code, step.json()["step"]) for step in steps] == [(200, n) for n in range(4)]
