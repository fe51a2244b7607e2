"""What a stage did with each item, kept in the store's root, so that a run does exactly what is missing.

A memory is a set of (item, result) records that only grows: it has no order, and the same record twice is one. So two
runs cannot hurt each other, and merging files loses nothing. It lies in segments of JSON lines under
`memory/<namespace>/`, each written by one writer: `open-…` while it writes, renamed when it is done. In a folder every
line is written as its item is finished; an object store has no append, so there the segment is written anew, at most
once a second. When segments become many, they are merged into one. A line carries a hash of itself; one that is torn or
damaged is passed over, and its item is done again.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from upath import UPath

from tasks.common.files import write_atomically
from tasks.common.filesystem import file_system
from tasks.common.store import Store

R = TypeVar("R", bound=BaseModel)
logger = logging.getLogger(__name__)
OPEN, ENDING = "open-", ".lines"
MOST_SEGMENTS = 16
ABANDONED = timedelta(days=1)  # an open segment that nobody wrote to for so long was left by a killed writer
FLUSH_SECONDS = 1.0  # an object store is written to at most this often
OBJECT_BYTES = 1 << 18  # then a new segment object begins: each flush writes the whole object


class Memory(Generic[R]):
    """The records of one namespace, results being of `kind`."""

    def __init__(self, store: Store, namespace: str, kind: type[R]):
        self.folder: UPath = store.root / "memory" / namespace
        self.is_local, self.kind = store.is_local, kind

    def load(self) -> dict[str, list[R]]:
        """Every item's results: nearly always one; more, in a fixed order, when runs differed about it."""
        lines = set[bytes]()
        for _, data in self._read_all():
            lines.update(_sound(data))
        found: dict[str, list[R]] = {}
        for line in sorted(lines):
            item, result = json.loads(line.rpartition(b" ")[0])
            try:
                known = self.kind.model_validate(result)
            except ValidationError:  # written by another version: not known to this one
                continue
            found.setdefault(item, []).append(known)
        return found

    @contextlib.contextmanager
    def writing(self) -> Generator["Writer"]:
        """A writer of new records. What was added stays, whatever ends the process."""
        segment: Segment = _FileSegment(self.folder) if self.is_local else _ObjectSegment(self.folder)
        try:
            yield Writer(segment)
        finally:
            segment.close()

    def tidy(self, now: datetime | None = None) -> None:
        """Merge the segments when there are more than 16; those that may still be written to stay.

        The merged one is there before the others go, and it is named by its content: two merges at once do no harm.
        """
        names = self._names()
        if len(names) <= MOST_SEGMENTS:
            return
        now = now or datetime.now(UTC)
        mine = [name for name in names if not name.startswith(OPEN) or self._abandoned(name, now)]
        read = dict(self._read(mine))
        merged = b"".join(sorted({line for data in read.values() for line in _sound(data)}))
        name = f"{hashlib.sha256(merged).hexdigest()[:32]}{ENDING}"
        if merged:
            _write(self.folder / name, merged, self.is_local)
        for old in read.keys() - {name}:
            with contextlib.suppress(FileNotFoundError):
                (self.folder / old).unlink()

    def _abandoned(self, name: str, now: datetime) -> bool:
        try:
            modified = file_system(self.folder).modified((self.folder / name).path)
        except FileNotFoundError:
            return False
        return now - modified.astimezone(UTC) > ABANDONED

    def _read_all(self) -> Iterator[tuple[str, bytes]]:
        """Every segment; when one goes meanwhile, what it was renamed to or merged into is there at the next look."""
        seen = set[str]()
        for _ in range(10):
            fresh = [name for name in self._names() if name not in seen]
            if not fresh:
                return
            for name, data in self._read(fresh):
                seen.add(name)
                yield name, data

    def _read(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                # In one request: an open segment may be written anew between two, which s3fs then calls expired.
                yield name, file_system(self.folder).cat_file((self.folder / name).path)

    def _names(self) -> list[str]:
        if self.is_local:
            folder = Path(str(self.folder))
            return sorted(path.name for path in folder.glob(f"*{ENDING}")) if folder.is_dir() else []
        files = file_system(self.folder)
        files.invalidate_cache()  # others write here, too
        return sorted(name for at in files.find(self.folder.path) if (name := at.rsplit("/", 1)[-1]))


class Writer:
    """Adds records to one segment."""

    def __init__(self, segment: "Segment"):
        self._segment = segment

    def add(self, item: str, result: BaseModel) -> None:
        """Remember what became of `item`."""
        record = json.dumps([item, result.model_dump(mode="json")]).encode()
        self._segment.append(record + b" " + _check(record) + b"\n")


def _check(record: bytes) -> bytes:
    return hashlib.sha256(record).hexdigest()[:16].encode()


def _sound(data: bytes) -> list[bytes]:
    """The lines that say what was written, each with its end."""
    sound: list[bytes] = []
    damaged = 0
    for line in data.splitlines(keepends=True):
        record, _, check = line.rpartition(b" ")
        if check == _check(record) + b"\n":
            sound.append(line)
        else:
            damaged += line.endswith(b"\n")  # a torn last line is how a killed writer leaves it
    if damaged:
        logger.warning("%d damaged records of earlier work are passed over; these items are done again", damaged)
    return sound


class Segment(Protocol):
    """Where one writer's lines go."""

    def append(self, line: bytes) -> None: ...
    def close(self) -> None: ...


class _FileSegment:
    """A file of this writer's own; every line is with the system before the next item is begun."""

    def __init__(self, folder: UPath):
        folder.mkdir(parents=True, exist_ok=True)
        self._name = f"{uuid.uuid4().hex}{ENDING}"
        self._path = Path(str(folder)) / f"{OPEN}{self._name}"
        self._file = self._path.open("xb", buffering=0)

    def append(self, line: bytes) -> None:
        self._file.write(line)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        empty = self._file.tell() == 0
        self._file.close()
        with contextlib.suppress(FileNotFoundError):  # taken for abandoned: its lines were merged
            self._path.unlink() if empty else self._path.rename(self._path.with_name(self._name))


class _ObjectSegment:
    """Objects of this writer's own. A thread writes what is new every second, also while an item takes long."""

    def __init__(self, folder: UPath):
        self._folder, self._lines, self._lock = folder, list[bytes](), threading.Lock()
        self._name, self._dirty, self._failed = f"{uuid.uuid4().hex}{ENDING}", False, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._flush_often, daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> None:
        if self._failed:
            raise self._failed
        with self._lock:
            self._lines.append(line)
            self._dirty = True
            if sum(map(len, self._lines)) > OBJECT_BYTES:
                self._finish()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._finish()

    def _finish(self) -> None:
        """The object under its lasting name; what comes then goes into another."""
        if self._lines:
            _write(self._folder / self._name, b"".join(self._lines), local=False)
            with contextlib.suppress(FileNotFoundError):
                (self._folder / f"{OPEN}{self._name}").unlink()
        self._lines, self._dirty, self._name = [], False, f"{uuid.uuid4().hex}{ENDING}"

    def _flush_often(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            with self._lock:
                if not self._dirty:
                    continue
                try:
                    _write(self._folder / f"{OPEN}{self._name}", b"".join(self._lines), local=False)
                    self._dirty = False
                except Exception as error:  # told to whoever adds the next record, or to nobody if closing succeeds
                    self._failed = error


def _write(path: UPath, data: bytes, local: bool) -> None:
    if local:
        write_atomically(Path(str(path)), data)
    else:
        path.write_bytes(data)
