"""`wikistyle up` in a fresh clone with a tiny profile of its own, and the few API calls the UI makes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from fcntl import LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from flows.common.deployed import deployed_as
from flows.common.form import as_asked, by_stage
from samples.wiki.content import SampleWiki, WikiFile
from samples.wiki.server import serve
from tests.caption.blip import save_tiny_blip
from tests.e2e.ports import free_port
from tests.sample.tiny import save_base
from tests.scrape.faults import small_wiki
from tests.waiting import STILL, T, left_of, wait_for, work_of

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-c", "from flows.cli import main; main()"]
PASSWORD = "PREFECT_API_AUTH_STRING"
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Stack:
    """A running `wikistyle up`: its clone, its home, and its server's API."""

    def __init__(self, clone: Path, home: Path, url: str, process: subprocess.Popen, variables: dict[str, str]):
        self.clone, self.home, self.url, self.process = clone, home, url, process
        self.variables = variables  # of `wikistyle up`
        self.said: list[list[str]] = []  # by each of its starts
        kept = home / "password"
        self.password = variables.get(PASSWORD) or (kept.read_text().strip() if kept.exists() else "")
        # Of commands that use its server, as README.md has the user set it.
        self.environment = variables | ({PASSWORD: self.password} if self.password else {})
        user, _, password = self.password.partition(":")
        self.http = httpx.Client(base_url=f"{url}/api", timeout=STILL, auth=(user, password))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; asked again while SQLite is busy, or with a new token, as Prefect's own client does."""
        for _ in range(20):
            answer = self.http.request(method, path, json=body)
            if answer.status_code == 403:
                token = self.http.get("/csrf-token", params={"client": "test"}).raise_for_status().json()["token"]
                self.http.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"})
            elif answer.status_code != 503:
                break
            else:
                time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def post(self, path: str, **body: Any) -> Any:
        return self.request("POST", path, body)

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def deployment(self, name: str) -> dict[str, Any]:
        """The deployment of a flow and profile, as `collect/tiny`."""
        flow, _, profile = name.partition("/")
        return self.get(f"/deployments/name/{flow}/{deployed_as(flow, profile)}")

    def start(self, deployment: str, **settings: dict[str, Any]) -> str:
        """A run of `flow/profile` as the form starts it: its parameters, with some settings changed; returns its id."""
        found = self.deployment(deployment)
        values = by_stage(found["parameters"]["settings"])
        changed = as_asked(values | {stage: values[stage] | new for stage, new in settings.items()})
        parameters = found["parameters"] | {"settings": changed}
        return self.post(f"/deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]

    def retry(self, run: str) -> None:
        """What the UI's Retry button does."""
        self.post(f"/flow_runs/{run}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"}, force=True)

    def run(self, run: str) -> dict[str, Any]:
        return self.get(f"/flow_runs/{run}")

    def wait(self, run: str, states: set[str] = FINAL) -> dict[str, Any]:
        """The run once it is in one of the states (types)."""

        def there() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["state"]["type"] in states else None

        try:
            return self.until(there, f"run {run} in {states}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs(run)}") from None

    def until(self, found: Callable[[], T | None], what: str) -> T:
        """The first true value of `found()`; given up when no run and none of their processes moves any more."""
        return wait_for(found, what, self.moving, STILL, 0.5)

    def moving(self) -> tuple[Any, ...]:
        """What changes while anything goes on: the runs' states, their tasks, and the work of their processes.

        Server and workers are left out: they ask and answer the whole time.
        """
        runs = self.post("/flow_runs/filter", sort="START_TIME_DESC")
        waiting = ("deployments.worker", "prefect server", "uvicorn")
        lines = [(process, line_of(process)) for process in self.tree()[1:]]
        busy = [process for process, line in lines if not any(word in line for word in waiting)]
        tasks = self.post("/task_runs/count")
        return [(run["id"], run["state_name"], run["run_count"]) for run in runs], tasks, work_of(busy)

    def completed(self, run: str) -> dict[str, Any]:
        found = self.wait(run)
        assert found["state"]["type"] == "COMPLETED", f"{found['state']['message']}\n{self.logs(run)}"
        return found

    def runs_of(self, flow: str) -> list[dict[str, Any]]:
        """All runs of a flow, in the order they were made."""
        return self.post("/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC")

    def tasks_of(self, run: str) -> list[dict[str, Any]]:
        return self.post("/task_runs/filter", flow_runs={"id": {"any_": [run]}})

    def ran_since(self, moment: datetime) -> Counter[str]:
        """How often each task did its work since then, in all runs, by its name; what came from the cache is left out.

        Names without the part that tells runs apart: a batch's first key, a run's number.
        """
        found = self.post("/task_runs/filter", task_runs={"start_time": {"after_": moment.isoformat()}})
        done = [task for task in found if task["state"]["name"] == "Completed" and "-" in task["task_key"]]
        return Counter(task["task_key"].rsplit("-", 1)[0] for task in done)

    def logs(self, run: str) -> str:
        found = self.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC")
        return "\n".join(line["message"] for line in found)

    def kill(self) -> None:
        """A power cut: all its processes end at once and say nothing."""
        for process in self.tree():
            process.suspend()  # none may notice that another is gone
        for process in reversed(self.tree()):
            process.kill()
        self.process.wait()

    def up_again(self) -> None:
        """`wikistyle up` as before, on the same port."""
        self.process, said = brought_up(self.clone, self.variables, int(self.url.rpartition(":")[2]))
        self.said.append(said)

    def tree(self) -> list[psutil.Process]:
        """Every process of the stack."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def workers(self, pool: str = "") -> list[psutil.Process]:
        """The workers, or those of one pool."""
        found = self.processes("-m deployments.worker", pool)
        return [process for process in found if process.ppid() == self.process.pid]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of its processes whose command line has all the words."""
        return [process for process in self.tree() if (line := line_of(process)) and all(w in line for w in words)]


