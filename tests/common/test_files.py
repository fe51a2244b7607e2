"""Files and folders are replaced whole or not at all, and what killed writers leave is cleared away."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.common.files import PARTIAL, FolderError, replace_file, replace_folder, write_atomically

KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.common.files import replace_file, replace_folder

def fill(partial):
    target = partial / "half" if partial.is_dir() else partial
    target.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

{"file": replace_file, "folder": replace_folder}[sys.argv[1]](Path(sys.argv[2]), fill)
"""


def killed(kind: str, path: Path) -> list[Path]:
    done = subprocess.run([sys.executable, "-c", KILLED, kind, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    return [p for p in path.parent.iterdir() if p.name != path.name]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def fill(partial: Path) -> None:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"

    replace_file(path, fill)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "state", b"old")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        replace_file(tmp_path / "state", fail)
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "folder", lambda partial: (partial / "no" / "folder").write_bytes(b""))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("state", b"old")]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_with_a_later_write_of_the_same(tmp_path, kind):
    path = tmp_path / ("a name with [brackets] and *" + "ü" * 100)
    (left,) = killed(kind, path)
    assert left.name.startswith(".")
    assert left.name.endswith(PARTIAL)
    assert not path.exists()
    replace = {
        "file": lambda: write_atomically(path, b"whole"),
        "folder": lambda: replace_folder(path, lambda partial: (partial / "whole").touch(), lambda folder: ["whole"]),
    }[kind]
    replace()
    assert left.exists(), "it may be being written just now"
    os.utime(left, (0, time.time() - 7200))
    replace()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_while_the_folder_is_filled_is_kept(tmp_path):
    replace_folder(tmp_path / "out", lambda partial: (partial / "ours").touch())

    def fill(partial: Path) -> None:
        (tmp_path / "out" / "mine").write_text("mine")

    with pytest.raises(FolderError, match="holds mine"):
        replace_folder(tmp_path / "out", fill, lambda folder: ["ours"])
    assert {p.name for p in tmp_path.rglob("*")} == {"out", "ours", "mine"}


def test_a_listing_names_nothing_outside_its_folder(tmp_path):
    (tmp_path / "mine").write_text("mine")
    replace_folder(tmp_path / "out", lambda partial: (partial / "ours").touch())
    replace_folder(tmp_path / "out", lambda partial: None, lambda folder: ["ours", "../mine", str(tmp_path / "mine")])
    assert (tmp_path / "mine").read_text() == "mine"
    assert list((tmp_path / "out").iterdir()) == []
