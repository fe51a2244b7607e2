"""The scrape stage as Prefect tasks: the inventory is taken anew each time, files are fetched once."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from tasks.caching import ContentKey, Outcome, call_async
from tasks.records import Inventory
from tasks.scrape.download import fetch_all
from tasks.scrape.errors import Busy, Incomplete, Resting, ScrapeError, Unreachable
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob
from tasks.scrape.scrape import jobs_of, originals_of
from tasks.scrape.settings import ScrapeSettings
from tasks.store import Store

__all__ = ["FetchJob", "Fetched", "ScrapeError", "fetch", "fetch_batch", "inventory", "jobs_of", "originals_of"]
VERSION = 1


def _may_pass(task: Any, run: Any, state: State) -> bool:
    """Whether to try again: a busy wiki gets better, a wrong address does not, and a long rest is to be respected."""
    return isinstance(state.data, Busy) and not isinstance(state.data, (Resting, Unreachable))


@task(
    name="inventory",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[20, 120],
    retry_condition_fn=_may_pass,
)
async def inventory(settings: ScrapeSettings) -> Inventory:
    """What the wiki holds now."""
    async with PoliteClient(settings) as client:
        return await take_inventory(settings, client)


@task(
    name="fetch",
    # Only what is fetched makes the key: where a file lies and which others are wanted doesn't change its bytes.
    cache_policy=ContentKey("scrape", VERSION, ignore=("settings",)),
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=[20, 120],
    retry_condition_fn=_may_pass,
    task_run_name="fetch-{jobs[0].sha1:.8}",
)
async def fetch_batch(jobs: tuple[FetchJob, ...], settings: ScrapeSettings) -> tuple[Fetched, ...]:
    """Files of the wiki (`jobs`, not empty) → bytes in the store, or reasons, in the same order.

    Fails, and so is not cached, while some files cannot be had; another run fetches only those. Call it by `fetch`.
    """
    async with PoliteClient(settings) as client:
        fetched = await fetch_all(jobs, client, Store())
    if not all(item.verified for item in fetched):
        raise Incomplete(fetched)
    return fetched


async def fetch(jobs: tuple[FetchJob, ...], settings: ScrapeSettings) -> Outcome[tuple[Fetched, ...]]:
    """`fetch_batch` through the cache. Files that can't be had come back with their reason and don't stop the run.

    Nothing of a batch with failures is cached, and the next run tries them again.
    """
    try:
        return await call_async(fetch_batch, jobs, settings, keys_of=_stored_keys)
    except Incomplete as error:
        return Outcome(error.fetched, cached=False)


def _stored_keys(fetched: tuple[Fetched, ...]) -> list[str]:
    return [item.key for item in fetched if item.key]
