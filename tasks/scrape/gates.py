"""What all requests to one host share: how many at once, when the next may start, and how the last ones went.

What a host has said (its robots.txt, its Retry-After) holds for every client in this process, so that tasks that run
side by side do not each have to be told.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from tasks.scrape.errors import Down

# A host that failed for so many addresses without one success between is down: the requests still waiting are not
# tried, or a wiki that hangs would hold a run for hours. After the rest (seconds) it gets another chance.
FAILED_ADDRESSES = 8
REST_WHEN_DOWN = 15.0


@dataclass
class HostGate:
    """What all requests to one host share."""

    slots: asyncio.Semaphore
    robots_known: asyncio.Lock = field(default_factory=asyncio.Lock)
    robots: Any = None
    refusal: str = ""  # why this host may not be asked at all
    not_before: float = 0.0  # the event loop's time of the next allowed start
    interval: float = 0.0  # seconds between starts (robots.txt's Crawl-delay)
    failed: set[str] = field(default_factory=set)  # addresses, since the last success
    last_failure: float = 0.0

    async def turn(self, though_down: bool = False) -> None:
        """Wait until a request may start. Raises Down when the host is, unless told not to mind."""
        loop = asyncio.get_running_loop()
        if (
            not though_down
            and len(self.failed) >= FAILED_ADDRESSES
            and loop.time() < self.last_failure + REST_WHEN_DOWN
        ):
            raise Down(f"the host failed for {len(self.failed)} addresses in a row; run again later")
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


def gate_of(url: str, connections: int) -> HostGate:
    """The gate of an address's host in the running event loop, made for so many connections if it is new."""
    gates = _gates.setdefault(asyncio.get_running_loop(), {})
    return gates.setdefault(origin(url), HostGate(asyncio.Semaphore(connections)))


def origin(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"
