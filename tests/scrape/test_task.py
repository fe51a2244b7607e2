"""The scrape stage under Prefect: what makes it fetch again and what doesn't."""

import asyncio

import pytest

from tasks.scrape.errors import Busy, Resting, ScrapeError, Unreachable
from tasks.scrape.records import FetchJob
from tasks.scrape.settings import ScrapeSettings
from tasks.scrape.task import _may_pass, fetch, fetch_batch, inventory, jobs_of, originals_of
from tests.scrape.faults import Fault, faulty_wiki, small_wiki

JOB = FetchJob(sha1="ab" * 20, url="http://127.0.0.1:1/images/a/ab/A.png", size=10)


def key(*jobs: FetchJob, **settings) -> str | None:
    inputs = {"jobs": jobs, "settings": ScrapeSettings.model_validate(settings)}
    return fetch_batch.cache_policy.compute_key(None, inputs, {})  # type: ignore[union-attr,arg-type]


def test_a_batchs_key_is_what_is_fetched_and_nothing_else():
    same = key(JOB)
    moved = JOB.model_copy(update={"url": "http://127.0.0.1:2/images/a/ab/B.png"})
    assert key(moved, connections=5, takedown=("File:C.png",), api_url="http://127.0.0.1:2/api.php") == same
    assert key(JOB.model_copy(update={"sha1": "cd" * 20})) != same
    assert key(JOB, JOB) != same
    rendered = JOB.model_copy(update={"rendered_width": 512})
    assert len({same, key(rendered), key(rendered.model_copy(update={"rendered_width": 256}))}) == 3


@pytest.mark.parametrize(
    ("error", "again"),
    [(Busy("now"), True), (Resting("an hour"), False), (Unreachable("gone"), False), (ScrapeError("no"), False)],
)
def test_only_what_may_pass_is_retried(error, again):
    from prefect.states import Failed

    assert _may_pass(None, None, Failed(data=error)) is again


def test_a_second_run_comes_from_the_cache_and_a_bad_file_stops_nothing(quick, prefect, monkeypatch):
    """On a real Prefect server: the inventory is taken anew, files come from the cache until the store loses one."""
    from prefect import flow

    from tasks.store import Store

    monkeypatch.setattr(fetch_batch, "retry_delay_seconds", [0, 0])

    @flow
    async def collect(settings: ScrapeSettings):
        found = await inventory(settings)
        outcome = await fetch(jobs_of(found, settings), settings)
        return *originals_of(found, outcome.result), outcome.cached

    small = small_wiki()
    with faulty_wiki(wiki=small) as wiki:
        settings = quick(wiki.api_url)
        wiki.faults.append(Fault(small.files[0].path, 503, times=4))  # as often as a run asks for it
        originals, (lost,), cached = asyncio.run(collect(settings))
        assert (len(originals), cached) == (5, False)
        assert "not to be had now" in lost.reason

        originals, rejects, cached = asyncio.run(collect(settings))  # well again, and the failure was not kept
        assert (len(originals), len(rejects), cached) == (6, 0, False)

        wiki.requests.clear()
        again, _, cached = asyncio.run(collect(settings))
        assert (again, cached) == (originals, True)
        assert not wiki.asked("/images/")
        assert wiki.asked("generator=allimages")

        Store().path(originals[0].key).unlink()
        again, _, cached = asyncio.run(collect(settings))
        assert (again, cached) == (originals, False)
        assert len(wiki.asked("/images/")) == 1
