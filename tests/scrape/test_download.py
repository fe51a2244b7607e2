"""Downloads are verified, kept file by file, and never fetched twice; what fails is named."""

import hashlib

import pytest

from tasks.records import Inventory
from tasks.scrape.download import fetch_all, original_address, recall
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.scrape import jobs_of, originals_of, scrape
from tests.scrape.faults import Fault, faulty_wiki, small_wiki


@pytest.fixture
def started(quick):
    """(inventory, jobs, an open client) of a faulty wiki."""

    async def start(wiki) -> tuple[Inventory, tuple, PoliteClient]:
        settings = quick(wiki.api_url)
        client = PoliteClient(settings)
        inventory = await take_inventory(settings, client)
        return inventory, jobs_of(inventory, settings), client

    return start


async def test_the_whole_stage_keeps_the_bytes_the_wiki_has(quick, store):
    wiki = small_wiki()
    with faulty_wiki(wiki=wiki) as running:
        done: list[int] = []
        inventory, originals, lost = await scrape(quick(running.api_url), store, done.append)
    assert not lost
    assert sum(done) == len(inventory.images) == len(originals) == 6
    assert {o.image.title: store.read(o.key) for o in originals} == {f.title: wiki.data(f) for f in wiki.files}


async def test_a_second_run_downloads_nothing(quick, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        first = await scrape(quick(running.api_url), store)
        running.requests.clear()
        assert await scrape(quick(running.api_url), store) == first
    assert not running.asked("/images/")
    assert len(running.requests) <= 3


async def test_wrong_bytes_are_rejected_with_both_hashes(started, store):
    wrong = b"<html>not a picture</html>"
    with faulty_wiki(wiki=small_wiki()) as running:
        inventory, jobs, client = await started(running)
        running.faults.append(Fault(jobs[0].url.partition("/images/")[2], 200, wrong, times=9))
        fetched = await fetch_all(jobs, client, store)
    originals, (reject,) = originals_of(inventory, fetched)
    assert len(originals) == 5
    assert (reject.title, reject.sha1) == (inventory.images[0].title, jobs[0].sha1)
    assert hashlib.sha1(wrong).hexdigest() in reject.reason
    assert jobs[0].sha1 in reject.reason


async def test_a_stale_cache_on_the_way_is_passed_by(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault("/images/", 200, b"the former version", times=99, unless="Cache-Control"))
        assert all(f.key for f in await fetch_all(jobs, client, store))


async def test_a_missing_file_is_a_reject_and_the_others_come(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault(jobs[2].url.partition("/images/")[2], 404))
        fetched = await fetch_all(jobs, client, store)
    assert [f.sha1 for f in fetched if f.reason] == [jobs[2].sha1]
    assert "404" in (fetched[2].reason or "")


async def test_after_an_outage_only_what_is_missing_is_fetched(started, store):
    with faulty_wiki(wiki=small_wiki(8)) as running:
        _, jobs, client = await started(running)
        for job in jobs[:3]:
            running.faults.append(Fault(job.url.partition("/images/")[2], 503, times=4))
        failed = await fetch_all(jobs, client, store)
        assert [f.verified for f in failed] == [False] * 3 + [True] * 5
        assert [recall(job, store) is None for job in jobs] == [True] * 3 + [False] * 5
        running.requests.clear()
        fetched = await fetch_all(jobs, client, store)
    assert all(f.key for f in fetched)
    assert len(running.asked("/images/")) == 3


async def test_one_file_that_always_fails_does_not_cost_the_others(started, store):
    with faulty_wiki(wiki=small_wiki(8)) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault(jobs[0].url.partition("/images/")[2], 503, times=99))
        bad, *good = await fetch_all(jobs, client, store)
    assert not bad.verified
    assert "503" in (bad.reason or "")
    assert all(f.key for f in good)


async def test_a_file_lost_from_the_store_is_fetched_again(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        first = await fetch_all(jobs, client, store)
        store.path(first[0].key).unlink()
        running.requests.clear()
        assert await fetch_all(jobs, client, store) == first
    assert len(running.asked("/images/")) == 1
    assert hashlib.sha1(store.read(first[0].key)).hexdigest() == jobs[0].sha1


def test_fandom_is_asked_for_the_original():
    latest = "https://static.wiki.example/show/images/a/ab/Name.png/revision/latest?cb=20240102"
    assert original_address(latest) == f"{latest}&format=original"
    assert original_address("https://wiki.example/images/a/ab/Name.png") == "https://wiki.example/images/a/ab/Name.png"
