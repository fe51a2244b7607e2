"""Reading an answer's body within limits of ours: bytes on the wire, bytes after decompression, and time.

What the other side says of sizes counts for nothing here.
"""

import asyncio
import zlib
from collections.abc import AsyncIterable, Callable
from contextlib import asynccontextmanager

from tasks.scrape.errors import Unfit

IDENTITY = ("", "identity")
ONCE_COMPRESSED = ("gzip", "x-gzip", "deflate")
EITHER_HEADER = 47  # zlib's window bits for "gzip or zlib, whichever the data starts with"
# A whole answer may take so long, and must come at such a pace after the time a single wait may take; an answer that
# trickles at a byte a second keeps every other limit for ever.
LONGEST_ANSWER = 600.0  # seconds
SLOWEST = 8192  # bytes a second


class TooLong(Unfit):
    """The body has more bytes than its limit; `start` are as many as the limit."""

    def __init__(self, limit: int, start: bytes):
        super().__init__(f"the answer is longer than the {limit} bytes expected")
        self.start = start


async def read_body(
    parts: AsyncIterable[bytes], encoding: str, limit: int, received: Callable[[int], None] = lambda n: None
) -> bytes:
    """The body from its parts as they come, decompressed while it is read; at most `limit` bytes are ever held.

    `encoding` is the Content-Encoding header; `received` hears how many bytes came over the wire so far.
    Raises TooLong, or Unfit when the compression is broken, nested or none that was asked for.
    """
    encoding = encoding.strip().lower()
    if encoding not in (*IDENTITY, *ONCE_COMPRESSED):
        raise Unfit(f"unknown compression: Content-Encoding {encoding[:80]!r}, and only gzip was offered, once")
    inflate = None if encoding in IDENTITY else zlib.decompressobj(EITHER_HEADER)
    body, wire = bytearray(), 0
    async for part in parts:
        wire += len(part)
        received(wire)
        try:
            # One byte more than may be: so nothing is left over unless the body is too long. (0 would be no limit.)
            body += inflate.decompress(part, limit + 1 - len(body)) if inflate else part
        except zlib.error as error:
            raise Unfit(f"broken compression: {error}") from None
        # Endless bytes that decompress to nothing must end, too.
        if len(body) > limit or wire > 2 * limit + 65536:
            raise TooLong(limit, bytes(body[:limit]))
    if inflate and wire and not inflate.eof:
        raise Unfit("broken compression: it ends too early")
    return bytes(body)


@asynccontextmanager
async def paced(timeout: float):
    """Raise TimeoutError when the answer read inside is too slow as a whole; gives the `received` of `read_body`.

    `timeout`: seconds a single wait may take; the start of the answer may take two, then SLOWEST counts.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.timeout_at(start + 2 * timeout) as clock:
        yield lambda wire: clock.reschedule(start + min(LONGEST_ANSWER, 2 * timeout + wire / SLOWEST))
