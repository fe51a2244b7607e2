"""A wiki whose API says what no API says: what is bad is set aside and counted, and nothing of it becomes a path."""

import itertools
import json
from typing import Any

import pytest

from tasks.scrape import listing
from tasks.scrape.answers import MALFORMED
from tasks.scrape.errors import ScrapeError
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.scrape import scrape
from tests.scrape.faults import Alter, Fault, faulty_wiki, small_wiki

BAD = [
    ("sha1", "../../../../../../outside"),
    ("sha1", "/{outside}"),
    ("sha1", "AB" * 20),
    ("sha1", "ab" * 20 + "\n"),
    ("sha1", 12),
    ("size", -1),
    ("size", 10**40),
    ("size", "100"),
    ("size", 1.5),
    ("width", None),
    ("height", True),
    ("width", 10**30),
    ("url", "file:///etc/passwd"),
    ("url", "/images/a/ab/A.png"),
    ("url", "http://[::1"),
    ("url", "http://user:secret@127.0.0.1/A.png"),
    ("url", "http:///A.png"),
    ("url", "http://127.0.0.1:99999/A.png"),
    ("url", "javascript:alert(1)"),
    ("descriptionurl", "javascript:alert(1)"),
    ("mime", ["image/png"]),
    ("timestamp", "yesterday"),
    ("user", "Ann\x00"),
    ("user", "x" * 5000),
    ("user", "Ann \ud83d"),
    ("title", "File:\ud800.png"),
    ("title", "File:A\x1b[2J.png"),
    ("title", "File:" + "x" * 2000 + ".png"),
    ("title", "File:<script>.png"),
    ("title", None),
    ("title", ["File:A.png"]),
    ("ns", "6"),
    ("categories", [{"title": "Category:\udfff"}]),
    ("categories", {"title": "Category:A"}),
    ("imageinfo", "none"),
    ("imageinfo", ["none"]),
]


def second(field: str, value: Any) -> Alter:
    """What is said of the second of the listed files becomes this."""

    def alter(content: dict[str, Any], path: str) -> None:
        if "generator=" in path:
            page = content["query"]["pages"][1]
            (page if field in ("title", "ns", "categories", "imageinfo") else page["imageinfo"][0])[field] = value

    return alter


@pytest.mark.parametrize(("field", "value"), BAD, ids=[f"{f}-{n}" for n, (f, _) in enumerate(BAD)])
async def test_a_malformed_entry_is_a_reject_and_the_others_come(quick, store, tmp_path, field, value):
    if isinstance(value, str):
        value = value.replace("{outside}", str(tmp_path).lstrip("/") + "/outside")
    with faulty_wiki(wiki=small_wiki(), alter=second(field, value)) as wiki:
        inventory, originals, lost = await scrape(quick(wiki.api_url), store)
    assert (len(originals), lost, inventory.listed) == (5, (), 6)
    (reject,) = inventory.rejects
    assert reject.reason.startswith(f"{MALFORMED}: ")
    assert "\n" not in reject.reason
    assert len(reject.reason) < 400
    inventory.model_dump_json().encode()  # what is kept can be written
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize(
    "content",
    [
        {"query": []},
        {"query": {"pages": {"1": {"title": "File:A.png"}}}},
        {"query": {"pages": ["File:A.png"]}},
        {"query": {"pages": [{}] * 6000}},
        {"continue": "next"},
        {"continue": {"gaicontinue": {"a": 1}}},
        {"continue": {"gaicontinue": "x" * 100_000}},
        {"continue": {"action": "delete", "token": "x"}, "query": {"pages": []}},
        {"continue": {"generator": "allpages"}, "query": {"pages": []}},
        {"error": "no"},
        {"error": {"code": ["a"], "info": None}},
        [1, 2],
        "no",
    ],
)
async def test_a_whole_answer_that_is_not_the_apis_is_one_clear_error(quick, content):
    fault = Fault("generator=allimages", 200, json.dumps(content).encode(), "application/json", times=9)
    with faulty_wiki(fault) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(ScrapeError, match=r"api\.php") as caught:
                await take_inventory(client.settings, client)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert len(wiki.asked("generator=allimages")) == 1


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": ' * 100_000, b"\xff\xfe{}", b"9" * 10_000])
async def test_json_that_only_a_parser_minds(quick, body):
    with faulty_wiki(Fault("/api.php", 200, body, "application/json", times=9)) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(ScrapeError, match="doesn't answer like a MediaWiki API"):
                await client.api(meta="siteinfo")


