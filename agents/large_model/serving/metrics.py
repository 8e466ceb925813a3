"""Metrics of a server for Prometheus."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SIZES = (1, 2, 4, 8, 16)


class Metrics:
    """Counts requests, calls of the model, versions of it, and sessions in memory."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        kinds: dict[str, Any] = {"registry": self._registry, "namespace": "recsim"}
        self._requests = Counter("requests", "Requests by route and status", ["route", "status"], **kinds)
        self._seconds = Histogram("request_seconds", "Time of requests", ["route"], buckets=_SECONDS, **kinds)
        self.batch_sizes = Histogram("batch_sessions", "Sessions in a call of the model", buckets=_SIZES, **kinds)
        self.evictions = Counter("evicted_sessions", "Sessions dropped from memory", **kinds)
        self._sessions = Gauge("cached_sessions", "Sessions in memory", **kinds)
        self._bytes = Gauge("cached_bytes", "Memory of what the model has read of them", **kinds)
        self._model = Info("model", "Version of the model that answers new requests", **kinds)
        self.swaps = Counter("model_swaps", "Changes of the version while the server runs", **kinds)
        self.refusals = Counter("model_refusals", "Published versions that could not be used", **kinds)

    def note_version(self, version: str) -> None:
        """Note the version of the model."""
        self._model.info({"version": version})

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self, num_sessions: int, num_bytes: int) -> bytes:
        """All metrics, in the text format of Prometheus."""
        self._sessions.set(num_sessions)
        self._bytes.set(num_bytes)
        return generate_latest(self._registry)


class MeasuredRequests:
    """ASGI middleware: measures requests by the pattern of their route."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count(route, status, time.perf_counter() - start)
