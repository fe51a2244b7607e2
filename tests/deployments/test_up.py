"""`wikistyle up` where it can't; tests/e2e has the rest."""

import os
import socket
import subprocess
import sys

from flows.common.settings import ROOT


def test_a_taken_port_is_named_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", "from flows.cli import main; main()", "up", "--port", port],
            cwd=ROOT, env=os.environ | {"WIKISTYLE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"port {port} is taken" in line
    assert "--port" in line
    assert not (tmp_path / "prefect").exists()


def test_a_password_that_is_not_to_be_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = {"WIKISTYLE_HOME": str(tmp_path), "PREFECT_API_AUTH_STRING": "me:mine"}
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "up", "--port", port, "--no-password"],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "--no-password" in line
    assert "mine" not in line
    assert list(tmp_path.iterdir()) == []
