"""Files and folders that appear whole or not at all, and the names of what is made of prompts.

Everything that wikistyle puts in the place of something older goes through `replace_file` or `replace_folder`: what is
there is never half written, and nothing is deleted that wikistyle did not write.
"""

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from tasks.common.errors import WikistyleError

PARTIAL = ".wikistyle-partial"  # the end of every temporary name: what bears it is ours, and nobody's work
ASIDE = ".wikistyle-old"  # of a folder while the new one takes its place
STALE_SECONDS = 3600.0  # since the last byte of a temporary file was written; whoever wrote it is gone
MOST_WORDS = 60  # letters of a prompt in a file's name


class FolderError(WikistyleError):
    """A folder that can't be written to, or holds what wikistyle did not write; one line with the remedy."""


def replace_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a temporary file beside `path`, fsync it, rename it: a reader sees the old file or the new.

    Raises what `fill` raises, OSError when it can't be written; then the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in _stale(path):
        if not stale.is_dir():
            stale.unlink(missing_ok=True)
    partial = _beside(path, PARTIAL)
    try:
        fill(partial)
        put_in_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def put_in_place(partial: Path, path: Path) -> Path:
    """fsync a finished file and give it its name in the same folder; returns `path`."""
    _sync(partial)
    return partial.rename(path)


def write_atomically(path: Path, data: bytes) -> None:
    """`replace_file` with these bytes."""
    replace_file(path, lambda partial: partial.write_bytes(data))


def replace_folder(
    folder: Path, fill: Callable[[Path], object], ours: Callable[[Path], Collection[str]] = lambda folder: ()
) -> None:
    """Let `fill` write into a new folder beside `folder`, then rename it: nobody sees half of it.

    `folder` may be new, empty, or hold nothing but files that `ours` names (paths relative to it); those go.
    Raises FolderError before anything is written when something else is there; see `check_folder`.
    """
    folder = check_folder(folder, ours)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in _stale(folder):
        shutil.rmtree(stale, ignore_errors=True)
    partial, old = _beside(folder, PARTIAL), _beside(folder, ASIDE)
    partial.mkdir()
    try:
        fill(partial)
        for path in partial.rglob("*"):
            if path.is_file():
                _sync(path)
        check_folder(folder, ours)  # filling may have taken a while
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if old.exists():
        _remove(old, ours(old))


def check_folder(folder: Path, ours: Callable[[Path], Collection[str]] = lambda folder: ()) -> Path:
    """The folder that `replace_folder` would replace, links followed.

    Raises FolderError when it may not: it is a file, the current folder or one around it, a mount, can't be written, or
    holds a file that `ours` doesn't name.
    """
    real = Path(os.path.realpath(folder))
    if Path.cwd().is_relative_to(real):
        raise FolderError(f"{folder} holds the current folder; name a new folder")
    if os.path.lexists(real) and not real.is_dir():
        raise FolderError(f"{folder} is not a folder; name a new or empty one")
    if os.path.ismount(real):
        raise FolderError(f"{folder} is a mount point, which can't be replaced; name a folder within it")
    around = next(parent for parent in real.parents if os.path.lexists(parent))
    if not around.is_dir() or not os.access(around, os.W_OK | os.X_OK):
        raise FolderError(f"{folder} can't be written: {around} is closed to us; name a folder you can write to")
    if real.is_dir() and (foreign := _first_foreign(real, ours)):
        raise FolderError(f"{folder} holds {foreign}, which wikistyle did not write; name a new or empty folder")
    return real


def _first_foreign(folder: Path, ours: Callable[[Path], Collection[str]]) -> str | None:
    """A file or link in `folder` that `ours` doesn't name; its own folders may be empty of files."""
    there = _files_of(folder)
    known = set(ours(folder)) if there else set[str]()
    return next((path for path in there if path not in known), None)


def _files_of(folder: Path) -> list[str]:
    """Everything but plain folders, relative to `folder`; links are not followed."""
    found: list[str] = []
    for at, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        found += [os.path.relpath(os.path.join(at, name), folder) for name in (*files, *links)]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise FolderError(f"{error.filename} can't be read ({error.strerror}); name a new or empty folder")


def _remove(folder: Path, listed: Collection[str]) -> None:
    """Delete the listed files, then the folders that are empty: what came in the meantime stays where it is."""
    for path in set(_files_of(folder)) & set(listed):
        (folder / path).unlink(missing_ok=True)
    for at, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(at):
            os.rmdir(at)


def _head(path: Path) -> str:
    """How the temporary names of `path` begin; of a long name a part, because a file system allows 255 bytes."""
    name = os.fsencode(path.name)
    return f".{name[:80].decode(errors='ignore')}.{hashlib.sha256(name).hexdigest()[:8]}."


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{_head(path)}{uuid.uuid4().hex[:12]}{ending}")


def _stale(path: Path) -> list[Path]:
    """What killed writers of `path` left: nothing was written to it for an hour."""
    head = _head(path)
    found: list[Path] = []
    for entry in os.scandir(path.parent):
        if entry.name.startswith(head) and entry.name.endswith(PARTIAL):
            with suppress(FileNotFoundError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                    found.append(Path(entry.path))
    return found


def _sync(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def file_name(prompt: str) -> str:
    """A name for a prompt's files: its words, and digits of its hash where the words alone do not tell it apart.

    Letters a-z in lower case, digits and hyphens: names that differ do so on every file system.
    """
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:MOST_WORDS].strip("-")
    if words.replace("-", " ") == prompt:
        return words
    return f"{words}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}".strip("-")
