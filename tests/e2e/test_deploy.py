"""Deploying again, and schedules."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.stack import DATABASE, Stack

pytestmark = pytest.mark.e2e


def things(stack: Stack) -> dict[str, list[str]]:
    """The names of all that was deployed."""
    return {
        "deployments": sorted(f"{d['entrypoint']} {d['name']}" for d in stack.post("/deployments/filter")),
        "automations": sorted(a["name"] for a in stack.post("/automations/filter")),
        "pools": sorted(pool["name"] for pool in stack.post("/work_pools/filter")),
        "flows": sorted(flow["name"] for flow in stack.post("/flows/filter")),
    }


@contextmanager
def switched(stack: Stack, deployment: str, active: bool) -> Iterator[None]:
    """The deployment's schedule as a user switched it in the UI, and back."""
    found = stack.deployment(deployment)
    (schedule,) = found["schedules"]
    path = f"/deployments/{found['id']}/schedules/{schedule['id']}"
    stack.request("PATCH", path, {"active": active})
    try:
        yield
    finally:
        stack.request("PATCH", path, {"active": schedule["active"]})


def deploy(stack: Stack) -> None:
    environment = stack.environment | {"PREFECT_API_URL": f"{stack.url}/api"}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], cwd=stack.clone, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_deploying_again_duplicates_nothing(stack: Stack):
    before = things(stack)
    assert len(before["deployments"]) == 3 * 6 + 1
    assert len(before["automations"]) == 3 + 1 + (2 if DATABASE in stack.environment else 0)
    deploy(stack)
    assert things(stack) == before


def test_what_the_user_switched_stays_so_after_deploying_again(stack: Stack):
    """A schedule that was switched on, one that is off, a trigger that was disabled."""
    name = "wikistyle: the wiki of tiny has changed"

    def trigger() -> dict:
        return next(a for a in stack.post("/automations/filter") if a["name"] == name)

    stack.request("PATCH", f"/automations/{trigger()['id']}", {"enabled": False})
    try:
        with switched(stack, "watch/tiny", True):
            deploy(stack)
            active = {p: stack.deployment(f"watch/{p}")["schedules"][0]["active"] for p in ("tiny", "sample")}
            assert active == {"tiny": True, "sample": False}
        assert trigger()["enabled"] is False
    finally:
        stack.request("PATCH", f"/automations/{trigger()['id']}", {"enabled": True})


def test_an_active_schedule_yields_scheduled_runs(stack: Stack):
    """With some versions of SQLAlchemy the server never makes any."""
    watch = stack.deployment("watch/tiny")
    assert [(s["active"], s["schedule"]["interval"]) for s in watch["schedules"]] == [(False, 3600)]
    with switched(stack, "watch/tiny", True):
        stack.until(lambda: [run for run in stack.runs_of("watch") if run["auto_scheduled"]], "a run that is due")
