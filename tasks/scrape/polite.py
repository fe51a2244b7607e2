"""One polite HTTP client: robots.txt, few connections per host, and waiting when and as long as the host asks.

Redirects are followed here, hop by hop, so that each hop is to a host that may be asked, by its own robots.txt and
through its own gate. Answers are read within limits of ours, whatever the other side says of them.
"""

import json
import random
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import httpcore
import httpx
import stamina
from protego import Protego

from tasks.common.fields import address, for_message
from tasks.scrape.bodies import TooLong, paced, read_body
from tasks.scrape.errors import Busy, Resting, ScrapeError, Unfit, Unreachable
from tasks.scrape.gates import HostGate, gate_of, origin
from tasks.scrape.hosts import CheckedNetwork, Hosts, inside
from tasks.scrape.settings import ScrapeSettings

T = TypeVar("T")
AGENT = "wikistyle"
LONGEST_BACKOFF = 60.0  # seconds
LONGEST_RETRY_AFTER = 600.0  # seconds: a host that wants a longer rest ends the run instead of holding it
# Seconds between two requests. Who asks for more is not asked at all: capping it would be disobeying it, and a wiki of
# a thousand files would hold a run for weeks.
LONGEST_CRAWL_DELAY = 60.0
MAXLAG = "5"  # seconds of replication lag beyond which MediaWiki is to turn us away
MOST_BYTES = 16 << 20  # of a page or an API answer, which MediaWiki itself keeps below 8 MiB
MOST_OF_ROBOTS = 512 << 10  # RFC 9309, 2.5: what lies beyond 500 KiB need not be read
MOST_HOPS = 5


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer; `url` is where it came from after redirects. The body of any status but 200 is empty."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str


