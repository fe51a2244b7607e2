"""Answers without end, too large, too slow or badly packed: read within our own limits and set aside."""

import asyncio
import gzip
import itertools
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tasks.scrape.bodies import read_body
from tasks.scrape.errors import Busy, ScrapeError, Unfit
from tasks.scrape.polite import PoliteClient
from tasks.scrape.scrape import scrape
from tests.scrape.faults import Fault, faulty_wiki, small_wiki
from tests.scrape.test_answers import second

MIB = 1 << 20
# The sockets' buffers of both sides hold a few MB that were sent and never read.
IN_BUFFERS = 16 * MIB


def endless() -> Iterator[bytes]:
    return itertools.repeat(b"\x00" * 65536)


def endless_gzip(byte: bytes = b"\x00") -> Iterator[bytes]:
    """A thousand bytes for each one on the wire, without end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    while True:
        yield packer.compress(byte * MIB)


def empty_blocks() -> Iterator[bytes]:
    """Compressed data that decompresses to nothing, without end."""
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    yield packer.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(b"\x00\x00\x00\xff\xff" * 10_000)


def trickle() -> Iterator[bytes]:
    for _ in itertools.repeat(0):
        time.sleep(0.05)
        yield b"x"


@pytest.mark.parametrize(
    ("stream", "packed"), [(endless, False), (endless_gzip, True), (empty_blocks, True)], ids=["plain", "gzip", "empty"]
)
async def test_a_body_without_end_is_read_to_our_limit_whatever_the_api_says(quick, store, stream, packed):
    small = small_wiki()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    fault = Fault(small.files[1].path, 200, kind="image/png", headers=headers, stream=stream, times=9)
    with faulty_wiki(fault, wiki=small, alter=second("size", 32 * MIB)) as wiki:
        _, originals, (lost,) = await scrape(quick(wiki.api_url, max_bytes=32 * MIB), store)
    assert len(originals) == 5
    assert "longer than the" in lost.reason
    assert wiki.streamed < 2 * 32 * MIB + IN_BUFFERS


@pytest.mark.parametrize("match", ["/api.php", "/wiki/", "/robots.txt"])
async def test_pages_and_answers_of_the_api_without_end(quick, match):
    with faulty_wiki(Fault(match, 200, stream=endless, times=9), wiki=small_wiki()) as wiki:
        settings = quick(wiki.api_url, gallery_url=f"{wiki.running.url}/wiki/Category:Birds")
        async with PoliteClient(settings) as client:
            if match == "/robots.txt":  # only its beginning counts (RFC 9309)
                assert (await client.get(wiki.api_url)).status == 200
            else:
                with pytest.raises(ScrapeError, match="longer than the"):
                    await (client.api(meta="siteinfo") if match == "/api.php" else client.get(settings.gallery_url))
    assert wiki.streamed < 16 * MIB + IN_BUFFERS


async def parts(data: bytes, size: int = 65536):
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_memory_is_bounded_while_decompressing():
    bomb = gzip.compress(bytes(256 * MIB))
    tracemalloc.start()
    with pytest.raises(Unfit, match="longer than the 1048576 bytes"):
        await read_body(parts(bomb), "gzip", MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress], ids=["identity", "gzip", "deflate"])
@pytest.mark.parametrize("size", [0, 1, 1000, 65537])
async def test_what_is_packed_once_is_unpacked(pack: Callable[[bytes], bytes], size):
    data = bytes(range(256)) * 300
    encoding = {bytes: "", gzip.compress: " GZip", zlib.compress: "deflate"}[pack]  # type: ignore[index]
    for step in (1, 100_000):
        assert await read_body(parts(pack(data[:size]), step), encoding, size) == data[:size]


@pytest.mark.parametrize(
    ("encoding", "data", "reason"),
    [
        ("gzip", b"no gzip at all", "broken compression"),
        ("gzip", gzip.compress(b"torn" * 999, mtime=0)[:20], "broken compression: it ends too early"),
        ("gzip", gzip.compress(bytes(range(200)), mtime=0)[:-9] + b"wrongsum!", "broken compression"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"nested", mtime=0), mtime=0), "unknown compression"),
        ("br", b"x", "unknown compression"),
        ("\ud800", b"x", "unknown compression"),
    ],
)
async def test_what_is_badly_packed_is_a_reject(quick, store, encoding, data, reason):
    with pytest.raises(Unfit, match=f"^{reason}"):
        await read_body(parts(data), encoding, 10_000)
    if encoding.isascii():
        small = small_wiki()
        headers = {"Content-Encoding": encoding}
        with faulty_wiki(Fault(small.files[2].path, 200, data, headers=headers, times=9), wiki=small) as wiki:
            _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
        assert len(originals) == 5
        assert lost.reason.startswith(reason)


@pytest.mark.parametrize("match", ["/images/", "/robots.txt"])
async def test_an_answer_that_trickles_is_given_up(quick, match):
    """Each byte comes in time, the whole never would; the limit is ours, the clock of the test only a net."""
    with faulty_wiki(Fault(match, 200, stream=trickle, times=9), wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url, timeout=0.3, attempts=1)) as client:
            with pytest.raises(Busy, match="TimeoutError"):
                await asyncio.wait_for(client.get(f"{wiki.running.url}/images/a/ab/A.png"), 300)
    assert wiki.streamed < 1000


async def test_a_crawl_delay_of_a_day_is_refused_and_not_waited_for(quick):
    with faulty_wiki(robots="User-agent: *\nCrawl-delay: 86400\n", wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            for _ in range(2):
                with pytest.raises(ScrapeError, match=r"asks for 86400 s between two requests.*more than the 60 s"):
                    await asyncio.wait_for(client.api(meta="siteinfo"), 300)
    assert not wiki.asked("/api.php")
    assert len(wiki.asked("/robots.txt")) == 1


@pytest.mark.parametrize("value", ["²", "9" * 400, "-1", "Mon, 01 Jan 9999999 00:00:00 GMT", "nan", "inf"])
async def test_a_retry_after_that_is_none_does_not_stop_the_run(quick, value):
    fault = partial(Fault, "/api.php", 503, headers={"Retry-After": value})
    with faulty_wiki(fault(), wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            if value.startswith("999"):
                with pytest.raises(Busy, match="it asks for"):
                    await client.api(meta="siteinfo")
            else:
                assert await client.api(meta="siteinfo")
