"""The scrape stage under Prefect: what makes it fetch again and what doesn't."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import flow

from flows.common.report import StageFailed
from flows.common.stage import stage
from tasks.common.memory import Memory
from tasks.common.records import Original, Reject
from tasks.common.store import Store
from tasks.scrape.errors import Busy, Resting, ScrapeError, Unreachable
from tasks.scrape.records import FetchJob
from tasks.scrape.scrape import originals_of
from tasks.scrape.settings import ScrapeSettings
from tasks.scrape.task import _may_pass, check_failures, due_jobs, fetch_batch, inventory
from tests.scrape.faults import Fault, FaultyWiki, faulty_wiki, small_wiki

JOB = FetchJob(sha1="ab" * 20, url="http://127.0.0.1:1/images/a/ab/A.png", size=10)


def place(**settings: Any) -> str:
    """Where the stage remembers what it fetched."""
    return str(fetch_batch.memory(ScrapeSettings.model_validate(settings)).folder)


def test_settings_and_addresses_do_not_change_what_is_remembered():
    assert place() == place(connections=5, takedown=("File:C.png",), api_url="http://127.0.0.1:2/api.php")
    moved = JOB.model_copy(update={"url": "http://127.0.0.1:2/images/a/ab/B.png"})
    rendered = JOB.model_copy(update={"rendered_width": 512})
    assert moved.content() == JOB.content()
    assert len({JOB.content(), rendered.content(), rendered.model_copy(update={"rendered_width": 256}).content()}) == 3


@pytest.mark.parametrize(
    ("error", "again"),
    [(Busy("now"), True), (Resting("an hour"), False), (Unreachable("gone"), False), (ScrapeError("no"), False)],
)
def test_only_what_may_pass_is_retried(error, again):
    from prefect.states import Failed

    assert _may_pass(None, None, Failed(data=error)) is again


@flow
async def collect(settings: ScrapeSettings, later: timedelta = timedelta()) -> tuple[list[Original], list[Reject], int]:
    """The scrape stage as the collect flow runs it, `later` than now: originals, what is lost, files asked for."""
    with stage("scrape") as scraping:
        found = await inventory(settings)
        wanted = due_jobs(found, settings, datetime.now(UTC) + later)
        fetched = [*wanted.waiting, *await scraping.amap(fetch_batch, wanted.jobs, settings)]
        originals, lost = originals_of(found, fetched)
        check_failures(found, wanted, fetched, lost, settings)
    return list(originals), list(lost), scraping.ran


def run(settings: ScrapeSettings, later: timedelta = timedelta()) -> tuple[list[Original], list[Reject], int]:
    return asyncio.run(collect(settings, later))


@pytest.fixture
def at_once(monkeypatch, prefect) -> None:
    """Retries without their pauses."""
    monkeypatch.setitem(fetch_batch.options, "retry_delay_seconds", [0, 0])


def break_file(wiki: FaultyWiki, path: str, status: int = 503, body: bytes = b"") -> None:
    wiki.faults.append(Fault(path, status, body, times=99))


def test_a_second_run_fetches_nothing_and_a_bad_file_stops_nothing(quick, at_once):
    """On a real Prefect server: the inventory is taken anew, files are remembered until the store loses one."""
    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        settings = quick(wiki.api_url)
        break_file(wiki, small.files[0].path)
        originals, (lost,), ran = run(settings)
        assert (len(originals), ran) == (5, 6)
        assert "not to be had now" in lost.reason

        wiki.faults.clear()  # well again, and the failure was not kept
        wiki.requests.clear()
        originals, lost, ran = run(settings)
        assert (len(originals), len(lost), ran) == (6, 0, 1)
        assert len(wiki.asked("/images/")) == 1

        wiki.requests.clear()
        again, _, ran = run(settings)
        assert (again, ran) == (originals, 0)
        assert not wiki.asked("/images/")
        assert wiki.asked("generator=allimages")

        Store().path(originals[0].key).unlink()
        again, _, ran = run(settings)
        assert (again, ran) == (originals, 1)
        assert len(wiki.asked("/images/")) == 1


def test_a_wiki_that_answers_with_web_pages_stops_the_run_and_once_healed_gives_all(quick, at_once):
    small = small_wiki(10)
    with faulty_wiki(wiki=small) as wiki:
        for file in small.files[1:]:
            break_file(wiki, file.path, 200, b"<html>try again later</html>")
        with pytest.raises(StageFailed, match=r"9 of 10 files .* could not be had, more than most_lost 0.25; "):
            run(quick(wiki.api_url))
        wiki.faults.clear()
        wiki.requests.clear()
        originals, lost, ran = run(quick(wiki.api_url))
        assert (len(originals), len(lost), ran) == (10, 0, 9)
        assert len(wiki.asked("/images/")) == 9


def test_a_file_that_fails_again_and_again_is_asked_for_ever_more_rarely(quick, at_once):
    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        settings = quick(wiki.api_url)
        break_file(wiki, small.files[0].path, 404)
        assert run(settings)[2] == 6
        assert run(settings)[2] == 1, "the first time it is tried again at once"
        wiki.requests.clear()
        originals, (lost,), ran = run(settings)
        assert (len(originals), ran) == (5, 0)
        assert "failed in 2 runs, is tried again after" in lost.reason
        assert not wiki.asked("/images/")
        wiki.faults.clear()
        assert run(settings, later=timedelta(hours=2))[2] == 1
        originals, lost, ran = run(settings)  # known now, though it failed lately
        assert (len(originals), lost, ran) == (6, [], 0)


def test_failures_are_read_once_a_run_and_what_was_fetched_too(quick, at_once, monkeypatch):
    read: list[str] = []
    load = Memory.load
    monkeypatch.setattr(Memory, "load", lambda self: [read.append(self.folder.name), load(self)][1])
    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        break_file(wiki, small.files[0].path, 404)
        for times in (1, 2):  # with no failures yet, and with one; what was fetched is asked for that one by itself
            read.clear()
            assert len(run(quick(wiki.api_url))[1]) == 1
            assert [name.startswith("scrape-failures-") for name in read].count(True) == 1
            assert len(read) == 1 + times
