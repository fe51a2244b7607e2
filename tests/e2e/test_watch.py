"""Watching a wiki on the real stack: news start one story, no news none."""

import json
import subprocess
import sys
import time

import pytest

from tests.e2e.stack import Stack, Wiki

pytestmark = pytest.mark.e2e
WATCH = """
import asyncio, json, sys
from flows.local import prepare_prefect
prepare_prefect()
from flows.settings import load_profile
from flows.watch import watch
found = [asyncio.run(watch(load_profile("tiny"))) for _ in range(int(sys.argv[1]))]
print(json.dumps([news.model_dump() for news in found]))
"""


def watched(stack: Stack, times: int) -> list[dict]:
    """Watch so many times in a row, in one process, on the same server."""
    environment = stack.environment | {
        "PREFECT_API_URL": f"{stack.url}/api",
        "PREFECT_HOME": str(stack.home / "prefect"),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(times)], cwd=stack.clone, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def stories(stack: Stack) -> list[dict]:
    return stack.runs_of("wikistyle")


def test_news_start_one_story_and_no_news_none(stack: Stack, wiki: Wiki):
    stack.completed(stack.start("collect/tiny"), 120)
    before = {run["id"] for run in stories(stack)}
    (nothing,) = watched(stack, 1)
    assert (nothing["listed"], nothing["new"], nothing["announced"]) == (6, 0, False)

    title = wiki.upload()
    stack.completed(stack.start("watch/tiny"), 60)
    again = watched(stack, 9)
    assert [news["announced"] for news in again] == [False] * 9
    assert again[0]["examples"] == [title]
    until = time.monotonic() + 20
    while not (new := [run for run in stories(stack) if run["id"] not in before]) and time.monotonic() < until:
        time.sleep(0.5)
    assert len(new) == 1
    assert new[0]["created_by"]["type"] == "AUTOMATION"
    time.sleep(3)
    assert len([run for run in stories(stack) if run["id"] not in before]) == 1
    stack.post(f"/flow_runs/{new[0]['id']}/set_state", state={"type": "CANCELLING"})
    assert stack.wait(new[0]["id"], 60)["state"]["type"] == "CANCELLED"
