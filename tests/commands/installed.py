"""The installed commands as a newcomer has them: another folder, a home of its own, nothing set in the environment."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

from flows.common.settings import ROOT

BIN = Path(sys.executable).parent  # not resolved: a virtual environment's python is a link
SCRIPT = BIN / "wikistyle"
TINY = [
    "--set scrape.max_images=12", "--set caption.num_beams=1", "--set finetune.epochs=1",
    "--set finetune.snapshot_every=1", "--set finetune.decoder_epochs=1", "--set finetune.held_out=0.2",
    "--set sample.seeds=[0]", "--set sample.num_inference_steps=2", "--set sample.dial_frames=3",
]  # fmt: skip


def environment(home: Path, **variables: str) -> dict[str, str]:
    """What a login shell has, with `home` as HOME; no network for models, one thread."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    own = {"HOME": str(home), "PATH": f"{BIN}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return kept | own | variables


def from_anywhere(command: str) -> str:
    """A command that is written for the checkout's root, for a shell that is elsewhere."""
    return re.sub(
        r"(?<!\S)(\.venv/bin|deployments)/", lambda m: f"{BIN if m[1] == '.venv/bin' else ROOT / m[1]}/", command
    )


def shell(command: str, folder: Path, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as typed into a shell in `folder`; its home is beside it."""
    home = folder.with_name(f"{folder.name}-home")
    for made in (folder, home):
        made.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        ["bash", "-c", from_anywhere(command)], cwd=folder, env=environment(home, **variables),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


class Terminal:
    """A terminal of its own with a command in it."""

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str]):
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        # The first terminal that the head of a session opens becomes the session's own.
        opened = ["bash", "-c", 'tty=$1; shift; exec "$@" <"$tty" >"$tty" 2>&1', "bash", os.ttyname(slave), *command]
        self.process = subprocess.Popen(opened, cwd=folder, env=variables, start_new_session=True)
        self._slave = slave

    def wait_for(self, words: str) -> None:
        """Read until it shows the words."""
        shown = b""
        while words.encode() not in shown:
            ready, _, _ = select.select([self._master], [], [], 1)
            if ready:
                shown += os.read(self._master, 4096)
            elif self.process.poll() is not None:
                raise AssertionError(f"it ended without {words!r}: {shown.decode(errors='replace')}")

    def close(self) -> None:
        """As closing its window does: the command gets SIGHUP, and can write nothing any more."""
        os.close(self._slave)
        os.close(self._master)
