"""A server under hostile requests: malformed, huge, of wrong types, about unknown ids, replayed.

`PYTHONPATH=.:tests python tests/hostile_requests.py 10000` sends 10,000 of them to a server in a process of its own,
from clients side by side. All draws are keyed, so that a client sends the same requests each time, except for ids that
the server has drawn.

Nothing of a person may be in an answer to another one, so every person has a name, a feature of the profile and an
answer that occur nowhere else. Memory is measured after a warm-up, in which caches fill, and at the end.
"""

import http.client
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from killed_server import Client, start

PATHS = [
    "/sessions",
    "/sessions/{session}/recommendations",
    "/sessions/{session}/feedback",
    "/sessions/unknown/recommendations",
    "/sessions/unknown/feedback",
]
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"NaN",
    b"\xff\xfe\x00",
    b'{"person": "\xed\xa0\x80"}',
    b'{"person": "\\ud800"}',
    b'{"person": "a\\u0000b"}',
    b'{"person": "a\\nb"}',
    b'{"person": ""}',
    b'{"person": "' + b"a" * 129 + b'"}',
    b'{"person": 7}',
    b'{"unknown": 1}',
    b'{"profile": {"profile 1": NaN}}',
    b'{"profile": {"profile 1": 1e999}}',
    b'{"profile": {"profile 1": 2}}',
    b'{"profile": {"elapsed": 0.5}}',
    b'{"profile": {"__class__": 0.5}}',
    b'{"candidates": []}',
    b'{"candidates": [1, 1]}',
    b'{"candidates": [-1]}',
    b'{"candidates": [1e3]}',
    b'{"candidates": [true]}',
    b'{"candidates": [99999999999999999999999]}',
    b'{"candidates": [' + b"9" * 5_000 + b"]}",
    b'{"candidates": ["' + b"a" * 5_000 + b'"]}',
    b'{"candidates": [[1]]}',
    b'{"num_items": 0}',
    b'{"num_items": 21}',
    b'{"num_items": 2.5}',
    b'{"explain": 1}',
    b'{"recommendation": -1, "items": []}',
    b'{"recommendation": 99999999999999999999, "items": []}',
    b'{"recommendation": 9223372036854775807, "items": []}',
    b'{"recommendation": "0", "items": []}',
    b'{"recommendation": 0}',
    b'{"recommendation": 0, "items": [{"item": 1, "rating": 6}]}',
    b'{"recommendation": 0, "items": [{"item": 1, "rating": NaN}]}',
    b'{"recommendation": 0, "items": [{"item": 1, "click": 2}]}',
    b'{"recommendation": 0, "items": [{"item": 1, "follow": 0.5}]}',
    b'{"recommendation": 0, "items": [{"item": 399}]}',
    b'{"recommendation": 0, "items": [{}]}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"profile": ' + b'{"a": ' * 500 + b"1" + b"}" * 501,
]
NUM_WARM_UP = 2_000
MAX_GROWTH = 1_024
"""Bytes of memory for each request after the warm-up: less than anything that a server keeps of one, such as a session
of 2 kB, so that a leak by even some kinds of requests shows."""

_NUM_CLIENTS = 4
_SETTINGS = {"max_cached_sessions": 50, "max_simulated_visits": 20}  # full after the warm-up
_ALLOWED = {200, 201, 204, 307, 400, 404, 405, 409, 413, 422, 429}
_MAX_BODY = 1_000_000
_JSON = {"content-type": "application/json"}
_WRONG: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *(
        "",
        " ",
        "0",
        "null",
        "a\0b",
        "a\nb",
        "\ud800",
        "../../etc/passwd",
        "' OR 1=1 --",
        "{{7*7}}",
        "é" * 200,
        "9" * 5_000,
    ),
    *([], [[]], [None], {}, {"": ""}, {"$ne": None}, {"__proto__": {"a": 1}}, [0] * 2_000),
]
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "NONSENSE")
_RAW = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nBroken header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n{}\r\n0\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nnull",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
"""Not HTTP, or hardly."""


class Person(NamedTuple):
    """Whose data occur nowhere else."""

    name: str
    feature: float
    consumption: float

    @classmethod
    def drawn(cls, generator: random.Random) -> "Person":
        feature, consumption = (generator.randrange(10**8, 10**9) / 1e9 for _ in range(2))
        return cls(f"person {generator.randbytes(12).hex()}", feature, consumption)

    @property
    def marks(self) -> list[bytes]:
        return [self.name.encode(), str(self.feature).encode(), str(self.consumption).encode()]


