"""The sample wiki's server, misbehaving on request and remembering who asked for what, and when."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from samples.wiki.content import SampleWiki
from samples.wiki.server import RunningWiki, WikiHandler, serve

Alter = Callable[[dict[str, Any], str], None]


@dataclass
class Fault:
    """The next `times` requests whose path contains `match` get this answer instead."""

    match: str
    status: int = 503
    body: bytes = b"out of order"
    kind: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    promise: int = 0  # bytes more than are sent: the connection breaks off
    unless: str = ""  # a request header that gets the right answer
    stream: Callable[[], Iterator[bytes]] | None = None  # instead of `body`: parts, sent until nobody reads them


@dataclass(frozen=True)
class Request:
    """One request as the server saw it, from its arrival to just before it was answered, in seconds."""

    path: str
    start: float
    end: float
    agent: str


class FaultyWiki:
    """A running sample wiki: `faults` to come, `requests` so far, bytes `streamed` to a client.

    `slow`: seconds each answer takes; `alter` changes what api.php says, given the JSON and the request's path.
    """

    def __init__(self, faults: list[Fault], slow: float, robots: str | None, alter: Alter):
        self.faults, self.slow, self.robots, self.alter = faults, slow, robots, alter
        self.requests: list[Request] = []
        self.streamed = 0
        self.lock = Lock()
        self.running: RunningWiki

    @property
    def api_url(self) -> str:
        return self.running.api_url

    def asked(self, match: str) -> list[Request]:
        """The requests whose path contains `match`, in order of arrival."""
        return sorted((r for r in self.requests if match in r.path), key=lambda r: r.start)

    def next_fault(self, path: str, headers) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.match in path and not (fault.unless and headers.get(fault.unless)):
                    fault.times -= 1
                    return fault
        return None


class FaultyHandler(WikiHandler):
    """Answers as its `faulty` wiki is told to."""

    faulty: FaultyWiki

    def do_GET(self) -> None:
        start = time.monotonic()
        time.sleep(self.faulty.slow)
        with self.faulty.lock:
            agent = self.headers.get("User-Agent", "")
            self.faulty.requests.append(Request(self.path, start, time.monotonic(), agent))
        fault = self.faulty.next_fault(self.path, self.headers)
        if fault:
            self._fail(fault)
        elif self.path == "/robots.txt" and self.faulty.robots is not None:
            self.send(200, self.faulty.robots.encode(), "text/plain")
        else:
            super().do_GET()

    def send(self, status: int, body: bytes, kind: str, etag: str = "") -> None:
        if self.path.startswith("/api.php"):
            content = json.loads(body)
            self.faulty.alter(content, self.path)
            body = json.dumps(content).encode()
        super().send(status, body, kind, etag)

    def _stream(self, fault: Fault) -> None:
        self.close_connection = True
        self.end_headers()
        with suppress(OSError):
            for part in fault.stream() if fault.stream else ():
                self.wfile.write(part)
                self.faulty.streamed += len(part)

    def _fail(self, fault: Fault) -> None:
        self.send_response(fault.status)
        for name, value in {"Content-Type": fault.kind, **fault.headers}.items():
            self.send_header(name, value)
        if fault.stream:
            self._stream(fault)
            return
        self.send_header("Content-Length", str(len(fault.body) + fault.promise))
        self.end_headers()
        self.wfile.write(fault.body)
        self.close_connection = bool(fault.promise)


@contextmanager
def faulty_wiki(
    *faults: Fault,
    slow: float = 0,
    robots: str | None = None,
    wiki: SampleWiki | None = None,
    alter: Alter = lambda content, path: None,
) -> Iterator[FaultyWiki]:
    """Serve the sample wiki (or `wiki`) with faults."""
    faulty = FaultyWiki(list(faults), slow, robots, alter)

    class Handler(FaultyHandler):
        pass

    Handler.faulty = faulty
    with serve(handler=Handler, wiki=wiki) as faulty.running:
        yield faulty


def small_wiki(count: int = 6) -> SampleWiki:
    """The sample wiki with its first few images alone."""
    wiki = SampleWiki()
    wiki.files = [f for f in wiki.files if f.row["mime"] == "image/png"][:count]
    return wiki
