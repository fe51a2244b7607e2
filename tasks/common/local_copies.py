"""Files on this machine of objects that a store keeps elsewhere: as many as there is room for, the last used ones."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from tasks.common.environment import environment
from tasks.common.files import replace_file

IN_USE_SECONDS = 60.0  # what was asked for so lately may not be opened yet


def local_copy(key: str, open_object: Callable[[], IO[bytes]]) -> Path:
    """A local file with the bytes of `key` (their sha256, hex), fetched in pieces if it isn't there or is damaged.

    Copies lie in `WIKISTYLE_HOME/cache`; the least recently used go while they are over `WIKISTYLE_CACHE_GIB` together.
    Raises ValueError when the object's bytes have another hash, and what `open_object` raises.
    """
    path = environment().home / "cache" / key[:2] / key
    if not (path.exists() and _sha256(path) == key):
        replace_file(path, lambda partial: _fetch(key, open_object, partial))
    os.utime(path)
    _drop_oldest(path.parent.parent, keep=path)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(key: str, open_object: Callable[[], IO[bytes]], partial: Path) -> None:
    with open_object() as source, partial.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 22)
    if _sha256(partial) != key:
        raise ValueError(f"{key} is damaged")


def _drop_oldest(folder: Path, keep: Path) -> None:
    limit = environment().cache_gib * 2**30
    copies: list[tuple[float, int, Path]] = []
    for path in folder.glob("[0-9a-f][0-9a-f]/*"):
        with suppress(FileNotFoundError):  # another process drops copies, too
            found = path.stat()
            copies.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in copies)
    for used, size, path in sorted(copies):
        if total <= limit or time.time() - used < IN_USE_SECONDS:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
