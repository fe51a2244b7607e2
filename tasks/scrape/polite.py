"""One polite HTTP client: robots.txt, few connections per host, and waiting when and as long as the host asks.

What a host has said (its robots.txt, its Retry-After) holds for every client in this process, so that tasks that run
side by side do not each have to be told.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx
import stamina
from protego import Protego

from tasks.scrape.errors import Busy, Resting, ScrapeError, Unfit, Unreachable
from tasks.scrape.settings import ScrapeSettings

T = TypeVar("T")
AGENT = "wikistyle"
LONGEST_BACKOFF = 60.0  # seconds
# A host that failed for so many addresses without one success between is down: the requests still waiting are not
# tried, or a wiki that hangs would hold a run for hours. After the rest (seconds) it gets another chance.
FAILED_ADDRESSES = 8
REST_WHEN_DOWN = 15.0
LONGEST_RETRY_AFTER = 600.0  # seconds: a host that wants a longer rest ends the run instead of holding it
MAXLAG = "5"  # seconds of replication lag beyond which MediaWiki is to turn us away
MOST_BYTES = 1 << 28  # of one answer, where nothing better is known


@dataclass
class HostGate:
    """What all requests to one host share."""

    slots: asyncio.Semaphore
    robots_known: asyncio.Lock = field(default_factory=asyncio.Lock)
    robots: Any = None
    not_before: float = 0.0  # the event loop's time of the next allowed start
    interval: float = 0.0  # seconds between starts (robots.txt's Crawl-delay)
    failed: set[str] = field(default_factory=set)  # addresses, since the last success
    last_failure: float = 0.0

    async def turn(self) -> None:
        """Wait until a request may start. Raises Busy when the host is down."""
        loop = asyncio.get_running_loop()
        if len(self.failed) >= FAILED_ADDRESSES and loop.time() < self.last_failure + REST_WHEN_DOWN:
            raise Busy(f"the host failed for {len(self.failed)} addresses in a row; run again later")
        while (wait := self.not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        self.not_before = loop.time() + self.interval

    def note(self, url: str, failed: bool) -> None:
        """Remember how a request went."""
        if failed:
            self.failed.add(url)
            self.last_failure = asyncio.get_running_loop().time()
        else:
            self.failed.clear()

    def rest(self, seconds: float) -> None:
        """Hold every request to this host for so long."""
        self.not_before = max(self.not_before, asyncio.get_running_loop().time() + seconds)


# Semaphores belong to an event loop, so each loop has gates of its own.
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, HostGate]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer; `url` is where it came from after redirects."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str


class PoliteClient:
    """Use as `async with PoliteClient(settings) as client`; `get` for files and pages, `api` for the wiki's api.php."""

    def __init__(self, settings: ScrapeSettings):
        self.settings = settings
        contact = f"contact: {settings.contact}" if settings.contact else "no contact given"
        self._http = httpx.AsyncClient(
            headers={"User-Agent": f"{AGENT}/{_version()} ({contact}) python-httpx/{httpx.__version__}"},
            timeout=settings.timeout,
            follow_redirects=True,
            limits=httpx.Limits(max_connections=None),  # the gates limit connections, for each host
        )

    async def __aenter__(self) -> "PoliteClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, url: str, accept: str = "*/*", limit: int = MOST_BYTES, fresh: bool = False) -> Answer:
        """The answer to a GET, whatever its status below 500 but 429.

        `limit`: most bytes to read; `fresh`: ask caches on the way for the newest copy.
        Raises Unfit when robots.txt forbids the address or the answer is longer, Busy when the host stays busy.
        """
        headers = {"Accept": accept} | ({"Cache-Control": "no-cache"} if fresh else {})
        await self._obey_robots(url)
        return await self._patiently(lambda attempt: self._send(url, headers, limit, attempt))

    async def api(self, **params: str) -> dict[str, Any]:
        """The answer of api.php to an action=query, as JSON in format version 2.

        Raises ScrapeError when it is no MediaWiki API or the request is refused, Busy when it stays busy or lagged.
        """
        asked = {"action": "query", "format": "json", "formatversion": "2", "maxlag": MAXLAG} | params
        url = str(httpx.URL(self.settings.api_url).copy_merge_params(asked))
        try:
            await self._obey_robots(url)
        except Unfit as error:
            raise ScrapeError(f"wiki {self.settings.api_url}: {error}; ask its operators for permission") from None
        return await self._patiently(lambda attempt: self._api_once(url, attempt))

    async def _api_once(self, url: str, attempt: int) -> dict[str, Any]:
        wiki = self.settings.api_url
        answer = await self._send(url, {"Accept": "application/json"}, MOST_BYTES, attempt)
        try:
            content = json.loads(answer.body)
            if answer.status != 200 or not isinstance(content, dict):
                raise ValueError
        except ValueError:
            raise ScrapeError(
                f"{wiki} doesn't answer like a MediaWiki API (status {answer.status}, "
                f"{answer.headers.get('Content-Type', 'no type')}); give the address of the wiki's api.php"
            ) from None
        if error := content.get("error"):
            message = f"wiki {wiki} refused a request ({error.get('code')}: {error.get('info')})"
            if error.get("code") in ("maxlag", "ratelimited"):  # these come with status 200
                raise self._busy(f"{message}; run again later", self._gate(url), answer.headers, attempt)
            raise ScrapeError(f"{message}; check the wiki's address and the category")
        return content

    async def _patiently(self, send: Callable[[int], Awaitable[T]]) -> T:
        """Call `send(attempt number)` until it is not Busy, at most `attempts` times."""
        answer: T | None = None
        tries = stamina.retry_context(on=_wait_of, attempts=self.settings.attempts, timeout=None)
        async for attempt in tries:
            with attempt:
                answer = await send(attempt.num)
        return answer  # type: ignore[return-value]  # the loop ends with an answer or an exception

    async def _send(self, url: str, headers: dict[str, str], limit: int, attempt: int) -> Answer:
        gate = self._gate(url)
        try:
            async with gate.slots:
                await gate.turn()
                answer = await self._read(url, headers, limit)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise ScrapeError(f"address {url} can't be used ({error}); check the wiki's address") from None
        except httpx.TransportError as error:
            gate.note(url, failed=True)
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            message = f"wiki {_origin(url)} can't be reached ({reason}); check the address or your network"
            if isinstance(error, httpx.ConnectError):
                # A wrong address is far more likely than an outage of seconds: ask once more, not for minutes.
                raise Unreachable(message, self._backoff(attempt) if attempt < 2 else None) from None
            raise Busy(message, self._backoff(attempt)) from None
        failed = answer.status == 429 or answer.status >= 500
        gate.note(url, failed)
        if failed:
            message = f"{_origin(url)} is busy (status {answer.status}); run again later"
            raise self._busy(message, gate, answer.headers, attempt)
        return answer

    async def _read(self, url: str, headers: dict[str, str], limit: int) -> Answer:
        async with self._http.stream("GET", url, headers=headers) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > limit:
                    raise Unfit(f"the answer is longer than the {limit} bytes expected")
        return Answer(response.status_code, response.headers, bytes(body), str(response.url))

    def _busy(self, message: str, gate: HostGate, headers: httpx.Headers, attempt: int) -> Busy:
        """A Busy with the wait the host asks for, which then holds for all requests to it, or else our own back-off."""
        asked = retry_after(headers)
        if asked is None:
            return Busy(message, self._backoff(attempt))
        if asked > LONGEST_RETRY_AFTER:
            return Resting(f"{message} (it asks for {asked:.0f} s)")
        gate.rest(asked)
        return Busy(message, asked)

    def _backoff(self, attempt: int) -> float:
        """Exponential with full jitter: any time up to the doubled wait, so that clients do not return all at once."""
        return random.uniform(0, min(LONGEST_BACKOFF, self.settings.backoff * 2 ** (attempt - 1)))

    def _gate(self, url: str) -> HostGate:
        gates = _gates.setdefault(asyncio.get_running_loop(), {})
        return gates.setdefault(_origin(url), HostGate(asyncio.Semaphore(self.settings.connections)))

    async def _obey_robots(self, url: str) -> None:
        gate = self._gate(url)
        async with gate.robots_known:
            if gate.robots is None:
                address = f"{_origin(url)}/robots.txt"
                answer = await self._patiently(lambda attempt: self._send(address, {}, 1 << 20, attempt))
                # RFC 9309, 2.3.1: no robots.txt (any 4xx) means no restrictions.
                gate.robots = Protego.parse(answer.body.decode(errors="replace") if answer.status == 200 else "")
                gate.interval = float(gate.robots.crawl_delay(AGENT) or 0)
        if not gate.robots.can_fetch(url, AGENT):
            raise Unfit(f"robots.txt of {_origin(url)} forbids {httpx.URL(url).path}")


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds the host asks to wait: Retry-After as number or date (RFC 9110, 10.2.3); None when it says nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        # By the host's own clock where it tells it, for ours may differ.
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _wait_of(error: Exception) -> bool | float:
    return error.wait if isinstance(error, Busy) and error.wait is not None else False


def _origin(url: str) -> str:
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


def _version() -> str:
    try:
        return version(AGENT)
    except PackageNotFoundError:  # run from a checkout
        return "0"
