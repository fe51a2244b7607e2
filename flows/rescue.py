"""Rescue: a run whose process or machine died is taken up again where it was, without a person."""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from prefect import flow, get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Cancelled, Crashed

from tasks.common.errors import WikistyleError

SETTLE_SECONDS = 5.0  # a worker that dies with its run may report it twice
MOST_RUNS = 4  # of one run: what has crashed so often will crash again


class CrashesAgain(WikistyleError):
    """A run that starting again does not help."""


@flow(name="rescue", flow_run_name="rescue {run}")
async def rescue(run: str) -> bool:
    """Set a crashed run to be retried, at most three times; returns whether it did.

    Raises CrashesAgain when it has crashed too often, so that this run fails and is told of like any failure.

    Args:
        run: Id of the run, as Prefect's events write it: prefect.flow-run.<UUID>, or the UUID alone.
    """
    await asyncio.sleep(SETTLE_SECONDS)
    async with get_client() as client:
        found = await client.read_flow_run(UUID(run.removeprefix("prefect.flow-run.")))
        reason = reason_to_leave(found)
        if reason:
            get_run_logger().info("run %s is left as it is: %s", found.name, reason)
            return False
        await client.set_flow_run_state(found.id, AwaitingRetry(), force=True)
    get_run_logger().warning("run %s crashed; it is taken up again", found.name)
    return True


def reason_to_leave(run: FlowRun) -> str:
    """Why a run is not to be taken up again; empty when it is. Raises CrashesAgain when it was too often already."""
    if run.state is None or not run.state.is_crashed():
        return "it has not crashed, or not any more"
    if run.parent_task_run_id is not None:
        return "the run that started it takes care of it"
    if run.deployment_id is None:
        return "it belongs to no deployment, so no worker would take it"
    if run.run_count >= MOST_RUNS:
        raise CrashesAgain(f"run {run.name} ({run.id}) has crashed {run.run_count} times; see its logs for why")
    return ""


async def take_up_lost(pools: Sequence[str], reason: str, crashed_before: bool) -> list[str]:
    """Take up the unfinished runs of pools that have no worker now; returns what to tell of it, a line each.

    With `crashed_before` those, too, that had crashed earlier and were the last of their deployment. None of this
    waits for events: of what happened just before a server died, or while there was none, it saw no event, and an
    automation would wait a quarter of an hour for that one.
    """
    async with get_client() as client:
        lost = [run for pool in pools for run in await _crash_unfinished(client, pool, reason)]
        if crashed_before:
            lost += await _last_runs(client)
        return await _take_up(client, lost)


async def _crash_unfinished(client: PrefectClient, pool: str, reason: str) -> list[FlowRun]:
    """Crash the runs that would be running for ever; one that was being cancelled is cancelled. Returns them."""
    unfinished = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(unfinished),
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
    )
    for run in runs:
        cancelling = run.state is not None and run.state.is_cancelling()
        state = Cancelled(message=reason) if cancelling else Crashed(message=f"{reason}; what was done is kept")
        await client.set_flow_run_state(run.id, state, force=True)
    return runs


async def _last_runs(client: PrefectClient) -> list[FlowRun]:
    """The run of each of our deployments that began last."""
    begun = FlowRunFilter.model_validate({"state": {"type": {"not_any_": ["SCHEDULED"]}}})
    ours = DeploymentFilter.model_validate({"tags": {"all_": ["wikistyle"]}})
    found: list[FlowRun] = []
    for deployment in await client.read_deployments(deployment_filter=ours):
        this = DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}})
        found += await client.read_flow_runs(
            flow_run_filter=begun, deployment_filter=this, sort=FlowRunSort.START_TIME_DESC, limit=1
        )
    return found


async def _take_up(client: PrefectClient, runs: Iterable[FlowRun]) -> list[str]:
    said: list[str] = []
    for id_ in dict.fromkeys(run.id for run in runs):
        run = await client.read_flow_run(id_)
        try:
            if reason_to_leave(run):
                continue
        except CrashesAgain as error:
            said.append(str(error))
            continue
        await client.set_flow_run_state(id_, AwaitingRetry(), force=True)
        said.append(f"run {run.name} had crashed; it goes on")
    return said
