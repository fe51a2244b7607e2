"""The worker that listens, with a real server: told or not, every run is taken, and never too many at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration

from deployments import worker
from deployments.server import job_template
from tests.waiting import tree_of, wait_for_async, work_of

POOL = "listened-to"
FLOW = """
from prefect import flow

@flow
def nap(seconds: float = 0.5):
    import time
    time.sleep(seconds)
"""


@pytest.fixture
async def client(prefect) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        template = job_template("process", POOL)
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        yield client
        await client.delete_work_pool(POOL)


async def deployed(client: PrefectClient, folder: Path) -> UUID:
    (folder / "naps.py").write_text(FLOW)
    flow_id = await client.create_flow_from_name("nap")
    return await client.create_deployment(
        flow_id, "nap", work_pool_name=POOL, path=str(folder), entrypoint="naps.py:nap", pull_steps=[]
    )


@asynccontextmanager
async def working(arrived: asyncio.Event | None) -> AsyncIterator[None]:
    """A worker of one run at a time; with `arrived` it hears nothing else, without it listens to the server."""
    if arrived is None:
        task: asyncio.Task[Any] = asyncio.create_task(worker.work(POOL, "tested", 1, ProcessJobConfiguration))
    else:
        own = worker.ListeningWorker(
            work_pool_name=POOL, name="tested", limit=1, arrived=arrived, runs=ProcessJobConfiguration
        )
        task = asyncio.create_task(own.start())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def work() -> int:
    """Of the worker, which is in this process, of its runs and of the server."""
    return work_of(tree_of(os.getpid()))


async def completed(client: PrefectClient, run: UUID) -> FlowRun:
    async def ended() -> FlowRun | None:
        found = await client.read_flow_run(run)
        return found if found.state and found.state.is_final() else None

    found = await wait_for_async(ended, f"end of run {run}", work)
    assert found.state.is_completed(), found.state.message
    return found


async def test_runs_are_taken_on_the_servers_word_one_after_the_other(client, tmp_path, monkeypatch):
    """It would ask by itself after an hour: only events, and room again after a run, make it ask."""
    monkeypatch.setattr(worker, "ASK_SECONDS", 3600.0)
    deployment = await deployed(client, tmp_path)
    async with working(arrived=None):
        runs = [await client.create_flow_run_from_deployment(deployment) for _ in range(3)]
        ended = [await completed(client, run.id) for run in runs]
    times: list[tuple[datetime, datetime]] = sorted((r.start_time, r.end_time) for r in ended)  # type: ignore[misc]
    assert all(before[1] <= after[0] for before, after in pairwise(times))


async def test_a_run_whose_event_got_lost_is_taken_all_the_same(client, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "ASK_SECONDS", 1.0)
    deployment = await deployed(client, tmp_path)
    async with working(arrived=asyncio.Event()):
        run = await client.create_flow_run_from_deployment(deployment)
        await completed(client, run.id)


async def test_only_runs_of_its_pool_that_wait_are_heard(client, tmp_path):
    from flows.common.events import events_of

    deployment = await deployed(client, tmp_path)
    trouble: list[str] = []
    async with events_of(worker.scheduled_in(POOL), trouble.append) as mine, events_of(
        worker.scheduled_in("another"), trouble.append
    ) as others:  # fmt: skip
        for arrived in (mine, others):
            await wait_for_async(arrived.is_set, "a word of the server", work)  # listening
            arrived.clear()
        await client.create_flow_run_from_deployment(deployment)
        await wait_for_async(mine.is_set, "an event", work)
        await asyncio.sleep(1)
    assert not others.is_set()
    assert trouble == []
