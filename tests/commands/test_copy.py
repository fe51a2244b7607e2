"""Wikistyle installed as a copy (`pip install .`), not from a checkout: it has all it reads, and `up` says why not."""

import subprocess
import sys
import zipfile

import pytest

from tests.commands.installed import environment
from tests.e2e.stack import clone_to

PACKAGES = ("deployments/", "flows/", "samples/", "tasks/")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The unpacked wheel of this checkout's files, and those files."""
    folder = tmp_path_factory.mktemp("copy")
    clone_to(folder / "clone")
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), "."]
    subprocess.run([sys.executable, "-m", *build], cwd=folder / "clone", check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder


def test_a_copy_has_every_file_of_the_packages(copy):
    def files(root):
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return {name for name in found if name.startswith(PACKAGES)}

    written = files(copy / "clone")
    assert len(written) > 500
    assert written - files(copy / "site") == set()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["profiles"], 0, "sample: the bundled sample wiki"),
        (["up"], 1, "wikistyle is installed as a copy, without prefect.yaml; `wikistyle up` runs from a checkout"),
    ],
)
def test_a_copy_runs_but_brings_nothing_up(copy, arguments, status, says):
    elsewhere = copy / f"elsewhere-{arguments[0]}"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments], cwd=elsewhere,
        env=environment(copy, PYTHONPATH=str(copy / "site")), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert says in done.stdout + done.stderr
    assert len(done.stdout + done.stderr) < 400
    assert list(elsewhere.iterdir()) == []
