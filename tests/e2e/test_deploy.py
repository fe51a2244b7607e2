"""Deploying again, and schedules."""

import subprocess
import sys

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


def test_deploying_again_duplicates_nothing(stack: Stack):
    before = things(stack)
    assert len(before["deployments"]) == 3 * 6 + 1
    assert len(before["automations"]) == 3 + 1 + (2 if DATABASE in stack.environment else 0)
    environment = stack.environment | {"PREFECT_API_URL": f"{stack.url}/api"}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], cwd=stack.clone, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert things(stack) == before


def test_an_active_schedule_yields_scheduled_runs(stack: Stack):
    """With some versions of SQLAlchemy the server never makes any."""
    watch = stack.get("/deployments/name/watch/tiny")
    (schedule,) = watch["schedules"]
    assert (schedule["active"], schedule["schedule"]["interval"]) == (False, 3600)
    path = f"/deployments/{watch['id']}/schedules/{schedule['id']}"
    stack.request("PATCH", path, {"active": True})
    try:
        stack.until(lambda: [run for run in stack.runs_of("watch") if run["auto_scheduled"]], "a run that is due")
    finally:
        stack.request("PATCH", path, {"active": False})
