"""A process worker that asks for runs when the server tells of one: `python -m deployments.worker --pool NAME`.

Prefect's own asks every few seconds: two of them take 2 % of the speed of a training on the same two cores, and each
part of a pipeline run waits for a second. `wikistyle up` uses this one; both kinds may work for the same pool.
"""

import abc
import argparse
import asyncio
import os
import re
import sys
from contextlib import suppress
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventResourceFilter
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments.server import RUN_ENVIRONMENT, engine_command
from flows.common.events import events_of
from flows.common.settings import ROOT
from tasks.common.errors import WikistyleError

ASK_SECONDS = 10.0  # without events: for runs whose time comes, and events that get lost; Prefect looks 10 s ahead
COMMIT_SECONDS = 0.2  # the server tells of a run just before others can read it
FULL_SECONDS = 0.2  # how often to look whether a run has ended


class NotOurs(WikistyleError):
    """A run of code that is not this checkout's."""


class OwnCode(ProcessJobConfiguration):
    """A run's process as this worker starts it, whatever the server's pool and deployments were made to say."""

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *arguments: Any, **named: Any
    ) -> None:
        if not runs_own_code(deployment):
            raise NotOurs(f"run {flow_run.name} is of code outside {ROOT}/flows; this worker runs no other")
        self.command, self.working_dir = engine_command(sys.executable), None
        self.env = {name: value for name, value in self.env.items() if name in RUN_ENVIRONMENT}
        super().prepare_for_flow_run(flow_run, deployment, *arguments, **named)


def runs_own_code(deployment: DeploymentResponse | None) -> bool:
    """Whether it goes to this checkout, nothing else before it, and runs one of its flows."""
    if deployment is None:
        return False
    here = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    return deployment.pull_steps == [here] and bool(re.fullmatch(r"flows/\w+\.py:\w+", deployment.entrypoint or ""))


class ListeningWorker(ProcessWorker, abc.ABC):
    """ABC keeps Prefect from registering it in place of its own process worker."""

    def __init__(
        self,
        *,
        arrived: asyncio.Event,
        limit: int,
        runs: type[ProcessJobConfiguration] = OwnCode,
        **arguments: Any,
    ):
        super().__init__(limit=limit, **arguments)
        self.job_configuration = runs
        self.arrived = arrived

    async def get_and_submit_flow_runs(self):
        """Prefect calls this in a loop. Asks, and takes what there is room for, on an event or after ASK_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                await self.arrived.wait()
                while not self.limiter.available_tokens:
                    await asyncio.sleep(FULL_SECONDS)
                self.arrived.clear()
                await asyncio.sleep(COMMIT_SECONDS)
        taken = await super().get_and_submit_flow_runs()
        if taken and not self.limiter.available_tokens:
            self.arrived.set()  # there may be more
        return taken


def scheduled_in(pool: str) -> EventFilter:
    """The events of runs of a work pool that now wait for a worker."""
    return EventFilter(
        resource=EventResourceFilter.model_validate({"labels": {"prefect.state-type": ["SCHEDULED"]}}),
        # Not `related`: a server leaves that out of what it tells (Prefect 3.8).
        any_resource=EventAnyResourceFilter.model_validate({"labels": {"prefect.resource.name": [pool]}}),
    )  # type: ignore[call-arg]


async def work(pool: str, name: str, limit: int, runs: type[ProcessJobConfiguration] = OwnCode) -> None:
    """Take runs of the pool, at most `limit` at once, until interrupted."""
    async with events_of(scheduled_in(pool), lambda line: print(line, flush=True)) as arrived:
        worker = ListeningWorker(work_pool_name=pool, name=name, limit=limit, arrived=arrived, runs=runs)
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
