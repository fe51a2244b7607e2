"""How the client behaves towards a wiki that is busy, broken, strict or gone."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from tasks.scrape.errors import Busy, ScrapeError, Unfit, Unreachable
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient, retry_after
from tests.scrape.faults import Fault, faulty_wiki, small_wiki


async def addresses(client: PoliteClient) -> list[str]:
    return [image.url for image in (await take_inventory(client.settings, client)).images]


async def test_one_retry_after_holds_all_requests_to_that_host(quick):
    with faulty_wiki(wiki=small_wiki()) as wiki:
        settings = quick(wiki.api_url, connections=1)  # no other request is on its way when the refusal comes
        async with PoliteClient(settings) as client, PoliteClient(settings) as other:
            urls = await addresses(client)
            wiki.faults.append(Fault("/images/", 429, headers={"Retry-After": "1"}))
            answers = await asyncio.gather(*(c.get(u) for c, u in zip([client, other] * 3, urls, strict=True)))
    assert [a.status for a in answers] == [200] * 6
    refused, *later = wiki.asked("/images/")
    assert len(later) == 6
    assert all(r.start >= refused.end + 1 for r in later)


def test_retry_after_is_read_as_seconds_and_as_a_date_by_the_hosts_clock():
    theirs = datetime(2020, 5, 4, 12, 0, tzinfo=UTC)  # a host whose clock is years behind
    date = format_datetime(theirs + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Headers({"Retry-After": "7"})) == 7
    assert retry_after(httpx.Headers({"Retry-After": date, "Date": format_datetime(theirs, usegmt=True)})) == 90
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 45 < (retry_after(httpx.Headers({"Retry-After": soon})) or 0) <= 50
    assert retry_after(httpx.Headers({"Retry-After": "soon"})) is None
    assert retry_after(httpx.Headers({})) is None


async def test_a_host_that_wants_an_hour_is_not_waited_for(quick):
    with faulty_wiki(Fault("/api.php", 503, headers={"Retry-After": "3600"})) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(Busy, match="3600 s"):
                await client.api(meta="siteinfo")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_wiki_is_asked_again(quick, status):
    with faulty_wiki(Fault("/api.php", status, times=2)) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            assert "query" in await client.api(meta="siteinfo")
    assert len(wiki.asked("/api.php")) == 3


async def test_a_wiki_that_stays_busy_is_given_up(quick):
    with faulty_wiki(Fault("/api.php", 503, times=99)) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(Busy, match="busy \\(status 503\\)"):
                await client.api(meta="siteinfo")
    assert len(wiki.asked("/api.php")) == 4


async def test_a_host_that_is_down_is_not_asked_for_every_file(quick):
    with faulty_wiki(wiki=small_wiki(40)) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            urls = await addresses(client)
            wiki.faults.append(Fault("/images/", 503, times=999))
            answers = await asyncio.gather(*(client.get(u) for u in urls), return_exceptions=True)
    assert all(isinstance(a, Busy) for a in answers)
    assert len(wiki.asked("/images/")) <= 14  # and not 4 attempts × 40


async def test_a_body_cut_short_is_fetched_again(quick):
    with faulty_wiki(wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            url = (await addresses(client))[0]
            wiki.faults.append(Fault("/images/", 200, body=b"\x89PNG only the begin", promise=1000))
            answer = await client.get(url)
    assert len(answer.body) > 1000
    assert len(wiki.asked("/images/")) == 2


async def test_an_answer_longer_than_it_may_be_is_not_read(quick):
    with faulty_wiki(wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            url = (await addresses(client))[0]
            with pytest.raises(Unfit, match="longer than the 100 bytes"):
                await client.get(url, limit=100)


async def test_maxlag_comes_with_status_200_and_is_waited_out(quick):
    error = {"error": {"code": "maxlag", "info": "Waiting for a database server: 6 seconds lagged.", "lag": 6}}
    lagged = Fault("/api.php", 200, json.dumps(error).encode(), "application/json", {"Retry-After": "1"})
    with faulty_wiki(lagged) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            assert "query" in await client.api(meta="siteinfo")
    first, second = wiki.asked("/api.php")
    assert "maxlag=5" in first.path
    assert second.start >= first.end + 1


async def test_a_missing_file_is_asked_for_once(quick):
    with faulty_wiki() as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            answer = await client.get(f"{wiki.running.url}/images/0/00/Nobody.png")
    assert answer.status == 404
    assert len(wiki.asked("/images/")) == 1


async def test_robots_txt_is_obeyed(quick):
    with faulty_wiki(robots="User-agent: wikistyle\nDisallow: /images/\n", wiki=small_wiki()) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            for url in await addresses(client):
                with pytest.raises(Unfit, match=r"robots.txt of http://127.0.0.1:\d+ forbids /images/"):
                    await client.get(url)
    assert not wiki.asked("/images/")
    assert len(wiki.asked("/robots.txt")) == 1


async def test_an_api_that_robots_txt_forbids_is_not_asked(quick):
    with faulty_wiki(robots="User-agent: *\nDisallow: /\n") as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(ScrapeError, match="ask its operators"):
                await client.api(meta="siteinfo")
    assert not wiki.asked("/api.php")


async def test_crawl_delay_spaces_requests(quick):
    with faulty_wiki(robots="User-agent: *\nCrawl-delay: 0.3\n") as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            began = time.monotonic()
            await asyncio.gather(*(client.api(meta="siteinfo") for _ in range(3)))
    starts = [r.start for r in wiki.asked("/api.php")]
    assert all(start >= began + 0.3 * nth for nth, start in enumerate(starts))


@pytest.mark.parametrize("connections", [1, 3])
async def test_connections_to_a_host_are_limited_over_all_clients(quick, connections):
    with faulty_wiki(slow=0.03, wiki=small_wiki(12)) as wiki:
        settings = quick(wiki.api_url, connections=connections)
        async with PoliteClient(settings) as client, PoliteClient(settings) as other:
            urls = await addresses(client)
            await asyncio.gather(*(c.get(u) for u in urls for c in (client, other)))
    requests = wiki.asked("/images/")
    at_once = max(sum(r.start <= moment.start < r.end for r in requests) for moment in requests)
    assert at_once == connections


async def test_the_wiki_learns_who_asks(quick):
    with faulty_wiki() as wiki:
        async with PoliteClient(quick(wiki.api_url, contact="ada@example.org")) as client:
            await client.api(meta="siteinfo")
    assert all(r.agent.startswith("wikistyle/") and "ada@example.org" in r.agent for r in wiki.requests)


async def test_a_wiki_that_is_not_there(quick):
    with faulty_wiki() as wiki:
        gone = wiki.api_url
    async with PoliteClient(quick(gone)) as client:
        with pytest.raises(Unreachable, match=r"can't be reached .*; check the address or your network") as caught:
            await client.api(meta="siteinfo")
    assert gone.removesuffix("/api.php") in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_address_that_is_none(quick):
    async with PoliteClient(quick("htp:/wiki")) as client:
        with pytest.raises(ScrapeError, match="htp:"):
            await client.api(meta="siteinfo")


@pytest.mark.parametrize("path", ["/wiki/Main_Page", "/nothing.php"])
async def test_a_page_that_is_no_api(quick, path):
    with faulty_wiki() as wiki:
        async with PoliteClient(quick(f"{wiki.running.url}{path}")) as client:
            with pytest.raises(ScrapeError, match=r"doesn't answer like a MediaWiki API.*api\.php"):
                await client.api(meta="siteinfo")
