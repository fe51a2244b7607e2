"""A machine that loses its power in mid-run, and `wikistyle up` after it: what goes on, what stays."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.stack import Stack
from tests.e2e.test_deploy import switched
from tests.e2e.test_training import first_steps, reached, under_way

pytestmark = pytest.mark.e2e
PATIENCE_SECONDS = 240.0  # far less than the quarter of an hour Prefect waits for events its server never saw


def named_as_once(database: Path) -> None:
    """Deployments called as they were once: after the profile alone, and one "crashed"."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE deployment SET name = 'crashed' WHERE name = 'rescue-crashed-runs'")
        for profile in ("tiny", "sample", "simpsons"):
            connection.execute("UPDATE deployment SET name = ? WHERE name LIKE ?", (profile, f"{profile}-%"))


def test_after_a_power_cut_the_pipeline_run_goes_on_and_schedules_are_as_they_were(stack: Stack):
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 41, "epochs": 60, "snapshot_every": 60})
    folder, _ = under_way(stack, 5)
    child = stack.runs_of("finetune")[-1]["id"]
    paused = f"/deployments/{stack.deployment('publish/tiny')['id']}"
    stack.request("PATCH", paused, {"paused": True})
    deployed = {d["id"]: d["name"] for d in stack.post("/deployments/filter")}
    with switched(stack, "watch/tiny", True):
        stack.kill()
        named_as_once(stack.home / "prefect" / "prefect.db")
        before, began = reached(folder), time.monotonic()
        stack.up_again()
        up = time.monotonic() - began
        while stack.run(child)["run_count"] < 2 or stack.run(child)["state"]["type"] != "RUNNING":
            assert time.monotonic() - began < PATIENCE_SECONDS, [stack.run(r)["state"] for r in (pipeline, child)]
            time.sleep(0.5)
        print(f"up after {up:.0f} s, the training goes on after {time.monotonic() - began:.0f} s")
        assert {d["id"]: d["name"] for d in stack.post("/deployments/filter")} == deployed
        assert "deployment tiny is called tiny-pipeline from now on\n" in stack.said[-1]
        assert not any(stack.password in line for line in stack.said[-1])  # told by the first start alone
        assert stack.deployment("watch/tiny")["schedules"][0]["active"] is True
        assert stack.deployment("watch/sample")["schedules"][0]["active"] is False
        assert stack.get(paused)["paused"] is True
    stack.request("PATCH", paused, {"paused": False})
    stack.completed(pipeline)
    assert [stack.run(run)["run_count"] for run in (pipeline, child)] == [2, 2]
    assert first_steps(folder) == [1, before + 1]
