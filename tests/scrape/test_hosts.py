"""Whom a wiki may send us to: hop by hop, to its own hosts and those its API names, and not into our own network."""

import ipaddress
from typing import Any

import httpcore
import pytest

from tasks.scrape import hosts
from tasks.scrape.errors import ScrapeError, Unfit, Unreachable
from tasks.scrape.hosts import kind_of
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.scrape import scrape
from tests.scrape.faults import Alter, Fault, FaultyWiki, faulty_wiki, small_wiki


def redirect(match: str, to: str, status: int = 302) -> Fault:
    return Fault(match, status, headers={"Location": to}, times=99)


def files_at(other: FaultyWiki) -> Alter:
    """The API names another host for the files."""

    def alter(content: dict[str, Any], path: str) -> None:
        for page in content.get("query", {}).get("pages", []):
            info = page["imageinfo"][0]
            info["url"] = other.running.url + "/images/" + info["url"].partition("/images/")[2]

    return alter


async def test_a_redirect_to_a_host_nobody_named_is_not_followed(quick, store):
    small = small_wiki()
    with faulty_wiki(wiki=small) as other, faulty_wiki(wiki=small) as wiki:
        wiki.faults.append(redirect(small.files[0].path, f"{other.running.url}{small.files[0].path}"))
        _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
    assert len(originals) == 5
    assert lost.reason.startswith("not the wiki's host: 127.0.0.1:")
    assert other.requests == []


async def test_files_at_a_host_the_api_names_come_from_there_by_its_robots_txt(quick, store):
    small = small_wiki()
    robots = f"User-agent: *\nDisallow: {small.files[3].path}\n"
    with faulty_wiki(wiki=small, robots=robots) as other, faulty_wiki(wiki=small, alter=files_at(other)) as wiki:
        _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
    assert len(originals) == len(other.asked("/images/")) == 5
    assert f"robots.txt of {other.running.url} forbids" in lost.reason
    assert other.requests[0].path == "/robots.txt"
    assert not wiki.asked("/images/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_hop_obeys_robots_txt_and_the_gate(quick, store, status):
    small = small_wiki()
    moved = f"/moved{small.files[0].path}"
    robots = "User-agent: *\nDisallow: /moved\n"
    with faulty_wiki(wiki=small, robots=robots) as wiki:
        wiki.faults.append(redirect(small.files[0].path, moved, status))
        _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
    assert len(originals) == 5
    assert "forbids /moved" in lost.reason
    assert not wiki.asked("/moved")


async def test_a_redirect_on_the_wikis_own_host_is_followed(quick, store):
    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        wiki.faults.append(redirect("/old.php", "/api.php?action=query&format=json&meta=siteinfo"))
        async with PoliteClient(quick(f"{wiki.running.url}/old.php")) as client:
            assert "query" in await client.api(meta="siteinfo")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("{self}", "redirected without end"),
        ("file:///etc/passwd", "unusable address"),
        ("http://[::1", "unusable address"),
        ("http://127.0.0.1:99999/", "unusable address"),
        ("gopher://127.0.0.1/", "unusable address"),
        ("//", "redirected without end"),  # which is the address itself
        ("http://169.254.169.254/latest/meta-data/", "not the wiki's host"),
        ("http://user:secret@127.0.0.1/", "unusable address"),
        ("http://127.0.0.1:1/", "not the wiki's host"),
        ("/\u00e9\x01", "unusable address"),
        ("/" + "x" * 9000, "unusable address"),
    ],
)
async def test_a_bad_redirect_costs_one_file(quick, store, location, reason):
    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        wiki.faults.append(redirect(small.files[0].path, location.replace("{self}", small.files[0].path)))
        _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
    assert len(originals) == 5
    assert lost.reason.startswith(reason)
    assert len(wiki.asked(small.files[0].path)) <= 6


async def test_a_wiki_that_moved_to_another_host_says_so(quick):
    with faulty_wiki(wiki=small_wiki()) as other, faulty_wiki(wiki=small_wiki()) as wiki:
        wiki.faults.append(redirect("/api.php", other.api_url))
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(ScrapeError, match="if the wiki moved there, give its new address"):
                await client.api(meta="siteinfo")
    assert other.requests == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.216.34", "public"),
        ("2606:2800:220:1::1", "public"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("10.1.2.3", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("0.0.0.0", "special"),
        ("0.1.2.3", "special"),
        ("::", "special"),
        ("224.0.0.1", "special"),
        ("ff02::1", "special"),
    ],
)
def test_kinds_of_addresses(address, kind):
    assert kind_of(ipaddress.ip_address(address)) == kind


@pytest.fixture
def names(monkeypatch) -> dict[str, str]:
    """Where names lead, in place of the network's name service."""
    known: dict[str, str] = {}

    async def resolve(host: str, port: int) -> list[hosts.IP]:
        if host not in known:
            raise httpcore.ConnectError(f"no such name {host}")
        return [ipaddress.ip_address(known[host])]

    monkeypatch.setattr(hosts, "resolve", resolve)
    return known


async def test_a_public_wiki_cannot_send_us_to_this_machine(quick, names):
    """Names are looked up and what is connected to is checked, whoever named them."""
    names |= {"wiki.example": "93.184.216.34", "files.example": "127.0.0.1", "meta.example": "169.254.169.254"}
    with faulty_wiki(wiki=small_wiki()) as wiki:
        port = wiki.running.url.rpartition(":")[2]
        async with PoliteClient(quick("http://wiki.example/api.php", rights_basis="ours")) as client:
            for host, kind in (("files.example", "loopback"), ("meta.example", "link-local")):
                client.hosts.allow([f"http://{host}:{port}/"])
                with pytest.raises(Unfit, match=f"not a public address: {host} is at .*{kind}"):
                    await client.get(f"http://{host}:{port}/images/a.png")
    assert wiki.requests == []


async def test_a_wiki_of_this_machine_may_be_named_by_any_of_its_names(quick, names):
    names |= {"wiki.example": "127.0.0.1", "127.0.0.1": "127.0.0.1", "meta.example": "169.254.169.254"}
    with faulty_wiki(wiki=small_wiki()) as wiki:
        address = wiki.api_url.replace("127.0.0.1", "wiki.example")
        async with PoliteClient(quick(address, rights_basis="ours")) as client:
            inventory = await take_inventory(client.settings, client)
            client.hosts.allow([inventory.images[0].url, "http://meta.example/", "http://gone.example/"])
            assert (await client.get(inventory.images[0].url)).status == 200
            with pytest.raises(Unfit, match=r"meta\.example is at .*link-local"):
                await client.get("http://meta.example/latest/")
            with pytest.raises(Unreachable, match=r"no such name gone\.example"):
                await client.get("http://gone.example/a.png")
