"""The endpoints of a server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import recsim_env
from agents.large_model.serving.database import ConflictError, NotFoundError, TooManyError
from agents.large_model.serving.database_thread import UnavailableError
from agents.large_model.serving.followed_versions import FollowedVersions
from agents.large_model.serving.limits import Limits
from agents.large_model.serving.media import png, wav
from agents.large_model.serving.metrics import CONTENT_TYPE, MeasuredRequests
from agents.large_model.serving.page_files import add_page
from agents.large_model.serving.recommender import Recommender
from agents.large_model.serving.requests import (
    Catalog,
    Comparison,
    Feedback,
    FeedbackReceipt,
    InvalidRequestError,
    Item,
    NewSession,
    NewSimulatedVisit,
    Problem,
    Recommendation,
    RecommendationRequest,
    Session,
    SimulatedStep,
    SimulatedVisit,
    StoredSession,
)
from agents.large_model.serving.simulated_visits import SimulatedVisits
from agents.terminal import one_line

_STATUSES = {
    InvalidRequestError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    TooManyError: 429,
    UnavailableError: 503,
}
_PROBLEMS: dict[int | str, Any] = {
    status: {"model": Problem} for status in (400, 401, 404, 408, 409, 413, 422, 429, 503)
}

_MAX_CONNECTIONS = 1_000

SessionId = Annotated[str, Path(max_length=64)]


def create_app(
    recommender: Recommender,
    *,
    followed: FollowedVersions | None = None,
    token: str | None = None,
    loopback_only: bool = True,
) -> FastAPI:
    """The ASGI application, which closes the recommender at its end.

    Args:
        recommender: what the endpoints do.
        followed: the versions of the model, of which the recommender uses the published one; None keeps the model.
        token: the bearer token that requests need; None for none.
        loopback_only: whether only names of this machine are accepted as the `Host`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = None if followed is None else asyncio.create_task(followed.follow(recommender))
        yield
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        await recommender.close()

    app = FastAPI(
        title="Recommendations of the large model",
        version=recsim_env.__version__,
        lifespan=lifespan,
        docs_url=None,  # the pages need a content delivery network
        redoc_url=None,
        responses=_PROBLEMS,
    )
    for kind in _STATUSES:
        app.add_exception_handler(kind, _answer_to_error)
    app.add_exception_handler(RequestValidationError, _answer_to_invalid)
    app.add_exception_handler(HTTPException, _answer_to_refusal)
    app.add_exception_handler(Exception, _answer_to_failure)
    _add_sessions(app, recommender)
    _add_items(app, recommender)
    _add_simulated_visits(app, SimulatedVisits(recommender.model, recommender.catalog, recommender.config))
    _add_operation(app, recommender)
    add_page(app)
    config = recommender.config
    app.add_middleware(
        Limits,
        token=token,
        loopback_only=loopback_only,
        max_body=config.max_body,
        requests_per_second=config.requests_per_second,
    )
    app.add_middleware(MeasuredRequests, metrics=recommender.metrics)
    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at a name or an address; port 0 is any that is free.

    Raises:
        OSError: there is no such name, or the port is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # With the protocol, asyncio sets TCP_NODELAY: otherwise, the second part of an answer waits for the client to
    # acknowledge the first.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(f"{host}, port {port}: {error.strerror}") from None
    return listener


