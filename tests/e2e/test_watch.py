"""Watching a wiki on the real stack: changes start one pipeline run, no change none."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from samples.wiki.content import SampleWiki
from tests.e2e.stack import Stack, Wiki
from tests.mediawiki.wiki import MediaWiki, Page, Upload, missing

pytestmark = pytest.mark.e2e
WATCH = """
import asyncio, json, sys
from flows.common.local import prepare_prefect
prepare_prefect()
from flows.common.settings import load_profile
from flows.watch import watch
settings = load_profile("tiny", sys.argv[2:])
found = [asyncio.run(watch(settings)) for _ in range(int(sys.argv[1]))]
print(json.dumps([watched.model_dump() for watched in found]))
"""


def watched(stack: Stack, times: int, *changed: str) -> list[dict]:
    """Watch so many times in a row, in one process, on the same server, with some settings changed."""
    environment = stack.environment | {
        "PREFECT_API_URL": f"{stack.url}/api",
        "PREFECT_HOME": str(stack.home / "prefect"),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(times), *changed], cwd=stack.clone, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def pipeline_runs(stack: Stack) -> list[dict]:
    return stack.runs_of("wikistyle")


def test_changes_start_one_pipeline_run_and_no_change_starts_none(stack: Stack, wiki: Wiki):
    stack.completed(stack.start("collect/tiny"))
    before = {run["id"] for run in pipeline_runs(stack)}
    (nothing,) = watched(stack, 1)
    assert (nothing["listed"], nothing["new"], nothing["announced"]) == (6, 0, False)

    title = wiki.upload()
    stack.completed(stack.start("watch/tiny"))
    again = watched(stack, 9)
    assert [watched["announced"] for watched in again] == [False] * 9
    assert again[0]["examples"] in ([title], [])  # the pipeline run may have collected it already
    new = stack.until(lambda: [run for run in pipeline_runs(stack) if run["id"] not in before], "a run of the changes")
    assert len(new) == 1
    assert new[0]["created_by"]["type"] == "AUTOMATION"
    time.sleep(3)
    assert len([run for run in pipeline_runs(stack) if run["id"] not in before]) == 1
    cancel(stack, new[0]["id"])


def cancel(stack: Stack, run: str) -> None:
    stack.post(f"/flow_runs/{run}/set_state", state={"type": "CANCELLING"})
    assert stack.wait(run)["state"]["type"] == "CANCELLED"


def started(stack: Stack, before: set[str]) -> str:
    """The one pipeline run that was started since and not refused."""

    def new() -> list[dict]:
        return [run for run in pipeline_runs(stack) if run["id"] not in before and run["state"]["type"] != "CANCELLED"]

    (pipeline,) = stack.until(new, "a pipeline run")
    return pipeline["id"]


def collected(stack: Stack, before: set[str]) -> None:
    """Waits until a collect that was not among `before` has completed."""

    def done() -> list[dict]:
        return [r for r in stack.runs_of("collect") if r["id"] not in before and r["state"]["type"] == "COMPLETED"]

    stack.until(done, "a collect that completed")


def ids(stack: Stack, flow: str) -> set[str]:
    return {run["id"] for run in stack.runs_of(flow)}


def test_what_a_running_pipeline_run_missed_is_told_once_it_has_ended(stack: Stack, wiki: Wiki):
    """And what is gone from the wiki is told like what is new on it."""
    before = ids(stack, "collect")
    running = stack.start("wikistyle/tiny", finetune={"seed": 31, "epochs": 300, "snapshot_every": 300})
    collected(stack, before)
    title = wiki.upload()
    (during,) = watched(stack, 1)
    assert (during["new"], during["announced"]) == (1, False)
    cancel(stack, running)
    for changed in ({"new": 1, "gone": 0}, {"new": 0, "gone": 1}):
        pipelines_before, collects_before = ids(stack, "wikistyle"), ids(stack, "collect")
        first, second = watched(stack, 2)
        assert {name: first[name] for name in changed} == changed
        assert (first["announced"], first["examples"]) == (True, [title])
        assert second["announced"] is False
        pipeline = started(stack, pipelines_before)
        collected(stack, collects_before)
        cancel(stack, pipeline)
        assert watched(stack, 1)[0]["announced"] is False
        wiki.delete(title)


@pytest.fixture(scope="module")
def mediawiki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MediaWiki, str]]:
    """A real MediaWiki with four pictures, and its API's address."""
    if lacking := missing():
        if os.environ.get("CI"):
            pytest.fail(f"{lacking} must be installed to watch a real MediaWiki")
        pytest.skip(f"{lacking} not installed")
    wiki = MediaWiki(tmp_path_factory.mktemp("mediawiki") / "wiki")
    wiki.write([Page("Template:CC-BY-SA-4.0", "This file is free to share.")])
    wiki.upload([upload(i) for i in range(4)])
    wiki.run_jobs()
    with wiki.serve() as url:
        yield wiki, f"{url}/api.php"


def upload(number: int) -> Upload:
    """A drawing of the sample wiki, to be uploaded to the real one."""
    sample = SampleWiki()
    odd = sample.files_in("Category:Site files")
    file = [f for f in sample.files if f.row["mime"] == "image/png" and f not in odd][number]
    return Upload(file.title.removeprefix("File:"), sample.data(file), "A drawing.\n{{CC-BY-SA-4.0}}\n")


@contextmanager
def pointed_at(stack: Stack, api_url: str) -> Iterator[None]:
    """The profile's deployments read another wiki for a while."""
    before = {}
    for flow in ("wikistyle", "collect", "watch"):
        found = stack.deployment(f"{flow}/tiny")
        values = before[found["id"]] = found["parameters"]
        essentials = values["settings"]["essentials"] | {"api_url": api_url}
        there = values | {"settings": values["settings"] | {"essentials": essentials}}
        stack.request("PATCH", f"/deployments/{found['id']}", {"parameters": there})
    try:
        yield
    finally:
        for deployment, values in before.items():
            stack.request("PATCH", f"/deployments/{deployment}", {"parameters": values})


def test_ten_watches_of_a_real_mediawiki_start_one_pipeline_run_of_it(stack: Stack, mediawiki: tuple[MediaWiki, str]):
    wiki, api_url = mediawiki
    with pointed_at(stack, api_url):
        stack.completed(stack.start("collect/tiny"))
        before = {run["id"] for run in pipeline_runs(stack)}
        assert watched(stack, 1, f"scrape.api_url={api_url}")[0]["announced"] is False
        wiki.upload([upload(4)], "20240102000000")
        wiki.run_jobs()
        found = watched(stack, 10, f"scrape.api_url={api_url}")
        assert (found[0]["new"], [watched["announced"] for watched in found]) == (1, [True] + [False] * 9)
        (pipeline,) = stack.until(
            lambda: [run for run in pipeline_runs(stack) if run["id"] not in before], "a run of the changes"
        )
        stack.completed(pipeline["id"])
        assert watched(stack, 1, f"scrape.api_url={api_url}")[0]["new"] == 0
        assert [run["id"] for run in pipeline_runs(stack) if run["id"] not in before] == [pipeline["id"]]
    summary = json.loads((stack.clone / "runs" / "latest" / "summary.json").read_text())
    assert summary["wiki"]["address"].startswith(api_url.removesuffix("api.php"))
    rows = summary["dataset"]["rows"]  # the random BLIP of this stack has no words for some
    assert summary["wiki"]["listed"] == rows + len(summary["rejects"]) == 5
