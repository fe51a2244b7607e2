"""Waiting in tests: given up when nothing moves any more, not because a machine is slow or shared.

What moves is anything that changes while the awaited work goes on: states, files, steps, or the processor time it
takes, which a busy machine gives it later but no less of.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
STILL = 300.0  # s without a sign of life; a lost heartbeat is noticed after 90 s in which nothing else happens
LOOK = 5.0  # s between two looks at what moves
WORK = 10.0  # s of processor time that count as a sign of life: less is what polling takes while nothing happens
LAST = 3600.0  # s after which a wait is given up whatever moves


def tree_of(pid: int) -> list[psutil.Process]:
    """A process and all it has started; none when it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def work_of(processes: Iterable[psutil.Process]) -> int:
    """The processor time of these processes, and of their children which have ended, in units of `WORK`."""
    spent = 0.0
    for process in processes:
        try:
            spent += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return int(spent / WORK)


class Patience:
    """As long as `moving()` changes now and then, `look` returns; after `still` seconds it raises AssertionError."""

    def __init__(self, what: str, moving: Callable[[], Any], still: float = STILL):
        self.what, self.moving, self.still = what, moving, still
        self.began = self.moved = self.looked = time.monotonic()
        self.seen = moving()

    def look(self) -> None:
        now = time.monotonic()
        if now - self.looked < min(LOOK, self.still / 3):
            return
        seen, self.looked = self.moving(), now
        if seen != self.seen:
            self.seen, self.moved = seen, now
        if now - self.moved > self.still or now - self.began > LAST:
            raise AssertionError(
                f"{self.what}: not after {now - self.began:.0f} s, the last {now - self.moved:.0f} of them without "
                f"a sign of life; last seen: {self.seen}"
            )


def wait_for(
    found: Callable[[], T | None], what: str, moving: Callable[[], Any], still: float = STILL, every: float = 0.2
) -> T:  # fmt: skip
    """The first true value of `found()`."""
    patience = Patience(what, moving, still)
    while not (value := found()):
        patience.look()
        time.sleep(every)
    return value


async def wait_for_async(
    found: Callable[[], Any], what: str, moving: Callable[[], Any], still: float = STILL, every: float = 0.2
) -> Any:  # fmt: skip
    """`wait_for` with an event loop that goes on; `found` may be a coroutine function."""
    patience = Patience(what, moving, still)
    while True:
        value = found()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        patience.look()
        await asyncio.sleep(every)


def left_of(processes: Iterable[psutil.Process], still: float = 60.0) -> list[psutil.Process]:
    """Those of the processes that have not ended when nothing more happens to any of them."""
    alive = list(processes)

    def ended() -> bool:
        alive[:] = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        return not alive

    with contextlib.suppress(AssertionError):
        wait_for(ended, "their end", lambda: (len(alive), work_of(alive)), still, 0.1)
    return alive


def spent_until_its_end(process: psutil.Process) -> float:
    """Waits for the end of a process, and returns the processor time in s that it took from now on."""
    began = last = sum(process.cpu_times()[:4])

    def ended() -> bool:
        nonlocal last
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            last = sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            return True
        return False

    wait_for(ended, f"end of process {process.pid}", lambda: int(last), every=0.05)
    return last - began


def run_to_end(command: Sequence[str], still: float = STILL, **options: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` with its output captured as text; one that works no more is killed with what it started."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True, **options)
        try:
            moving = lambda: (work_of(tree_of(process.pid)), *(os.fstat(f.fileno()).st_size for f in (out, err)))  # noqa: E731
            wait_for(lambda: process.poll() is not None, f"end of {' '.join(command)}", moving, still)
        finally:
            if process.poll() is None:
                for one in reversed(tree_of(process.pid)):
                    one.kill()
                process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())
