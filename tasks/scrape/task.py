"""The scrape stage as Prefect tasks: the inventory is taken anew each time, files are fetched once."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from tasks.common.mapped import mapped_task
from tasks.common.memory import Memory
from tasks.common.records import Inventory, Reject
from tasks.common.store import Store
from tasks.scrape.download import fetch_each
from tasks.scrape.errors import Busy, Resting, Unreachable
from tasks.scrape.failures import Failure, check_lost, due, failed, skipped
from tasks.scrape.inventory import STAGE, take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob
from tasks.scrape.scrape import jobs_of
from tasks.scrape.settings import ScrapeSettings

VERSION = 1
RETRIES = 2


def _may_pass(task: Any, run: Any, state: State) -> bool:
    """Whether to try again: a busy wiki gets better, a wrong address does not, and a long rest is to be respected."""
    return isinstance(state.data, Busy) and not isinstance(state.data, (Resting, Unreachable))


@task(
    name="inventory",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=[20, 120],
    retry_condition_fn=_may_pass,
)
async def inventory(settings: ScrapeSettings) -> Inventory:
    """What the wiki holds now."""
    async with PoliteClient(settings) as client:
        return await take_inventory(settings, client)


def stored_keys(fetched: Fetched) -> list[str]:
    """The store keys a remembered result relies on."""
    return [fetched.key] if fetched.key else []


@mapped_task(
    "scrape",
    VERSION,
    Fetched,
    keys=stored_keys,
    verified=lambda fetched: fetched.verified,
    # Only what is fetched counts: where a file lies and which others are wanted doesn't change its bytes.
    ignore=("settings",),
    retries=RETRIES,
    retry_delay_seconds=[20, 120],
    retry_condition_fn=_may_pass,
)
async def fetch_batch(jobs: Sequence[FetchJob], settings: ScrapeSettings) -> AsyncIterator[tuple[FetchJob, Fetched]]:
    """Files of the wiki → bytes in the store, or reasons. Fails while the wiki is down or asks for a rest."""
    async with PoliteClient(settings) as client:
        async for fetched in fetch_each(jobs, client, Store()):
            yield fetched


@dataclass(frozen=True)
class Wanted:
    """`jobs`: the files to fetch; `waiting`: those that failed so lately that they wait, with the reason.

    `failures`: the last failure of each file (`FetchJob.content()`) in earlier runs.
    """

    jobs: list[FetchJob]
    waiting: list[Fetched]
    failures: dict[str, Failure]


def due_jobs(inventory: Inventory, settings: ScrapeSettings, now: datetime | None = None) -> Wanted:
    """Which files to fetch now, by what failed in earlier runs."""
    failures, now = _failures(), now or datetime.now(UTC)
    every = jobs_of(inventory, settings)
    failed_once = [job for job in every if job.content() in failures]
    fetched = fetch_batch.known(failed_once, settings) if failed_once else {}
    jobs, waiting = [], []
    for job in every:
        failure = failures.get(job.content())
        if failure is None or job.content() in fetched or due(failure, now):
            jobs.append(job)
        else:
            waiting.append(Fetched(sha1=job.sha1, reason=skipped(failure)))
    return Wanted(jobs, waiting, failures)


def check_failures(
    inventory: Inventory,
    wanted: Wanted,
    fetched: Iterable[Fetched],
    rejects: Sequence[Reject],
    settings: ScrapeSettings,
) -> None:
    """Note for the next runs which of the files `wanted` failed; raise ScrapeError when too many files are lost."""
    reasons = {item.sha1: item.reason or "not fetched" for item in fetched if item.key is None}
    lost, now = [job for job in wanted.jobs if job.sha1 in reasons], datetime.now(UTC)
    if lost:
        with _memory().writing() as writer:
            for job in lost:
                item = job.content()
                writer.add(item, failed(wanted.failures.get(item), item, reasons[job.sha1], now))
        _memory().tidy()
    check_lost(len(inventory.images), rejects, settings)


def _failures() -> dict[str, Failure]:
    """The last failure of each file, also of those that were fetched since."""
    return {item: max(all_of, key=lambda failure: failure.last) for item, all_of in _memory().load().items()}


def _memory() -> Memory[Failure]:
    return Memory(Store(), f"{STAGE}-failures-v{VERSION}", Failure)
