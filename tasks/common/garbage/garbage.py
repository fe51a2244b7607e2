"""What a store holds that nobody refers to: objects, and what killed writers left. Nothing else there is touched."""

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upath import UPath

from tasks.common.files import PARTIAL
from tasks.common.filesystem import file_system
from tasks.common.store import Store

OBJECT = re.compile(r"[0-9a-f]{64}")
# Names of temporary files: `tasks.common.files`'s, and that of an object's key with an ending.
TEMPORARY = re.compile(rf"\..+{re.escape(PARTIAL)}|\.[0-9a-f]{{64}}\.\w+")


@dataclass(frozen=True)
class Found:
    """A file: its path within the file system, its size in bytes and when it was last written."""

    path: str
    bytes: int
    written: datetime


@dataclass
class Garbage:
    """What may go (`objects`, `temporaries`), and what stays and why: `kept` is referred to, `young` may be soon."""

    objects: list[Found] = field(default_factory=list[Found])
    temporaries: list[Found] = field(default_factory=list[Found])
    kept: list[Found] = field(default_factory=list[Found])
    young: list[Found] = field(default_factory=list[Found])


def find_garbage(store: Store, needed: set[str], before: datetime) -> Garbage:
    """Sort the store's objects; garbage is what isn't `needed` (keys) and was last written `before` then."""
    garbage = Garbage()
    for found in _files(store.root / "objects", store.is_local):
        name, folder = found.path.rsplit("/", 1)[-1], found.path.rsplit("/", 2)[-2]
        if TEMPORARY.fullmatch(name):
            (garbage.temporaries if found.written < before else garbage.young).append(found)
        elif not OBJECT.fullmatch(name) or folder != name[:2]:
            continue  # not ours
        elif name in needed:
            garbage.kept.append(found)
        else:
            (garbage.objects if found.written < before else garbage.young).append(found)
    for area in ("fetched", "references", "leases"):
        for found in _files(store.root / area, store.is_local):
            if TEMPORARY.fullmatch(found.path.rsplit("/", 1)[-1]) and found.written < before:
                garbage.temporaries.append(found)
    return garbage


def find_temporaries(folder: Path, before: datetime) -> list[Found]:
    """What killed writers left in a folder of this machine: files under temporary names, written `before` then."""
    found = _files(UPath(folder), is_local=True) if folder.is_dir() else []
    return [f for f in found if f.path.endswith(PARTIAL) and f.written < before]


def delete(found: list[Found], root: UPath) -> None:
    """Delete files of the store or folder at `root`; what is gone already is no matter."""
    for one in found:
        try:
            file_system(root).rm_file(one.path)
        except FileNotFoundError:
            continue


def _files(folder: UPath, is_local: bool) -> list[Found]:
    """Every file below a folder. Links are no files of ours, and nothing behind them is."""
    if is_local:
        found: list[Found] = []
        for at, _, names in os.walk(str(folder)):
            for entry in (Path(at, name) for name in names):
                if not entry.is_symlink() and entry.exists():
                    status = entry.stat()
                    found.append(Found(str(entry), status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
        return found
    files = file_system(folder)
    files.invalidate_cache()
    infos = files.find(folder.path, detail=True)
    return [Found(path, info["size"] or 0, _written(info)) for path, info in infos.items()]


def _written(info: dict[str, Any]) -> datetime:
    """S3 says LastModified, other file systems mtime or created."""
    at = info.get("LastModified") or info.get("mtime") or info["created"]
    return at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