class Sent(NamedTuple):
    """A request."""

    kind: str
    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = tuple(_JSON.items())


class Hostile:
    """Sends requests as one person, whose valid ones it also mutates and replays."""

    def __init__(self, port: int, person: Person, others: list[bytes], seed: str) -> None:
        self._port, self._person, self._others = port, person, others
        self._random, self._sent = random.Random(seed), deque[Sent](maxlen=200)
        self._sessions, self._visits = deque[str](maxlen=20), deque[str](maxlen=5)
        self._shown: dict[str, dict[str, Any]] = {}
        self._connection: http.client.HTTPConnection | None = None
        self.counts: Counter[tuple[str, int]] = Counter()
        """Of answers, by kind of request and status."""
        self.num_own = 0
        """Answers with data of the person's own."""
        self.problems: list[str] = []

    def send(self, number: int) -> None:
        """So many requests."""
        kinds = (self._valid, self._malformed, self._mistyped, self._huge, self._about_unknown, self._replayed)
        for _ in range(number):
            if self._random.random() < 0.05:
                self._send_raw(self._random.choice(_RAW))
                continue
            request = self._random.choices(kinds, (4, 4, 6, 1, 3, 2))[0]()
            self._sent.append(request)
            try:
                self._send(request)
            except (OSError, http.client.HTTPException) as error:
                self._connection = None
                if len(request.body) > _MAX_BODY:  # refused before it was sent, so that the answer may be lost
                    self.counts[request.kind, 0] += 1
                else:
                    self.problems.append(f"{request.kind} {request.method} {request.path[:80]}: no answer ({error!r})")

    def _send(self, request: Sent) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with suppress(BrokenPipeError, ConnectionResetError):  # the server may answer before all is sent
            self._connection.request(request.method, request.path, request.body, dict(request.headers))
        answer = self._connection.getresponse()
        content, will_close = answer.read(), answer.will_close
        if will_close:
            self._connection = None
        self._check(request, answer.status, content)
        if answer.status in (200, 201) and answer.getheader("content-type") == "application/json":
            self._remember(request, json.loads(content))

    def _send_raw(self, message: bytes) -> None:
        """Bytes, after which the connection is closed; an answer is not required."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            try:
                connection.sendall(message)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65_536):
                    answer += part
            except OSError:  # closed by the server
                pass
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answer.replace(b"HTTP/1.1 100 Continue", b""))
        for status in statuses or [0]:
            self._check(Sent("raw", "", repr(message[:60])), int(status), answer)

    def _check(self, request: Sent, status: int, content: bytes) -> None:
        self.counts[request.kind, status] += 1
        about = f"{request.kind} {request.method} {request.path[:80]} {request.body[:80]!r}: {status} {content[:200]!r}"
        if status not in _ALLOWED and (status, request.kind) != (0, "raw"):
            self.problems.append(about)
        if b"Traceback" in content or any(mark in content for mark in self._others):
            self.problems.append(about)
        self.num_own += any(mark in content for mark in self._person.marks)

    def _remember(self, request: Sent, answer: Any) -> None:
        if not isinstance(answer, dict):
            return
        if request.method == "POST" and request.path == "/sessions":
            self._sessions.append(answer["session"])
        elif request.path == "/simulated-visits":
            self._visits.append(answer["visit"])
        elif request.path.endswith("/recommendations"):
            self._shown[request.path.split("/")[2]] = answer

    def _session(self) -> str:
        return self._random.choice(self._sessions) if self._sessions else "none-yet"

    def _good(self) -> tuple[str, Any]:
        """Path and content of a valid request that has content."""
        session, draw = self._session(), self._random.randrange(5)
        if draw == 0:
            agent = self._random.choice(("large-model", "platform", "blind"))
            profile = {"profile 1": self._person.feature}
            return "/sessions", {"person": self._person.name, "profile": profile, "agent": agent}
        if draw == 1:
            return "/simulated-visits", {"num_items": self._random.randint(1, 5), "seed": self._random.randrange(100)}
        if draw == 2 and session in self._shown:
            shown = self._shown[session]
            answer = {"click": 1, "consumption": self._person.consumption, "rating": 5.0, "follow": 0}
            items = [{"item": each["item"], **answer} for each in shown["items"]]
            return f"/sessions/{session}/feedback", {"recommendation": shown["recommendation"], "items": items}
        content: dict[str, Any] = {"num_items": self._random.randint(1, 5)}
        if self._random.random() < 0.3:
            content["candidates"] = self._random.sample(range(400), 30)
        return f"/sessions/{session}/recommendations", content

    def _valid(self) -> Sent:
        draw = self._random.random()
        if draw < 0.7 or not self._sessions:
            path, content = self._good()
            return Sent("valid", "POST", path, json.dumps(content).encode())
        if draw < 0.75:
            return Sent("valid", "DELETE", f"/sessions/{self._session()}")
        visit = self._random.choice(self._visits) if self._visits else "none-yet"
        reads = ("/healthz", "/metrics", "/catalog", "/openapi.json", "/items/7", "/items/7/image.png")
        if self._random.random() < 0.5:
            own = f"/sessions/{self._session()}"
            return Sent("valid", "GET", self._random.choice((*reads, own, own, f"{own}/comparison")))
        return Sent("valid", "POST", f"/simulated-visits/{visit}/step")

    def _malformed(self) -> Sent:
        path = self._random.choice(PATHS).format(session=self._session())
        draw = self._random.random()
        body = self._random.choice(BODIES)
        if draw < 0.2:
            body = self._random.randbytes(self._random.randrange(300))
        elif draw < 0.5:  # cut off, or with a byte changed
            path, content = self._good()
            body = json.dumps(content).encode()
            place = self._random.randrange(len(body))
            body = body[:place] + (self._random.randbytes(1) + body[place + 1 :] if draw < 0.35 else b"")
        kind = self._random.choice(("application/json", "text/plain", "", "multipart/form-data", "application/xml"))
        headers = _JSON if self._random.random() < 0.7 else {"content-type": kind, "content-encoding": "gzip"}
        return Sent("malformed", "POST", path, body, tuple(headers.items()))

    def _mistyped(self) -> Sent:
        """A valid request with a value of another type, or a field more or less."""
        path, content = self._good()
        place, draw = content, self._random.random()
        while True:
            key = self._random.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not (isinstance(place[key], dict | list) and place[key] and self._random.random() < 0.7):
                break
            place = place[key]
        if draw < 0.8:
            place[key] = self._random.choice(_WRONG)
        elif draw < 0.9:
            del place[key]
        else:
            content[self._random.choice(("id", "session", "is_admin", "__class__", "model", "\ud800"))] = 1
        return Sent("mistyped", "POST", path, json.dumps(content).encode())

    def _huge(self) -> Sent:
        draw, (path, content) = self._random.randrange(6), self._good()
        if draw == 0:
            body = b" " * (_MAX_BODY + self._random.randrange(1, 1_000)) + json.dumps(content).encode()
        elif draw == 1:
            body = json.dumps({**content, "person": "a" * 900_000}).encode()
        elif draw == 2:
            body = json.dumps({**content, "candidates": list(range(150_000))}).encode()
        elif draw == 3:
            body = b"[" * self._random.randrange(1_000, 500_000)
        elif draw == 4:
            profile = {f"profile {number}": 0.1 for number in range(40_000)}
            body = json.dumps({**content, "profile": profile}).encode()
        else:
            return Sent("huge", "GET", f"/sessions/{'a' * self._random.randrange(1_000, 50_000)}")
        return Sent("huge", "POST", path, body)

    def _about_unknown(self) -> Sent:
        session = self._session()
        guesses = [
            session[:-1] + self._random.choice("abcXYZ_-"),
            session.swapcase(),
            session[:16],
            f"{session}%00",
            quote(self._person.name[:8]),
            *("%", "*", "..%2f..%2fserved.sqlite", "%27%20OR%201=1", "0", "-1", "1e999", "%ff%fe", "unknown", ""),
            self._random.randbytes(24).hex(),
        ]
        patterns = [
            *("/sessions/{}", "/sessions/{}/comparison", "/sessions/{}/feedback", "/sessions/{}/recommendations"),
            *("/people/{}", "/items/{}", "/items/{}/image.png", "/items/{}/audio.wav", "/simulated-visits/{}/step"),
            *("/simulated-visits/{}", "/page/{}", "/{}", "/sessions/{}/../../people", "/sessions?session={}"),
        ]
        path = self._random.choice(patterns).format(self._random.choice(guesses))
        content = self._random.choice((b"", b"{}", json.dumps(self._good()[1]).encode()))
        return Sent("unknown", self._random.choice(_METHODS), path, content)

    def _replayed(self) -> Sent:
        """A request that it has sent before, or its path by another method."""
        if not self._sent:
            return self._valid()
        earlier = self._random.choice(self._sent)
        method = earlier.method if self._random.random() < 0.8 else self._random.choice(_METHODS)
        return earlier._replace(kind="replayed", method=method)


class Outcome(NamedTuple):
    """What has become of a server."""

    counts: Counter[tuple[str, int]]
    """Of answers, by kind of request and status; 0 for none."""
    problems: list[str]
    num_own: int
    """Answers with data of those who asked."""
    memory: tuple[int, int]
    """Bytes after the warm-up and at the end."""
    num_measured: int
    """Requests in between."""

    @property
    def growth(self) -> float:
        """Bytes a request."""
        return (self.memory[1] - self.memory[0]) / self.num_measured


def attack(folder: Path, num_requests: int, num_warm_up: int = NUM_WARM_UP, seed: int = 0) -> Outcome:
    """Send requests to a server with a database in `folder`; problems are what must not be."""
    people = [Person.drawn(random.Random(f"{seed} person {number}")) for number in range(_NUM_CLIENTS + 1)]
    bystander, errors = people[-1], folder / "errors.txt"
    with errors.open("wb") as file:
        server, port = start(folder, settings=_SETTINGS, stderr=file)
    try:
        client = Client(port)
        request = {"person": bystander.name, "profile": {"profile 1": bystander.feature}}
        session = client.ask("POST", "/sessions", request)["session"]
        for _ in range(3):
            shown = client.ask("POST", f"/sessions/{session}/recommendations", {"num_items": 3})
            items = [
                {"item": each["item"], "click": 1, "consumption": bystander.consumption} for each in shown["items"]
            ]
            answers = {"recommendation": shown["recommendation"], "items": items}
            client.ask("POST", f"/sessions/{session}/feedback", answers)
        before, memory = client.ask("GET", f"/sessions/{session}"), []
        marks = [mark for person in people for mark in person.marks] + [session.encode()]
        hostile = [
            Hostile(port, person, [mark for mark in marks if mark not in person.marks], f"{seed} client {number}")
            for number, person in enumerate(people[:-1])
        ]
        num_measured = num_requests - num_warm_up
        for number in (num_warm_up, num_measured):
            with ThreadPoolExecutor(_NUM_CLIENTS) as threads:
                list(threads.map(lambda each, number=number: each.send(number // _NUM_CLIENTS), hostile))
            memory.append(_memory_of(server))
        problems = [problem for each in hostile for problem in each.problems]
        client = Client(port)
        if client.ask("GET", "/healthz")["status"] != "ok":
            problems.append("the server is not healthy")
        if client.ask("GET", f"/sessions/{session}") != before:
            problems.append("what is stored on the bystander has changed")
    finally:
        server.terminate()
        server.wait()
    if b"Traceback" in errors.read_bytes():
        problems.append(errors.read_text(errors="replace")[-2_000:])
    counts = sum((each.counts for each in hostile), Counter())
    return Outcome(counts, problems, sum(each.num_own for each in hostile), (memory[0], memory[1]), num_measured)


def _memory_of(process: subprocess.Popen) -> int:
    """Resident bytes."""
    ran = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], capture_output=True, text=True, check=True)
    return 1_024 * int(ran.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        outcome = attack(Path(place), int(sys.argv[1]))
    for kind in sorted({kind for kind, _ in outcome.counts}):
        statuses = {status: number for (each, status), number in sorted(outcome.counts.items()) if each == kind}
        print(f"{kind}: {', '.join(f'{number:,} x {status}' for status, number in statuses.items())}")
    first, last = (number / 2**20 for number in outcome.memory)
    number = sum(outcome.counts.values())
    print(f"{number:,} answers, {outcome.num_own:,} of them with data of one's own, {len(outcome.problems)} problems")
    print(f"memory: {first:.1f} MiB after the warm-up, {last:.1f} MiB at the end, {outcome.growth:.0f} bytes a request")
    for problem in outcome.problems[:20]:
        print(problem)
    sys.exit(bool(outcome.problems) or outcome.growth > MAX_GROWTH)
