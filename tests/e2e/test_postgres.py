"""The same stack on PostgreSQL, with a password, as on a server: the pipeline run, and what dies without a word."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.postgres import programs, running_postgres
from tests.e2e.stack import CLI, DATABASE, Stack, Wiki, running_stack, small_wiki_served
from tests.e2e.test_deploy import test_deploying_again_duplicates_nothing  # noqa: F401
from tests.e2e.test_pipeline_run import test_a_failed_training_is_retried_in_place_and_nothing_else_runs_again  # noqa: F401
from tests.e2e.test_training import under_way
from tests.e2e.test_watch import test_changes_start_one_pipeline_run_and_no_change_starts_none  # noqa: F401

pytestmark = pytest.mark.e2e
PASSWORD = "wikistyle:a long secret"


@pytest.fixture(scope="module")
def wiki() -> Iterator[Wiki]:
    with small_wiki_served() as served:
        yield served


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, wiki: Wiki) -> Iterator[Stack]:
    """Here and in the tests imported from the other modules: a stack of this module's own."""
    found = programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("postgresql must be installed to prove that wikistyle runs on it")
        pytest.skip("postgresql is not installed")
    with running_postgres(found) as database:
        variables = {
            DATABASE: database, "PREFECT_SERVER_API_AUTH_STRING": PASSWORD, "PREFECT_API_AUTH_STRING": PASSWORD,
        }  # fmt: skip
        with running_stack(tmp_path_factory.mktemp("postgres"), wiki.url, **variables) as running:
            yield running


def test_the_server_wants_the_password_and_the_command_line_gives_it(stack: Stack):
    assert stack.http.get("/flows/count", auth=("wikistyle", "wrong")).status_code == 401
    environment = stack.environment | {"PREFECT_API_URL": f"{stack.url}/api"}
    done = subprocess.run(
        [*CLI, "run", "--profile", "tiny", "--json"], cwd=stack.clone, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dataset"]["rows"] > 0
    assert any(run["state"]["type"] == "COMPLETED" for run in stack.runs_of("wikistyle"))


def test_a_lost_machine_is_noticed_and_its_pipeline_run_goes_on_elsewhere(stack: Stack):
    """Both workers and all they run are killed, and nothing is left that could report it."""
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 21, "epochs": 300, "snapshot_every": 300})
    under_way(stack, 5)
    child = stack.runs_of("finetune")[-1]["id"]
    stack.process.send_signal(signal.SIGSTOP)  # it would start new workers at once
    try:
        for worker in stack.workers():
            for process in [worker, *worker.children(recursive=True)]:
                process.kill()
        for run in (child, pipeline):
            crashed = stack.wait(run, {"CRASHED"})
            assert "No heartbeat for 90 s" in crashed["state"]["message"]
    finally:
        stack.process.send_signal(signal.SIGCONT)  # the machine that takes over
    stack.wait(pipeline, {"SCHEDULED", "PENDING", "RUNNING"})
    stack.completed(pipeline)
    assert [stack.run(run)["run_count"] for run in (pipeline, child)] == [2, 2]
    assert any(run["state"]["type"] == "COMPLETED" for run in stack.runs_of("rescue"))


def test_a_run_whose_worker_died_before_starting_it_is_taken_up_again(stack: Stack):
    """The automation waits for a quarter of an hour; here for the least that it can."""
    name = "wikistyle: a run that never started has crashed"
    (found,) = [a for a in stack.post("/automations/filter") if a["name"] == name]
    automation = {key: found[key] for key in ("name", "description", "enabled", "trigger", "actions")}
    soon = automation | {"trigger": automation["trigger"] | {"within": 10}}
    stack.request("PUT", f"/automations/{found['id']}", soon)
    try:
        watch = stack.deployment("watch/tiny")
        taken = {"type": "PENDING", "name": "Submitting"}
        run = stack.post(f"/deployments/{watch['id']}/create_flow_run", state=taken)["id"]
        crashed = stack.wait(run, {"CRASHED"})
        assert "never started it" in crashed["state"]["message"]
        stack.wait(run, {"SCHEDULED", "PENDING", "RUNNING"})
        stack.completed(run)
    finally:
        stack.request("PUT", f"/automations/{found['id']}", automation)
