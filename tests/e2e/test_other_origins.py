"""What a web page that the user happens to open, or whoever has no password, can do to the server: nothing."""

import base64
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
STARTS_SECONDS = 15.0  # in which a run that was made would be taken by a worker, and its command run
PATIENCE_MS = 120_000.0  # with a browser on a busy machine
# What such a page may try, from reading an id to a run with a command of its own; what each step came to.
ATTACK = """
async ([api, command, known]) => {
  const tried = {};
  const attempt = async (name, work) => {
    try { tried[name] = await work() } catch (error) { tried[name] = `${error}` }
  };
  const json = {"Content-Type": "application/json"};
  let id = known;
  await attempt("read", async () => {
    const answer = await fetch(`${api}/deployments/name/watch/tiny-watch`);
    id = (await answer.json()).id;
    return answer.status;
  });
  const body = JSON.stringify({name: "attack", job_variables: {command}});
  for (const headers of [json, {"Content-Type": "text/plain"}])
    await attempt(`post ${headers["Content-Type"]}`, async () => (
      await fetch(`${api}/deployments/${id}/create_flow_run`, {method: "POST", headers, body})).status);
  await attempt("post unread", async () => (
    await fetch(`${api}/deployments/${id}/create_flow_run`, {method: "POST", mode: "no-cors", body})).type);
  await attempt("socket", () => new Promise(resolve => {
    const socket = new WebSocket(api.replace("http", "ws") + "/events/in");
    socket.onopen = () => setTimeout(() => resolve(socket.readyState == 1 ? "open" : "closed"), 1000);
    socket.onclose = () => resolve("closed");
  }));
  return tried;
}
"""


@contextmanager
def served(html: str) -> Iterator[str]:
    """A page on a port of its own: another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def attacked(page: Page, stack: Stack, api: str, proof: Path) -> dict[str, object]:
    known = stack.deployment("watch/tiny")["id"]
    return page.evaluate(ATTACK, [api, f"touch {proof}", known])


def appears(path: Path) -> bool:
    until = time.monotonic() + STARTS_SECONDS
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.5)
    return path.exists()


def test_a_page_on_another_port_starts_no_program(stack: Stack, browser: Browser, tmp_path: Path):
    proof = tmp_path / "proof"
    page = browser.new_page()
    with served("<title>A page about cats</title>") as url:
        page.goto(url)
        tried = attacked(page, stack, f"{stack.url}/api", proof)
    page.close()
    assert not appears(proof), tried
    assert [run for run in stack.runs_of("watch") if run["name"] == "attack"] == []
    assert {step: result for step, result in tried.items() if result in (200, 201, "open")} == {}


def test_a_name_bound_anew_to_this_machine_reaches_nothing(stack: Stack, browser: Browser, tmp_path: Path):
    """A page whose own name suddenly means 127.0.0.1 has the server's origin, as the browser sees it."""
    proof, port = tmp_path / "proof", urlsplit(stack.url).port
    page = browser.new_page()
    answer = page.goto(f"http://cats.example:{port}/")
    tried = attacked(page, stack, f"http://cats.example:{port}/api", proof)
    page.close()
    assert not appears(proof), tried
    assert answer
    assert answer.status == 421
    assert {step: result for step, result in tried.items() if result in (200, 201, "open")} == {}


def test_the_ui_lets_in_who_knows_the_password(stack: Stack, browser: Browser):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(stack.url)
    field = page.locator("input[type=password]")
    for password in ("wikistyle:wrong", stack.password):
        field.fill(password)
        with page.expect_response(lambda answer: "/admin/version" in answer.url) as answer:
            field.press("Enter")
        assert answer.value.status == (200 if password == stack.password else 401)
    posted = page.expect_response(lambda answer: answer.request.method == "POST" and answer.url.startswith(stack.url))
    with posted as answer:
        page.goto(f"{stack.url}/v2/runs")
    assert answer.value.status == 200  # with the password and Prefect's token
    page.close()
    assert httpx.post(f"{stack.url}/api/flow_runs/filter", json={}).status_code in (401, 403)


def test_the_password_is_told_once_and_lies_only_in_a_private_file(stack: Stack):
    """Not in what is started again, in no log, result or record, and in no process's arguments."""
    stack.completed(stack.start("collect/tiny"))
    kept = stack.home / "password"
    assert [stack.password in line for line in stack.said[0]].count(True) == 1
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    secrets = [stack.password, stack.password.partition(":")[2], base64.b64encode(stack.password.encode()).decode()]
    arguments = []
    for process in psutil.process_iter():
        try:
            arguments += process.cmdline()
        except psutil.Error:
            continue
    assert [word for word in arguments for secret in secrets if secret in word] == []
    for path in (p for folder in (stack.home, stack.clone) for p in folder.rglob("*") if p.is_file() and p != kept):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path


@pytest.mark.parametrize(
    "variables",
    [
        {"command": "touch proof"},
        {"working_dir": "/tmp"},
        {"env": {"PYTHONPATH": "/tmp"}},
        {"env.LD_PRELOAD": "/tmp/their.so"},
    ],
)
def test_whoever_starts_a_run_has_no_say_in_which_program_it_is(stack: Stack, variables: dict):
    deployment = stack.deployment("publish/tiny")["id"]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        stack.post(f"/deployments/{deployment}/create_flow_run", job_variables=variables)
    assert refused.value.response.status_code == 422


@pytest.mark.parametrize("what", ["steps", "entrypoint"])
def test_a_deployment_of_other_code_is_not_run(stack: Stack, what: str, tmp_path: Path):
    """Whoever has the password, or a page that got hold of it, still can't make the worker run a script of theirs."""
    proof, script = tmp_path / "proof", tmp_path / "script.py"
    script.write_text(f"open({str(proof)!r}, 'w')\n")
    ours = stack.deployment("publish/tiny")
    (here,) = ours["pull_steps"]
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {proof}"}}
    changed = {"pull_steps": [here, shell]} if what == "steps" else {"entrypoint": f"{script}:publish"}
    kept = {name: ours[name] for name in ("flow_id", "parameters", "entrypoint", "pull_steps", "work_pool_name")}
    made = stack.post("/deployments/", **kept | changed | {"name": f"other-{what}"})
    try:
        run = stack.post(f"/deployments/{made['id']}/create_flow_run")["id"]
        found = stack.wait(run)
        assert found["state"]["type"] == "CRASHED"
        assert "NotOurs" in found["state"]["message"]
        assert not proof.exists()
    finally:
        stack.request("DELETE", f"/deployments/{made['id']}")
