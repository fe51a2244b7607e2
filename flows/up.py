"""`wikistyle up`: server, pools, deployments and both workers on this machine, until Ctrl-C."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from flows.local import make_home, prepare_prefect
from flows.settings import ROOT
from tasks.progress import say

START_SECONDS = 120.0
STOP_SECONDS = 60.0  # a training that is told to stop saves its state first
POLL_SECONDS = 0.5


class UpError(RuntimeError):
    """Something did not start; the message names it, why, and what to do."""


class Service:
    """One process of the stack in a process group of its own, with its log; `pool` is what a worker works for."""

    def __init__(self, name: str, arguments: list[str], logs: Path, pool: str = ""):
        self.name, self.arguments, self.pool = name, arguments, pool
        self.log = logs / f"{name}.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return _popen(self.arguments, log)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        if not self.ended():
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        with suppress(ProcessLookupError):  # whatever it started and left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _popen(arguments: list[str], log: IO[bytes]) -> subprocess.Popen:
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        start_new_session=True,
    )


def up(port: int) -> None:
    """Start everything, say where it is, and watch over it; Ctrl-C, SIGTERM or the terminal's end stops it all.

    Raises UpError when this is no checkout, the port is taken, or a part does not start.
    """
    if not (ROOT / "prefect.yaml").is_file():
        raise UpError(
            "wikistyle is installed as a copy, without prefect.yaml; `wikistyle up` runs from a checkout: clone it, "
            "`make .venv/installed`, and use its .venv/bin/wikistyle"
        )
    home = Path(os.environ.setdefault("WIKISTYLE_HOME", str(Path(".wikistyle").resolve())))
    address = f"http://127.0.0.1:{port}"
    os.environ["PREFECT_API_URL"] = f"{address}/api"
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "1")  # the pause after asking; see deployments/worker.py
    # A worker's heartbeat that meets another write makes a server on SQLite stand still for a minute (Prefect 3.8), and
    # nothing here waits for a worker to fall silent: `_watch_over` sees it end.
    os.environ.setdefault("PREFECT_WORKER_HEARTBEAT_SECONDS", "300")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    prepare_prefect()
    os.environ["PWD"] = str(ROOT)  # where prefect.yaml says that workers find the code
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    _check_free(port)
    make_home()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job, and all it starts, would ignore SIGINT
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup's wish: to go on when the terminal is closed
        signal.signal(signal.SIGHUP, _interrupt)
    services: list[Service] = []
    try:
        services.append(
            Service("server", ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)], logs)
        )
        _wait_healthy(f"{address}/api/health", services[0])
        _deploy()
        for name, limit in (("cpu", "4"), ("gpu", "1")):
            pool = f"wikistyle-{name}"
            _give_up_runs(pool, "the machine or `wikistyle up` ended")
            worker = ["deployments.worker", "--pool", pool, "--name", f"{name}-worker", "--limit", limit]
            services.append(Service(f"{name}-worker", worker, logs, pool))
            asyncio.run(_wait_working(services[-1]))
        print(f"UI: {address}  (logs: {logs}; Ctrl-C stops everything)", flush=True)
        _watch_over(services)
    except KeyboardInterrupt:
        say("stopping", sys.stdout)
    finally:
        for service in reversed(services):
            service.stop()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _check_free(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UpError(f"port {port} is taken ({error.strerror}); stop what uses it or give --port") from None


def _wait_healthy(url: str, server: Service) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.ended():
            break
        try:
            with urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(POLL_SECONDS)
    raise UpError(f"the Prefect server does not answer at {url}; see {server.log}")


async def _wait_working(worker: Service) -> None:
    """Until a worker's first heartbeat: those of two workers that begin at once meet (see `up`)."""
    from prefect import get_client

    began, until = datetime.now(UTC), time.monotonic() + START_SECONDS
    async with get_client() as client:
        while time.monotonic() < until and not worker.ended():
            known = await client.read_workers_for_work_pool(worker.pool)
            if any(w.name == worker.name and w.last_heartbeat_time and w.last_heartbeat_time > began for w in known):
                return
            await asyncio.sleep(POLL_SECONDS)
    raise UpError(f"worker {worker.name} does not reach the server; see {worker.log}")


def _deploy() -> None:
    from deployments.server import make_automations, make_notifications, make_pools

    asyncio.run(make_pools(python=sys.executable))
    if os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").startswith("postgresql"):
        asyncio.run(make_automations())
    asyncio.run(make_notifications())
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise UpError(f"prefect deploy --all ended with status {done.returncode}: {done.stdout[-400:]}")


def _watch_over(services: list[Service]) -> None:
    """Until interrupted: a worker that ended is started again; without the server there is nothing to do."""
    server, *workers = services
    while True:
        time.sleep(POLL_SECONDS)
        if server.ended():
            raise UpError(f"the Prefect server ended; see {server.log}")
        for worker in workers:
            if worker.ended():
                print(f"{worker.name} ended with status {worker.process.returncode}; starting it again", flush=True)
                worker.stop()
                _give_up_runs(worker.pool, f"its worker ended with status {worker.process.returncode}")
                worker.restart()


def _give_up_runs(pool: str, reason: str) -> None:
    """Crash the runs of a pool that has no worker now, so that they are taken up again instead of running for ever."""
    asyncio.run(_crash_runs(pool, reason))


async def _crash_runs(pool: str, reason: str) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import Cancelled, Crashed

    unfinished = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(unfinished),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        )
        for run in runs:
            cancelling = run.state is not None and run.state.is_cancelling()
            state = Cancelled(message=reason) if cancelling else Crashed(message=f"{reason}; what was done is kept")
            await client.set_flow_run_state(run.id, state, force=True)
