"""The pipeline in a process of its own, so that Ctrl-C, or a terminal that is closed, ends it in good order.

A terminal sends Ctrl-C to all of its foreground processes at once. Prefect's embedded server would be gone before the
flows could tell it of their end, and a flow that waits in the event loop's thread would not hear of it at all. So
the pipeline runs, with that server, in a session that no terminal reaches; the command line waits, and passes a
request to stop on as the SIGTERM which Prefect and the training know.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict

from flows.common.settings import Settings
from tasks.common.errors import WikistyleError
from tasks.common.progress import say
from tasks.common.same_code import environment

STOP_SECONDS = 75.0  # a training of a large model may take most of a minute to save its state
EXIT_SECONDS = 5.0  # for what Prefect does when a process ends: by then everything has been said and saved
Part = Literal["collect", "finetune", "showcase"]


class Request(BaseModel):
    """What to run: the whole pipeline, or `only` one part."""

    model_config = ConfigDict(frozen=True)
    settings: Settings
    only: Part | None
    run_dir: str


class Outcome(BaseModel):
    """The run's folder, or why there is none."""

    model_config = ConfigDict(frozen=True)
    folder: str = ""
    error: str = ""


class PipelineFailed(WikistyleError):
    """The pipeline did not come to its end; the message says in one line why."""


class Stopped(BaseException):
    """A signal asked to stop: `number`."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def run_apart(request: Request) -> str:
    """Run the pipeline in a child process; returns the run's folder.

    Raises PipelineFailed, or Stopped once the child has ended for SIGINT, SIGTERM or SIGHUP. A second signal doesn't
    wait for it: a training that is saving its state goes on saving, and ends by itself.
    """
    command = [sys.executable, "-m", "flows"]
    with stop_signals():
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
        )
        try:
            answer = _talk(process, request)
        except Stopped:
            say("wikistyle: stopping; what runs is saved first (once more: at once)")
            process.terminate()
            try:
                _read(process, STOP_SECONDS)
            except Stopped:
                _kill(process)
            raise
        finally:
            _end(process)
    if not answer:
        raise PipelineFailed(f"the run's process ended with status {process.returncode}")
    outcome = Outcome.model_validate_json(answer)
    if outcome.error:
        raise PipelineFailed(outcome.error)
    return outcome.folder


def _talk(process: subprocess.Popen[str], request: Request) -> str:
    assert process.stdin
    with suppress(BrokenPipeError):  # it ended before it read; its answer is empty then
        process.stdin.write(f"{request.model_dump_json()}\n")
        process.stdin.flush()  # and stays open: its end is the end of this process
    return _read(process)


def _read(process: subprocess.Popen[str], seconds: float | None = None) -> str:
    """What the child says before it closes its stdout, and "" if it doesn't in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.read() if ready else ""


def _end(process: subprocess.Popen[str]) -> None:
    """The child ends by itself, now that all is said, and leaves nothing behind."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_SECONDS)
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def stop_signals() -> Generator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped; SIGHUP not under nohup."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(number: int, frame: Any) -> NoReturn:
    """A signal handler."""
    raise Stopped(number)
