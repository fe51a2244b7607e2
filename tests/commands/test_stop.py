"""Ctrl-C, or a terminal that is closed, while `wikistyle run` trains: all is saved, nothing is left running.

No test here judges by the clock: the time limits only end a test that hangs.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tasks.finetune.training.made import UnetProgress
from tasks.finetune.training.state import saved_progress
from tests.commands.installed import SCRIPT, TINY, Terminal, environment
from tests.e2e.ports import free_port

pytestmark = pytest.mark.e2e
LONG = "--set finetune.epochs=4000 --set finetune.snapshot_every=4000 --set finetune.checkpoint_steps=100000"
COMMAND = f"run {' '.join(TINY)} {LONG}"
HANGS = 120


class Home:
    """A folder to run in, with folders named like our packages; a home that isn't there yet; a store elsewhere."""

    def __init__(self, folder: Path):
        self.here, self.training = folder / "here", folder / "new" / "home" / "training"
        for name in ("flows", "tasks", "samples", "deployments"):
            (self.here / name).mkdir(parents=True)
        self.variables = environment(
            folder, WIKISTYLE_HOME=str(folder / "new" / "home"), WIKISTYLE_STORE=str(folder / "store" / "of" / "mine")
        )

    def steps(self) -> int:
        """How far the saved state has come."""
        (folder,) = self.training.glob("unet-*")
        progress = saved_progress(folder, UnetProgress)
        assert progress
        return progress.step


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("stop"))


class Run:
    """A `wikistyle run` that trains now, and all its processes."""

    def __init__(self, process: subprocess.Popen[str], said: str):
        self.process, self.said = process, said
        self.tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]

    def wait_for(self, words: str) -> str:
        """Lines of stderr up to one that begins with the words."""
        lines = []
        assert self.process.stderr
        for line in self.process.stderr:
            lines.append(line)
            if line.startswith(words):
                return "".join(lines)
        raise AssertionError(f"ended with status {self.process.wait()}, without {words!r}: {self.said}{''.join(lines)}")

    def rest(self) -> str:
        """What it still says on stderr; it and all its processes have ended then."""
        said = self.process.communicate(timeout=HANGS)[1]
        assert psutil.wait_procs(self.tree, timeout=HANGS)[1] == []
        return said


@contextmanager
def training(home: Home, until: str = "unet: ") -> Iterator[Run]:
    process = subprocess.Popen(
        [SCRIPT, *COMMAND.split()], cwd=home.here, env=home.variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    run = Run(process, "")
    try:
        said = run.wait_for(until)
        yield Run(process, said)
    finally:
        with_children = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        for left in [process, *with_children]:
            left.kill()


def lines_of(said: str) -> list[str]:
    return [line.removeprefix("wikistyle: ") for line in said.splitlines()]


def test_ctrl_c_saves_stops_and_says_how_to_go_on(home):
    """The first run in a new home, too: nothing is said of that."""
    with training(home) as run:
        began = [line for line in run.said.splitlines() if "arning" in line or "rror" in line or "Failed" in line]
        assert began == []
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        stopping, stopped = lines_of(run.rest())
    assert stopping.startswith("stopping")
    assert stopped.startswith("stopped; what was done is kept")
    (command,) = re.findall(r"`(.*)` goes on from there", stopped)
    assert shlex.split(command)[4:] == COMMAND.split()[1:]  # after: wikistyle run --profile sample
    assert run.process.returncode == 130
    assert home.steps() > 0


def test_a_closed_terminal_ends_a_run_that_went_on_from_there(home):
    before = home.steps()
    terminal = Terminal([str(SCRIPT), *COMMAND.split()], home.here, home.variables)
    terminal.wait_for("unet ")
    tree = psutil.Process(terminal.process.pid).children(recursive=True)
    terminal.close()
    assert terminal.process.wait(HANGS) == 128 + signal.SIGHUP
    assert psutil.wait_procs(tree, timeout=HANGS)[1] == []
    assert home.steps() > before


def test_a_second_ctrl_c_ends_it_at_once_and_the_training_still_saves(home):
    """The first reaches the command alone."""
    before = home.steps()
    with training(home) as run:
        run.process.send_signal(signal.SIGINT)
        run.wait_for("wikistyle: stopping")
        os.killpg(run.process.pid, signal.SIGINT)
        (stopped,) = lines_of(run.rest())
    assert stopped.startswith("stopped")
    assert run.process.returncode == 130
    assert home.steps() > before


def test_a_closed_terminal_ends_server_and_workers(home):
    variables = home.variables | {"WIKISTYLE_HOME": str(home.here.with_name("up"))}
    terminal = Terminal([str(SCRIPT), "up", "--port", str(free_port())], home.here, variables)
    terminal.wait_for("UI: ")
    tree = psutil.Process(terminal.process.pid).children(recursive=True)
    assert len(tree) >= 3
    terminal.close()
    assert terminal.process.wait(HANGS) == 0
    assert psutil.wait_procs(tree, timeout=HANGS)[1] == []


def test_a_killed_command_leaves_nothing_running(home):
    with training(home, until="scrape: started") as run:
        run.process.kill()
        run.rest()