def run(app: FastAPI, listener: socket.socket) -> None:
    """Answer requests at a listening socket until the process is interrupted (SIGINT) or ended (SIGTERM).

    Requests that are being answered are finished before the signal takes effect.
    """
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _add_sessions(app: FastAPI, recommender: Recommender) -> None:
    @app.post("/sessions", status_code=201)
    async def create_session(request: NewSession) -> Session:
        """Begin a session of a person."""
        return await recommender.create_session(request)

    @app.post("/sessions/{session}/recommendations")
    async def recommend(session: SessionId, request: RecommendationRequest) -> Recommendation:
        """Recommend items: the best ones, or at random with a small probability, which is stored."""
        return await recommender.recommend(session, request)

    @app.post("/sessions/{session}/feedback")
    async def add_feedback(session: SessionId, request: Feedback) -> FeedbackReceipt:
        """Store the feedback on a recommendation. The same feedback may be sent again; it counts once."""
        return await recommender.add_feedback(session, request)

    @app.get("/sessions/{session}")
    async def download_session(session: SessionId) -> StoredSession:
        """Everything that is stored about a session."""
        return StoredSession.model_construct(**await recommender.everything_of(session))

    @app.get("/sessions/{session}/comparison")
    async def compare(session: SessionId) -> Comparison:
        """End a blind session and compare its agents; afterwards it takes no more recommendations or feedback."""
        return await recommender.compare(session)

    @app.delete("/sessions/{session}", status_code=204)
    async def delete_session(session: SessionId) -> None:
        """Delete a session."""
        await recommender.delete_session(session)

    @app.delete("/people/{person:path}", status_code=204)
    async def delete_person(person: str) -> None:
        """Delete a person, with all of their sessions."""
        await recommender.delete_person(person)


def _add_items(app: FastAPI, recommender: Recommender) -> None:
    catalog = recommender.catalog

    def position(item: str) -> int:
        try:
            return catalog.ids.position("item", item if catalog.has_log else int(item))
        except ValueError:
            raise NotFoundError("item: there is no such item") from None

    @app.get("/items/{item}")
    async def item(item: str) -> Item:
        """Title, features and topics of an item."""
        return catalog.item(position(item))

    @app.get("/catalog")
    async def about() -> Catalog:
        """The catalogue of the server."""
        return catalog.about_items

    @app.get("/items/{item}/image.png", response_class=Response)
    async def image(item: str) -> Response:
        """The picture of an item."""
        found = catalog.image(position(item))
        if found is None:
            raise NotFoundError("item: has no image")
        return Response(png(found), media_type="image/png", headers={"cache-control": "max-age=86400"})

    @app.get("/items/{item}/audio.wav", response_class=Response)
    async def audio(item: str) -> Response:
        """The sound of an item."""
        found = catalog.audio(position(item))
        if found is None:
            raise NotFoundError("item: has no audio")
        return Response(wav(found), media_type="audio/wav", headers={"cache-control": "max-age=86400"})


def _add_simulated_visits(app: FastAPI, visits: SimulatedVisits) -> None:
    @app.post("/simulated-visits", status_code=201)
    async def create_visit(request: NewSimulatedVisit) -> SimulatedVisit:
        """Begin a visit of a simulated user, of which nothing is stored."""
        return await visits.create(request)

    @app.post("/simulated-visits/{visit}/step")
    async def step(visit: SessionId) -> SimulatedStep:
        """Show the simulated user a slate."""
        return await visits.step(visit)

    @app.delete("/simulated-visits/{visit}", status_code=204)
    async def end_visit(visit: SessionId) -> None:
        """Forget a visit."""
        visits.delete(visit)


def _add_operation(app: FastAPI, recommender: Recommender) -> None:
    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the server can answer, and with which version of the model."""
        await recommender.database.check()
        return {"status": "ok", "model": recommender.version}

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Metrics for Prometheus."""
        sessions = recommender.sessions
        return Response(recommender.metrics.page(len(sessions), sessions.num_bytes), media_type=CONTENT_TYPE)


async def _answer_to_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": one_line(error)}, _STATUSES[type(error)])


async def _answer_to_invalid(_: Request, error: Exception) -> JSONResponse:
    problem = error.errors()[0]  # type: ignore[attr-defined]
    place = ".".join(str(part) for part in problem["loc"][1:])
    detail = f"{place}: {problem['msg']}" if place else problem["msg"]
    return JSONResponse({"detail": " ".join(detail[:300].split())}, 422)


async def _answer_to_refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _answer_to_failure(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the server failed"}, 500)  # which logs the error
