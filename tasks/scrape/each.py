"""Files one by one as they come, so that each can be remembered at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from tasks.scrape.download import fetch, keep, recall
from tasks.scrape.errors import Busy, Resting, Unfit
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob
from tasks.store import Store

FEW = 3  # files that are always away must not stop a run, also when they are all that it asks for


async def fetch_each(
    jobs: Sequence[FetchJob], client: PoliteClient, store: Store, *, last_try: bool
) -> AsyncIterator[tuple[FetchJob, Fetched]]:
    """Each job with what came of it, in the order they come: verified bytes in the store, or the reason for none.

    Raises Busy, after all that could be had has come, when files could not be had for now and this is not the
    `last_try`; on that, only when more than half are away (Resting when the wiki asks for a long rest), for then the
    next batch is no use either. Whether a run that lost some may go on is for `failures.check_lost` to say.
    """
    busy: list[Busy] = []

    async def one(job: FetchJob) -> tuple[FetchJob, Fetched]:
        key = await asyncio.to_thread(recall, job, store)
        if key is None:
            try:
                data = await fetch(job, client)
            except Unfit as error:
                return job, Fetched(sha1=job.sha1, reason=str(error))
            except Busy as error:
                busy.append(error)
                return job, Fetched(sha1=job.sha1, reason=f"not to be had now: {error}")
            key = await asyncio.to_thread(keep, job, data, store)
        return job, Fetched(sha1=job.sha1, key=key)

    running = [asyncio.ensure_future(one(job)) for job in jobs]
    try:
        for finished in asyncio.as_completed(running):
            yield await finished
    finally:
        for fetching in running:
            fetching.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if busy:
        message = f"{len(busy)} of {len(jobs)} files can't be had now, the rest is kept; run again (first: {busy[0]})"
        if len(busy) > max(FEW, len(jobs) / 2) and any(isinstance(error, Resting) for error in busy):
            raise Resting(message)
        if not last_try or len(busy) > max(FEW, len(jobs) / 2):
            raise Busy(message)
