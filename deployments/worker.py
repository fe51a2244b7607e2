"""A process worker that asks for runs when the server tells of one: `python -m deployments.worker --pool NAME`.

Prefect's own asks every few seconds: two of them take 2 % of the speed of a training on the same two cores, and each
part of a story waits for a second. `wikistyle up` uses this one; both kinds may work for the same pool.
"""

import abc
import argparse
import asyncio
import os
from contextlib import suppress

from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventResourceFilter
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker

from tasks.news import news_of

ASK_SECONDS = 10.0  # without news: for runs whose time comes, and events that get lost; Prefect looks 10 s ahead
COMMIT_SECONDS = 0.2  # the server tells of a run just before others can read it
FULL_SECONDS = 0.2  # how often to look whether a run has ended


class ListeningWorker(ProcessWorker, abc.ABC):
    """ABC keeps Prefect from registering it in place of its own process worker."""

    def __init__(self, *, news: asyncio.Event, limit: int, **arguments):
        super().__init__(limit=limit, **arguments)
        self.news = news

    async def get_and_submit_flow_runs(self):
        """Prefect calls this in a loop. Asks, and takes what there is room for, on news or after ASK_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                await self.news.wait()
                while not self.limiter.available_tokens:
                    await asyncio.sleep(FULL_SECONDS)
                self.news.clear()
                await asyncio.sleep(COMMIT_SECONDS)
        taken = await super().get_and_submit_flow_runs()
        if taken and not self.limiter.available_tokens:
            self.news.set()  # there may be more
        return taken


def scheduled_in(pool: str) -> EventFilter:
    """The events of runs of a work pool that now wait for a worker."""
    return EventFilter(
        resource=EventResourceFilter.model_validate({"labels": {"prefect.state-type": ["SCHEDULED"]}}),
        # Not `related`: a server leaves that out of what it tells (Prefect 3.8).
        any_resource=EventAnyResourceFilter.model_validate({"labels": {"prefect.resource.name": [pool]}}),
    )  # type: ignore[call-arg]


async def work(pool: str, name: str, limit: int) -> None:
    """Take runs of the pool, at most `limit` at once, until interrupted."""
    async with news_of(scheduled_in(pool), lambda line: print(line, flush=True)) as news:
        worker = ListeningWorker(work_pool_name=pool, name=name, limit=limit, news=news)
        await worker.start()


def main() -> None:
    """A worker of one pool; SIGTERM and SIGINT end it and what it runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", required=True, help="the work pool whose runs it takes")
    parser.add_argument("--name", required=True, help="how the UI shows it")
    parser.add_argument("--limit", type=int, required=True, help="the most runs at once")
    arguments = parser.parse_args()
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(work(arguments.pool, arguments.name, arguments.limit))


if __name__ == "__main__":
    main()
