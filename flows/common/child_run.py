"""Running a part of the pipeline as a child run of its own deployment: a retry on either side redoes nothing.

Two things make it so. The child's idempotency key is the parent's run and the part: a parent that is retried, or whose
process was killed, finds its own child again. And a child that ended badly is put back to AwaitingRetry in place:
it keeps its id, and with it the training it can resume.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from prefect import get_client, get_run_logger, task
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import TaskRunContext
from prefect.deployments.flow_runs import arun_deployment
from prefect.events.filters import EventFilter, EventResourceFilter
from prefect.states import AwaitingRetry, Cancelling
from pydantic import BaseModel

from flows.common.deployed import deployed_as
from flows.common.events import events_of
from tasks.common.caching import ContentKey, Outcome, call_async, gone
from tasks.common.errors import WikistyleError

T = TypeVar("T", bound=BaseModel)
VERSION = 1
POLL_SECONDS = 10.0  # the server's events say at once when the child changes; this is for events that get lost
SETTLE_SECONDS = 3.0  # a killed worker reports its run crashed a second time, after it was set to be retried
MOST_RESTARTS = 3  # of a child whose process died; one that failed for a reason of its own is not started again


class ChildFailed(WikistyleError):
    """The child run did not complete; the message names it, why, and how to go on."""


async def run_child(
    part: str,
    profile: str,
    parameters: dict[str, Any],
    kind: type[T],
    content: Sequence[Any],
    keys_of: Callable[[T], Sequence[str]] = lambda _: (),
) -> Outcome[T]:
    """Run the profile's deployment of a part with `parameters` and return what it handed on, as `kind`.

    `content` is what the result depends on; when it was handed on before, for whichever run, and the store still has
    `keys_of` it, no child is started. Raises ChildFailed.
    """

    def keys(result: Any) -> Sequence[str]:
        return keys_of(kind.model_validate(result))

    outcome = await call_async(child_run, part, profile, parameters, content, keys_of=keys)
    if gone(keys(outcome.result)):  # this parent's own child has completed, but what it made was lost since
        refreshed = child_run.with_options(refresh_cache=True)
        outcome = await call_async(refreshed, part, profile, parameters, content, anew=True)
    return Outcome(kind.model_validate(outcome.result), outcome.cached)


@task(
    name="child-run",
    task_run_name="run {part} of {profile} on the GPU pool",
    cache_policy=ContentKey("child", VERSION, ignore=("profile", "parameters", "anew")),
    persist_result=True,
    result_serializer="json",
)
async def child_run(
    part: str, profile: str, parameters: dict[str, Any], content: Sequence[Any], anew: bool = False
) -> dict[str, Any]:
    """Start this parent's child, or find it again; wait for it; return its result as plain JSON.

    `anew`: a child that has completed is started again, too.
    """
    context = TaskRunContext.get()
    assert context is not None, "a task's body runs in its context"
    parent = context.task_run.flow_run_id
    name = f"{part}/{deployed_as(part, profile)}"
    started = await arun_deployment(
        name, parameters=parameters, timeout=0, idempotency_key=f"{parent}-{part}", as_subflow=True
    )
    async with get_client() as client:
        try:
            child = await _completed(client, started, name, anew)
        except asyncio.CancelledError:
            await _cancel_with(client, parent, started)
            raise
    assert child.state is not None
    try:
        result: Any = await child.state.aresult()
    except Exception as error:
        raise ChildFailed(
            f"{name} run {child.name} completed, but its result can't be read ({type(error).__name__}: {error}); "
            "give all workers the same PREFECT_LOCAL_STORAGE_PATH"
        ) from error
    return result.model_dump(mode="json") if isinstance(result, BaseModel) else result


async def _cancel_with(client: PrefectClient, parent: UUID | None, child: FlowRun) -> None:
    """Cancel the child at once if its parent was; the server would take 20 s, and the GPU works on all the while."""
    run = await client.read_flow_run(parent) if parent else None
    if run and run.state and run.state.is_cancelling():
        await client.set_flow_run_state(child.id, Cancelling(message="The run that started it was cancelled."))


async def _completed(client: PrefectClient, child: FlowRun, name: str, anew: bool) -> FlowRun:
    """The child once it has completed; started again in place where that helps."""
    if child.state and child.state.is_final() and (anew or not child.state.is_completed()):
        await _start_again(client, child, name)  # this parent is being retried
    restarts = 0
    while True:
        child = await _final(client, child, name)
        state = child.state
        assert state is not None
        if state.is_completed():
            return child
        if not state.is_crashed() or restarts == MOST_RESTARTS:
            reason = " ".join((state.message or "no reason given").split())
            raise ChildFailed(
                f"{name} run {child.name} is {state.name}: {reason}; mend that, then press Retry on this run "
                f"or `prefect flow-run retry` it: what was done is kept, and child run {child.id} goes on"
            )
        restarts += 1
        await _start_again(client, child, name)


async def _start_again(client: PrefectClient, child: FlowRun, name: str) -> None:
    assert child.state is not None
    get_run_logger().warning("%s run %s was %s; starting it again", name, child.name, child.state.name)
    await client.set_flow_run_state(child.id, AwaitingRetry(), force=True)


async def _final(client: PrefectClient, child: FlowRun, name: str) -> FlowRun:
    """The child once completed, or in a bad end that has held for a while; its states are told on the way."""
    told = ""
    told_of = EventFilter(resource=EventResourceFilter(id=[f"prefect.flow-run.{child.id}"]))  # type: ignore[call-arg]
    async with events_of(told_of, get_run_logger().info) as arrived:
        while True:
            arrived.clear()
            child = await client.read_flow_run(child.id)
            state = child.state
            if state and state.is_completed():
                return child
            if state and state.is_final():
                await asyncio.sleep(SETTLE_SECONDS)
                child = await client.read_flow_run(child.id)
                if child.state and child.state.id == state.id:
                    return child
                continue
            if state and state.name != told:
                told = state.name or ""
                late = f": no worker of pool {child.work_pool_name} has taken it yet" if told == "Late" else ""
                get_run_logger().info("%s run %s is %s%s", name, child.name, told, late)
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), POLL_SECONDS)