def line_of(process: psutil.Process) -> str:
    """A process's command line; empty when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def environment_of(clone: Path, home: Path) -> dict[str, str]:
    """The environment of a newcomer: nothing of Prefect or wikistyle is set but what the test needs.

    PREFECT_SERVER_DATABASE_CONNECTION_URL is let through: the same tests must pass on PostgreSQL.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "WIKISTYLE_")) or k == DATABASE}
    return kept | {
        "PYTHONPATH": str(clone),
        "PWD": str(clone),
        "WIKISTYLE_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def clone_to(folder: Path) -> None:
    """The tracked and new files of this checkout, as a clone would have them."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def tiny_profile(api_url: str, models: Path) -> dict[str, Any]:
    """The whole pipeline in seconds: a handful of pictures, random models of 32 px, one epoch."""
    return {
        "profile": "tiny",
        "scrape": {"api_url": api_url},
        "convert": {"max_side": 64},
        "caption": {"model": str(save_tiny_blip(models / "blip")), "num_beams": 1, "max_new_tokens": 4},
        "finetune": {
            "base_model": str(models / "base"), "resolution": 32, "epochs": 1, "snapshot_every": 1, "batch_size": 4,
            "decoder_epochs": 1, "checkpoint_steps": 1,
        },
        "sample": {"prompts": ["a cat"], "seeds": [0], "num_inference_steps": 3, "dial_frames": 3},
        "measure": {"clip_model": "samples/models/clip", "clip_revision": None},
    }  # fmt: skip


class Wiki:
    """A small wiki on loopback that pictures can be uploaded to."""

    def __init__(self, url: str, content: SampleWiki):
        self.url, self.content = url, content

    def upload(self) -> str:
        """One more picture of the second wave; returns its title."""
        titles = {file.title for file in self.content.files}
        later = next(f for f in SampleWiki(second_wave=True).files if f.row["wave"] == 2 and f.title not in titles)
        self._hold([*self.content.files, later])
        return later.title

    def delete(self, title: str) -> None:
        """A picture that somebody had removed from the wiki."""
        self._hold([file for file in self.content.files if file.title != title])

    def _hold(self, files: list[WikiFile]) -> None:
        self.content.files = sorted(files, key=lambda file: file.name)
        self.content.__dict__.pop("by_name", None)


@contextmanager
def small_wiki_served() -> Iterator[Wiki]:
    content = small_wiki(6)
    with serve(wiki=content) as running:
        yield Wiki(running.api_url, content)


def brought_up(clone: Path, environment: dict[str, str], port: int) -> tuple[subprocess.Popen, list[str]]:
    """A new `wikistyle up`, once it says where it is; and the lines it has said."""
    process = subprocess.Popen(
        [*CLI, "up", "--port", str(port)], cwd=clone, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("UI: "):
            return process, said
    raise AssertionError("".join(said))


@contextmanager
def running_stack(folder: Path, api_url: str, **variables: str) -> Iterator[Stack]:
    """Clone, render, `wikistyle up` with these variables; at the end Ctrl-C, after which no process of it is left."""
    clone, home = folder / "clone", folder / "home"
    clone_to(clone)
    save_base(folder / "models" / "base")
    profile = tiny_profile(api_url, folder / "models")
    (clone / "deployments" / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(profile))
    environment = environment_of(clone, home) | variables
    subprocess.run([sys.executable, "-m", "deployments.render"], cwd=clone, env=environment, check=True)
    process, said = brought_up(clone, environment, free_port())
    stack = Stack(clone, home, said[-1].split()[1], process, environment)
    stack.said.append(said)
    tree = stack.tree()
    try:
        yield stack
    finally:
        tree = [*tree, *stack.tree()]
        stack.process.send_signal(signal.SIGINT)
        try:
            wait_for(lambda: stack.process.poll() is not None, "end of wikistyle up", lambda: work_of(tree))
        finally:
            left = left_of(tree)
            for orphan in left:
                orphan.kill()
        assert (stack.process.returncode, left) == (0, [])


def held(folder: Path) -> bool:
    """Whether a process trains in the folder now."""
    with (folder / "lock").open() as lock:
        try:
            flock(lock, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return True
    return False
