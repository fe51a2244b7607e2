"""Who uses a store now: a small file of each process in it, so that nothing is collected under a run's feet.

A process writes its lease before it first uses the store, and anew every minute until it ends; one that was killed is
believed to live on for ten minutes. Whoever collects garbage writes a notice first and looks for leases then; whoever
takes a lease writes it first and looks for a notice then: one of the two sees the other, on any storage. Times are the
storage's own, because the clocks of two machines differ.
"""

import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from upath import UPath

from tasks.common.files import write_atomically
from tasks.common.filesystem import file_system

FOLDER = "leases"
NOTICE = "collecting.json"
FRESH_SECONDS, BEAT_SECONDS = 600.0, 60.0


class _Held:
    """What this process keeps fresh."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.leases: dict[str, UPath] = {}  # by the store's root
        self.notices: list[UPath] = []
        self.beating = False


_held = _Held()


def _forked() -> None:
    """A forked process has neither the thread nor a lease of its own."""
    global _held  # noqa: PLW0603
    _held = _Held()


os.register_at_fork(after_in_child=_forked)


def hold(root: UPath) -> None:
    """Say that this process uses the store until it ends. Waits while garbage is collected there.

    Who may only read the store goes without.
    """
    if str(root) in _held.leases:
        return
    with _held.lock:
        if str(root) in _held.leases:
            return
        if not _held.beating:
            _held.beating = True
            threading.Thread(target=_beat, name="store leases", daemon=True).start()
            # Before the threads' own end, without which s3fs can't connect any more; atexit would be too late.
            threading._register_atexit(release)  # type: ignore[attr-defined]
        lease = root / FOLDER / f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        with suppress(Exception):
            _write(lease)
        _held.leases[str(root)] = lease
    notice, told = root / FOLDER / NOTICE, False
    if notice in _held.notices:
        return
    while (at := _written(notice)) and (_now(root) - at).total_seconds() < FRESH_SECONDS:
        if not told:
            print(f"waiting while garbage is collected from store {root}", file=sys.stderr, flush=True)
        told = True
        time.sleep(0.5)


def others(root: UPath) -> list[str]:
    """Who else uses the store: host, process and how long ago it was last heard of."""
    hold(root)
    now = _now(root)
    found: list[str] = []
    for lease in _leases(root):
        at = _written(lease)
        if at is None or lease.name == _held.leases[str(root)].name:
            continue
        ago = max(0, int((now - at).total_seconds()))
        if ago < FRESH_SECONDS:
            host, pid, _ = lease.name.rsplit("-", 2)
            found.append(f"process {pid} on {host}, heard of {ago} s ago")
    return found


@contextmanager
def collecting(root: UPath) -> Generator[None]:
    """Give notice that garbage is collected: who comes now waits."""
    hold(root)
    notice = root / FOLDER / NOTICE
    with _held.lock:
        _held.notices.append(notice)
        _write(notice)
    try:
        yield
    finally:
        with _held.lock:
            _held.notices.remove(notice)
            notice.unlink()


def drop_expired(root: UPath) -> None:
    """Delete the leases of processes that were killed."""
    now = _now(root)
    for lease in _leases(root):
        at = _written(lease)
        if at and (now - at).total_seconds() >= FRESH_SECONDS:
            with suppress(FileNotFoundError):
                lease.unlink()


def _leases(root: UPath) -> list[UPath]:
    folder = root / FOLDER
    file_system(folder).invalidate_cache()
    if not folder.exists():
        return []
    return [path for path in folder.iterdir() if path.name.endswith(".json") and path.name != NOTICE]


def _written(path: UPath) -> datetime | None:
    """When it was last written, by the storage's clock; None when it is gone or can't be asked for."""
    files = file_system(path)
    files.invalidate_cache()
    try:
        return files.modified(path.path)
    except OSError:
        return None


def _now(root: UPath) -> datetime:
    """The time by the storage's clock."""
    lease = _held.leases[str(root)]
    with suppress(Exception):
        _write(lease)
    return _written(lease) or datetime.now().astimezone()


def _write(path: UPath) -> None:
    data = json.dumps({"host": platform.node(), "pid": os.getpid()}).encode()
    if path.protocol in ("", "file", "local"):
        write_atomically(Path(str(path)), data)
    else:
        path.write_bytes(data)


def _beat() -> None:
    mine = _held
    while True:
        time.sleep(BEAT_SECONDS)
        with mine.lock:
            leases = list(mine.leases.values())
            for notice in mine.notices:  # locked: one that was taken back must not come again
                _refresh(notice)
        for lease in leases:  # not locked: a store that is away would keep those of another one waiting
            _refresh(lease)


def _refresh(path: UPath) -> None:
    with suppress(Exception):
        if path.parent.parent.exists():  # not where a store was deleted since
            _write(path)


def release() -> None:
    """Say that this process uses no store any more, unless it does again."""
    with _held.lock:
        for path in _held.leases.values():
            with suppress(Exception):
                path.unlink()
        _held.leases.clear()
