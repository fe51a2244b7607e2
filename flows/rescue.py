"""Rescue: a run whose process or machine died is taken up again where it was, without a person."""

import asyncio
from uuid import UUID

from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry

SETTLE_SECONDS = 5.0  # a worker that dies with its run may report it twice
MOST_RUNS = 4  # of one run: what has crashed so often will crash again


class CrashesAgain(RuntimeError):
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
