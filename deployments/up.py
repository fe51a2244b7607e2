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

from deployments import access
from deployments.run_files import PATH
from flows.common.local import make_home, prepare_prefect
from flows.common.settings import ROOT
from tasks.common.environment import environment
from tasks.common.errors import WikistyleError
from tasks.common.progress import say

START_SECONDS = 120.0
STOP_SECONDS = 60.0  # a training that is told to stop saves its state first
POLL_SECONDS = 0.5
POOLS = (("wikistyle-cpu", 4), ("wikistyle-gpu", 1))  # and the most runs at once


class UpError(WikistyleError):
    """Something did not start; the message names it, why, and what to do."""


class Service:
    """One process of the stack in a process group of its own, with its log; `pool` is what a worker works for.

    `environment` is added to this process's. What is secret goes in there, never into the arguments.
    """

    def __init__(
        self, name: str, arguments: list[str], logs: Path, pool: str = "", environment: dict[str, str] | None = None
    ):
        self.name, self.arguments, self.pool, self.environment = name, arguments, pool, environment or {}
        self.log = logs / f"{name}.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return _popen(self.arguments, log, self.environment)

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


def _popen(arguments: list[str], log: IO[bytes], environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        start_new_session=True,
    )


def up(port: int, password: bool = True) -> None:
    """Start everything, say where it is, and watch over it; Ctrl-C, SIGTERM or the terminal's end stops it all.

    Raises UpError when this is no checkout, the port is taken or a part does not start, AccessError when the password
    can't be used.
    """
    if not (ROOT / "prefect.yaml").is_file():
        raise UpError(
            "wikistyle is installed as a copy, without prefect.yaml; `wikistyle up` runs from a checkout: clone it, "
            "`make .venv/installed`, and use its .venv/bin/wikistyle"
        )
    home = environment().home.resolve()
    os.environ["WIKISTYLE_HOME"] = str(home)  # for what is started in another folder
    address = f"http://127.0.0.1:{port}"
    _check_free(port)
    secret, told = access.password(home, password)
    _prepare(address)
    access.prepare_clients(secret)
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    make_home()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job, and all it starts, would ignore SIGINT
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup's wish: to go on when the terminal is closed
        signal.signal(signal.SIGHUP, _interrupt)
    services: list[Service] = []
    try:
        server = ["deployments.serve", "--port", str(port)]
        services.append(Service("server", server, logs, environment=access.server_settings(port, secret)))
        _wait_healthy(f"{address}/api/health", services[0])
        _deploy()
        _take_up([pool for pool, _ in POOLS], "the machine or `wikistyle up` ended", crashed_before=True)
        for pool, limit in POOLS:
            name = f"{pool.removeprefix('wikistyle-')}-worker"
            worker = ["deployments.worker", "--pool", pool, "--name", name, "--limit", str(limit)]
            services.append(Service(name, worker, logs, pool))
            asyncio.run(_wait_working(services[-1]))
        print(told)
        print(f"UI: {address}  (logs: {logs}; Ctrl-C stops everything)", flush=True)
        _watch_over(services)
    except KeyboardInterrupt:
        say("stopping", sys.stdout)
    finally:
        for service in reversed(services):
            service.stop()


def _prepare(address: str) -> None:
    """The environment of this process and all it starts; to be called before Prefect is imported."""
    os.environ["PREFECT_API_URL"] = f"{address}/api"
    os.environ["WIKISTYLE_RUNS"] = str((ROOT / environment().runs).resolve())  # where the workers have it
    os.environ["WIKISTYLE_RUNS_URL"] = f"{address}{PATH}"
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "1")  # the pause after asking; see deployments/worker.py
    # A worker's heartbeat that meets another write makes a server on SQLite stand still for a minute (Prefect 3.8), and
    # nothing here waits for a worker to fall silent: `_watch_over` sees it end.
    os.environ.setdefault("PREFECT_WORKER_HEARTBEAT_SECONDS", "300")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    prepare_prefect()
    os.environ["PWD"] = str(ROOT)  # where prefect.yaml says that workers find the code
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


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
    from deployments.rename import outdated
    from deployments.server import make_automations, make_notifications, make_pools
    from deployments.switches import pause, paused

    asyncio.run(make_pools(python=sys.executable))
    if os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").startswith("postgresql"):
        asyncio.run(make_automations())
    asyncio.run(make_notifications())
    if asyncio.run(outdated()):
        print(_done("deployments.rename").rstrip(), flush=True)
    before = asyncio.run(paused())
    _done("prefect", "--no-prompt", "deploy", "--all")
    asyncio.run(pause(before))


def _done(*arguments: str) -> str:
    """What a command says that must end well."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise UpError(f"{' '.join(arguments)} ended with status {done.returncode}: {done.stdout[-400:]}")
    return done.stdout


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
                _take_up([worker.pool], f"its worker ended with status {worker.process.returncode}")
                worker.restart()


def _take_up(pools: list[str], reason: str, crashed_before: bool = False) -> None:
    """Have the runs of pools that have no worker now go on, instead of running for ever."""
    from flows.rescue import take_up_lost

    for line in asyncio.run(take_up_lost(pools, reason, crashed_before)):
        print(line, flush=True)
