"""A machine that loses its power in mid-run, and `wikistyle up` after it: what goes on, what stays."""

import time

import pytest

from tests.e2e.stack import Stack
from tests.e2e.test_deploy import switched
from tests.e2e.test_training import first_steps, reached, under_way

pytestmark = pytest.mark.e2e
PATIENCE_SECONDS = 240.0  # far less than the quarter of an hour Prefect waits for events its server never saw


def test_after_a_power_cut_the_pipeline_run_goes_on_and_schedules_are_as_they_were(stack: Stack):
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 41, "epochs": 60, "snapshot_every": 60})
    folder, _ = under_way(stack, 5)
    child = stack.runs_of("finetune")[-1]["id"]
    paused = f"/deployments/{stack.get('/deployments/name/publish/tiny')['id']}"
    stack.request("PATCH", paused, {"paused": True})
    with switched(stack, "watch/tiny", True):
        stack.kill()
        before, began = reached(folder), time.monotonic()
        stack.up_again()
        up = time.monotonic() - began
        while stack.run(child)["run_count"] < 2 or stack.run(child)["state"]["type"] != "RUNNING":
            assert time.monotonic() - began < PATIENCE_SECONDS, [stack.run(r)["state"] for r in (pipeline, child)]
            time.sleep(0.5)
        print(f"up after {up:.0f} s, the training goes on after {time.monotonic() - began:.0f} s")
        assert not any(stack.password in line for line in stack.said[-1])  # told by the first start alone
        assert stack.get("/deployments/name/watch/tiny")["schedules"][0]["active"] is True
        assert stack.get("/deployments/name/watch/sample")["schedules"][0]["active"] is False
        assert stack.get(paused)["paused"] is True
    stack.request("PATCH", paused, {"paused": False})
    stack.completed(pipeline)
    assert [stack.run(run)["run_count"] for run in (pipeline, child)] == [2, 2]
    assert first_steps(folder) == [1, before + 1]
