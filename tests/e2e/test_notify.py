"""Failures are told: a webhook gets the stage, the reason and the command that goes on with the run."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
MAKE = "import asyncio; from deployments.server import make_notifications; print(asyncio.run(make_notifications()))"


@pytest.fixture
def chat() -> Iterator[tuple[str, list[dict]]]:
    """A chat's webhook on loopback: its address and what it was sent."""
    said: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path", said
    server.shutdown()


def make(stack: Stack, url: str = "") -> str:
    environment = stack.environment | {"PREFECT_API_URL": f"{stack.url}/api"}
    if url:
        environment["WIKISTYLE_WEBHOOK_URL"] = url
    done = subprocess.run(
        [sys.executable, "-c", MAKE], cwd=stack.clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_failure_is_told_with_stage_reason_and_command(stack: Stack, chat: tuple[str, list[dict]]):
    assert make(stack) == "False"  # nobody to tell: nothing is made
    url, said = chat
    assert (make(stack, url), make(stack)) == ("True", "True")
    (told,) = [a for a in stack.post("/automations/filter") if a["name"] == "wikistyle: tell that a run failed"]
    try:
        run = stack.start("collect/tiny", scrape={"api_url": "http://127.0.0.1:9/api.php"})
        assert stack.wait(run)["state"]["type"] == "FAILED"
        stack.until(lambda: said, "message of the failure")
        (message,) = said
        for part in (
            "collect/tiny",
            "stage scrape failed",
            "can't be reached",
            f"prefect flow-run retry {run}",
            stack.url,
        ):
            assert part in message["text"]
        assert "secret-path" not in json.dumps(stack.get(f"/automations/{told['id']}"))
    finally:
        stack.request("DELETE", f"/automations/{told['id']}")