class PoliteClient:
    """Use as `async with PoliteClient(settings) as client`; `get` for files and pages, `api` for the wiki's api.php.

    It asks the hosts of the settings' addresses and those that `hosts.allow` adds, and no others.
    """

    def __init__(self, settings: ScrapeSettings):
        self.settings = settings
        try:
            self.hosts = Hosts((settings.api_url, settings.gallery_url))
        except httpx.InvalidURL as error:
            raise ScrapeError(f"api_url or gallery_url is no address ({error}); check both") from None
        contact = f"contact: {settings.contact}" if settings.contact else "no contact given"
        self._agent = f"{AGENT}/{_version()} ({contact}) python-httpcore/{httpcore.__version__}"
        self._tls = httpx.create_ssl_context()
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def __aenter__(self) -> "PoliteClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def get(self, url: str, accept: str = "*/*", limit: int = MOST_BYTES, fresh: bool = False) -> Answer:
        """The answer to a GET, whatever its status below 500 but 429.

        `limit`: most bytes to read; `fresh`: ask caches on the way for the newest copy.
        Raises Unfit when the address, or one it redirects to, can't or may not be asked or the answer is no good (too
        long, badly compressed), Busy when the host stays busy.
        """
        headers = {"Accept": accept} | ({"Cache-Control": "no-cache"} if fresh else {})
        return await self._patiently(lambda attempt: self._follow(url, headers, limit, attempt))

    async def api(self, **params: str) -> dict[str, Any]:
        """The answer of api.php to an action=query, as JSON in format version 2.

        Raises ScrapeError when it is no MediaWiki API or the request is refused, Busy when it stays busy or lagged.
        """
        asked = {"action": "query", "format": "json", "formatversion": "2", "maxlag": MAXLAG} | params
        try:
            url = str(httpx.URL(self.settings.api_url).copy_merge_params(asked))
            return await self._patiently(lambda attempt: self._api_once(url, attempt))
        except Unfit as error:
            raise ScrapeError(f"wiki {self.settings.api_url} can't be asked ({error}); check the address") from None

    async def answers(self) -> bool:
        """Whether the wiki's API answers now: asked once, though its host may count as down."""
        url = str(httpx.URL(self.settings.api_url).copy_merge_params({"action": "query", "format": "json"}))
        try:
            return (await self._exchange(url, {}, MOST_BYTES, cut=True)).status == 200
        except (Unfit, TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            return False

    async def _api_once(self, url: str, attempt: int) -> dict[str, Any]:
        wiki = self.settings.api_url
        answer = await self._follow(url, {"Accept": "application/json"}, MOST_BYTES, attempt)
        try:
            content = json.loads(answer.body)
            if answer.status != 200 or not isinstance(content, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise ScrapeError(
                f"{wiki} doesn't answer like a MediaWiki API (status {answer.status}, "
                f"{for_message(answer.headers.get('Content-Type', 'no type'))}); give the address of the wiki's api.php"
            ) from None
        if error := content.get("error"):
            code, info = (error.get("code"), error.get("info")) if isinstance(error, dict) else ("error", error)
            message = f"wiki {wiki} refused a request ({for_message(code)}: {for_message(info)})"
            if code in ("maxlag", "ratelimited"):  # these come with status 200
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

    async def _follow(
        self, url: str, headers: dict[str, str], limit: int, attempt: int, robots: bool = True, cut: bool = False
    ) -> Answer:
        """The answer at the end of at most MOST_HOPS redirects, each hop checked before it is made."""
        for _ in range(MOST_HOPS + 1):
            try:
                self.hosts.check(address(url))
            except ValueError as error:
                raise Unfit(f"unusable address: {for_message(url)} {error}") from None
            if robots:
                await self._obey_robots(url)
            answer = await self._send(url, headers, limit, attempt, cut)
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            try:
                url = str(httpx.URL(url).join(location).copy_with(fragment=None))
            except (httpx.InvalidURL, ValueError) as error:
                raise Unfit(f"unusable address: redirected to {for_message(location)} ({error})") from None
        raise Unfit(f"redirected without end: more than {MOST_HOPS} times, last to {for_message(url)}")

    async def _send(self, url: str, headers: dict[str, str], limit: int, attempt: int, cut: bool) -> Answer:
        gate = self._gate(url)
        try:
            async with gate.slots:
                # The API is asked for one thing at a time, and whether it answers is what is to be found out.
                await gate.turn(though_down=url.startswith(self.settings.api_url))
                answer = await self._exchange(url, headers, limit, cut)
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError) as error:
            raise Unfit(f"unusable address: {for_message(url)} ({error})") from None
        except (TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            gate.note(url, failed=True)
            reason = f"{type(error).__name__}: {for_message(error)}".rstrip(": ")
            message = f"wiki {origin(url)} can't be reached ({reason}); check the address or your network"
            if isinstance(error, httpcore.ConnectError):
                # A wrong address is far more likely than an outage of seconds: ask once more, not for minutes.
                raise Unreachable(message, self._backoff(attempt) if attempt < 2 else None) from None
            raise Busy(message, self._backoff(attempt)) from None
        failed = answer.status == 429 or answer.status >= 500
        gate.note(url, failed)
        if failed:
            message = f"{origin(url)} is busy (status {answer.status}); run again later"
            raise self._busy(message, gate, answer.headers, attempt)
        return answer

    async def _exchange(self, url: str, headers: dict[str, str], limit: int, cut: bool) -> Answer:
        """One request and its answer; with `cut` a body that is too long is cut instead of refused."""
        wait = self.settings.timeout
        parts = httpx.URL(url)
        target = httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
        sent = {"Host": parts.netloc.decode(), "User-Agent": self._agent, "Accept-Encoding": "gzip"} | headers
        fields = [(name.encode(), value.encode()) for name, value in sent.items()]
        within = {"timeout": {"connect": wait, "read": wait, "write": wait}}
        async with (
            paced(wait) as received,
            self._pool(url).stream("GET", target, headers=fields, extensions=within) as response,
        ):
            answered = httpx.Headers(response.headers)
            body = b""
            if response.status == 200:
                encoding = answered.get("Content-Encoding", "")
                try:
                    body = await read_body(response.aiter_stream(), encoding, limit, received)
                except TooLong as error:
                    if not cut:
                        raise
                    body = error.start
        return Answer(response.status, answered, body, url)

    def _pool(self, url: str) -> httpcore.AsyncConnectionPool:
        """Connections to permitted addresses, or to the proxy the environment names, which then looks names up."""
        parts = httpx.URL(url)
        proxies = urllib.request.getproxies()
        direct = inside(url) or urllib.request.proxy_bypass(parts.host)
        proxy = "" if direct else proxies.get(parts.scheme) or proxies.get("all") or ""
        if proxy not in self._pools:
            if proxy:
                named = httpx.Proxy(proxy)
                self._pools[proxy] = httpcore.AsyncHTTPProxy(
                    str(named.url), proxy_auth=named.raw_auth, ssl_context=self._tls, max_connections=None
                )
            else:  # the gates limit connections, for each host
                network = CheckedNetwork(self.hosts)
                self._pools[proxy] = httpcore.AsyncConnectionPool(
                    self._tls, max_connections=None, keepalive_expiry=5, network_backend=network
                )
        return self._pools[proxy]

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
        return gate_of(url, self.settings.connections)

    async def _obey_robots(self, url: str) -> None:
        """Raise Unfit unless the host's robots.txt lets us have the address."""
        gate = self._gate(url)
        async with gate.robots_known:
            if gate.robots is None and not gate.refusal:
                try:
                    await self._learn_robots(gate, f"{origin(url)}/robots.txt")
                except Unfit as error:
                    gate.refusal = f"robots.txt of {origin(url)} can't be read: {error}"
        if gate.refusal:
            raise Unfit(gate.refusal)
        if gate.robots and not gate.robots.can_fetch(url, AGENT):
            path = httpx.URL(url).path
            raise Unfit(f"robots.txt of {origin(url)} forbids {path}; ask its operators for permission")

    async def _learn_robots(self, gate: HostGate, url: str) -> None:
        answer = await self._patiently(
            lambda attempt: self._follow(url, {}, MOST_OF_ROBOTS, attempt, robots=False, cut=True)
        )
        # RFC 9309, 2.3.1: no robots.txt (any 4xx) means no restrictions.
        gate.robots = Protego.parse(answer.body.decode(errors="replace") if answer.status == 200 else "")
        delay = float(gate.robots.crawl_delay(AGENT) or 0)
        if delay > LONGEST_CRAWL_DELAY:
            gate.refusal = (
                f"robots.txt of {origin(url)} asks for {delay:.0f} s between two requests (Crawl-delay), more than the "
                f"{LONGEST_CRAWL_DELAY:.0f} s a run can wait; ask its operators for permission"
            )
        gate.interval = min(delay, LONGEST_CRAWL_DELAY)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds the host asks to wait: Retry-After as number or date (RFC 9110, 10.2.3); None when it says nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # By the host's own clock where it tells it, for ours may differ.
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _wait_of(error: Exception) -> bool | float:
    return error.wait if isinstance(error, Busy) and error.wait is not None else False


def _version() -> str:
    try:
        return version(AGENT)
    except PackageNotFoundError:  # run from a checkout
        return "0"
