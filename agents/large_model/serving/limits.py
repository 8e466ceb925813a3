"""What stands before the endpoints: who may ask, how often, and how much.

On the loopback interface only requests to a loopback name are accepted, so that a website cannot reach the server
through a name of its own (DNS rebinding); on others a token is required.
"""

import asyncio
import hmac
import ipaddress
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException

_PUBLIC = ("/healthz", "/")  # need no token: they tell nothing about people
_PUBLIC_FOLDER = "/page/"
_MAX_ADDRESSES = 10_000
_BURST_SECONDS = 2.0
_BODY_SECONDS = 10.0


def is_loopback(host: str) -> bool:
    """Whether a host name or address, as in a URL, is that of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class RateLimit:
    """A number of requests a second from each address, on average over a few seconds (a token bucket).

    Args:
        per_second: requests.
        clock: seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._burst = max(per_second * _BURST_SECONDS, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def seconds_to_wait(self, address: str) -> float:
        """0 if a request from the address is accepted, which counts; otherwise the seconds until it would be."""
        now = self._clock()
        tokens, counted = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate
        self._buckets[address] = (tokens - 1.0 if wait == 0.0 else tokens, now)
        if len(self._buckets) > _MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return wait


class Limits:
    """ASGI middleware: refuses requests in one line of JSON before they are read.

    Args:
        app: the application.
        token: the bearer token that is required; None for none.
        loopback_only: whether only names of this machine are accepted as the `Host`.
        max_body: bytes.
        requests_per_second: from each address.
    """

    def __init__(
        self, app: Any, *, token: str | None, loopback_only: bool, max_body: int, requests_per_second: float
    ) -> None:
        self._app, self._loopback_only, self._max_body = app, loopback_only, max_body
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._rate = RateLimit(requests_per_second)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, self._bounded(receive), send)
            return
        status, detail, more = refusal
        body = json.dumps({"detail": detail}).encode()
        more = [*more, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": more})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Any, headers: dict[bytes, bytes]) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Status, reason and headers of the answer to a request that is refused."""
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")
        name = host[0] if host[2].isdecimal() else "".join(host)
        if self._loopback_only and not is_loopback(name):
            return 400, "Host: must be localhost or a loopback address", []
        address = scope["client"][0] if scope.get("client") else ""
        wait = self._rate.seconds_to_wait(address)
        if wait > 0.0:
            return 429, "too many requests", [(b"retry-after", str(math.ceil(wait)).encode())]
        path = scope["path"]
        is_public = path in _PUBLIC or path.startswith(_PUBLIC_FOLDER)
        if not is_public and not self._is_authorized(headers):
            return 401, "Authorization: must be Bearer and the token", [(b"www-authenticate", b"Bearer")]
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > self._max_body:
            return 413, f"body: must be at most {self._max_body} bytes", [(b"connection", b"close")]
        return None

    def _is_authorized(self, headers: dict[bytes, bytes]) -> bool:
        given = headers.get(b"authorization", b"")
        return self._expected is None or hmac.compare_digest(given, self._expected)

    def _bounded(self, receive: Any) -> Any:
        """`receive`, which refuses a body that is longer than it may be, or slow."""
        num_read, is_read = 0, False

        async def bounded() -> Any:
            nonlocal num_read, is_read
            if is_read:
                return await receive()
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "body: did not arrive in time") from None
            num_read += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if num_read > self._max_body:
                raise HTTPException(413, f"body: must be at most {self._max_body} bytes")
            return message

        return bounded