async def test_many_malformed_entries_stop_the_run(quick):
    def alter(content: dict[str, Any], path: str) -> None:
        for page in content["query"].get("pages", [])[:4]:
            page["imageinfo"][0]["size"] = None

    with faulty_wiki(wiki=small_wiki(), alter=alter) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            with pytest.raises(ScrapeError, match=rf"4 of 6 files .* 4 because: {MALFORMED}"):
                await take_inventory(client.settings, client)


async def test_entries_without_titles_are_counted_one_by_one(quick):
    def alter(content: dict[str, Any], path: str) -> None:
        for page in content["query"].get("pages", [])[:2]:
            del page["title"]

    with faulty_wiki(wiki=small_wiki(12), alter=alter) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            inventory = await take_inventory(client.settings, client)
    assert (len(inventory.images), len(inventory.rejects), inventory.listed) == (10, 2, 12)


async def test_a_rendering_of_a_file_nobody_asked_for_changes_nothing(quick, store):
    """Titles in answers are the wiki's, not ours."""

    def alter(content: dict[str, Any], path: str) -> None:
        for page in content["query"].get("pages", []):
            if "iiurlwidth" in path:
                page |= {"title": "File:Another.svg", "imageinfo": [{"thumburl": "http://127.0.0.1/x.png"}]}
            elif page["title"] == small.files[0].title:
                page["imageinfo"][0]["mime"] = "image/svg+xml"

    small = small_wiki()
    with faulty_wiki(wiki=small, alter=alter) as wiki:
        async with PoliteClient(quick(wiki.api_url)) as client:
            inventory = await take_inventory(client.settings, client)
    (reject,) = inventory.rejects
    assert (reject.title, reject.reason) == (small.files[0].title, "SVG, and the wiki offers no PNG of it")


@pytest.mark.parametrize("invents_files", [False, True])
@pytest.mark.parametrize("category", ["", "Category:Drawings"])
async def test_a_list_that_never_ends_is_ended(quick, monkeypatch, invents_files, category):
    monkeypatch.setattr(listing, "MOST_FILES", 40)
    monkeypatch.setattr(listing, "MOST_REQUESTS", 30)
    monkeypatch.setattr(listing, "MOST_WITHOUT_NEWS", 20)
    count = itertools.count()

    def alter(content: dict[str, Any], path: str) -> None:
        if "generator=" in path:
            number = next(count)
            content["continue"] = {"gaicontinue": f"F{number}", "continue": "gaicontinue||"}
            if invents_files:
                content["query"] = {"pages": [{"ns": 6, "title": f"File:F{number}.png"}]}

    with faulty_wiki(wiki=small_wiki(), alter=alter) as wiki:
        async with PoliteClient(quick(wiki.api_url, category=category)) as client:
            with pytest.raises(ScrapeError, match="would never end"):
                await take_inventory(client.settings, client)
    assert 20 <= len(wiki.asked("generator=")) <= 31


async def test_categories_without_end_are_ended(quick, monkeypatch):
    monkeypatch.setattr(listing, "MOST_REQUESTS", 30)
    count = itertools.count()

    def alter(content: dict[str, Any], path: str) -> None:
        if "generator=" in path:
            content["query"] = {"pages": [{"ns": 14, "title": f"Category:C{next(count)}"}]}

    with faulty_wiki(wiki=small_wiki(), alter=alter) as wiki:
        async with PoliteClient(quick(wiki.api_url, category="Category:Drawings")) as client:
            with pytest.raises(ScrapeError, match="would never end"):
                await take_inventory(client.settings, client)
    assert len(wiki.asked("generator=")) == 31


async def test_a_size_that_is_too_small_is_a_reject(quick, store):
    with faulty_wiki(wiki=small_wiki(), alter=second("size", 3)) as wiki:
        _, originals, (lost,) = await scrape(quick(wiki.api_url), store)
    assert len(originals) == 5
    assert "longer than the 3 bytes" in lost.reason


async def test_a_file_of_too_many_bytes_is_refused_before_it_is_asked_for(quick, store):
    with faulty_wiki(wiki=small_wiki(), alter=second("size", 1 << 33)) as wiki:
        inventory, originals, _ = await scrape(quick(wiki.api_url), store)
    assert [r.reason for r in inventory.rejects] == [f"{1 << 33} bytes is more than max_bytes {64 << 20}"]
    assert len(wiki.asked("/images/")) == len(originals) == 5
