"""What refers to a store's objects: runs that are kept, and what the parts last handed on. Kept in the store itself,
because the machines that share it have folders of their own."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError
from upath import UPath

from tasks.common.filesystem import file_system
from tasks.common.records import Record
from tasks.common.store import Store, StoreError

KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
FOLDER = "references"


class Reference(Record):
    """Objects (`keys`) that the file at `path` on `host` stands for: they are needed as long as it exists there."""

    host: str
    path: str
    keys: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether it is of a file on this machine."""
        return self.host == platform.node()

    @property
    def is_gone(self) -> bool:
        """Whether the file was deleted; of another machine's it can't be known."""
        return self.is_ours and not os.path.lexists(self.path)


def keys_in(text: str) -> set[str]:
    """Every key that a record, as JSON, names."""
    return set(KEY.findall(text))


def refer(path: Path, keys: Iterable[str], store: Store) -> None:
    """Note that the file at `path` needs these objects, in place of what it needed before."""
    if not (keys := set(keys)):
        return
    record = Reference(host=platform.node(), path=os.path.abspath(path), keys=tuple(sorted(keys)))
    name = hashlib.sha256(f"{record.host}:{record.path}".encode()).hexdigest()[:32]
    store.write(store.root / FOLDER / f"{name}.json", record.model_dump_json().encode())


def references(store: Store) -> dict[UPath, Reference]:
    """All notes. One that can't be read raises StoreError: what it refers to can't be known."""
    folder = store.root / FOLDER
    found: dict[UPath, Reference] = {}
    file_system(folder).invalidate_cache()
    for path in folder.iterdir() if folder.exists() else ():
        if path.suffix == ".json" and not path.name.startswith("."):
            try:
                found[path] = Reference.model_validate_json(path.read_bytes())
            except ValidationError:
                raise StoreError(f"{path} can't be read, so what it refers to isn't known; delete it or wait") from None
    return found


def keep_list(keys: Iterable[str], store: Store) -> str:
    """Put a list of keys into the store; returns its own key."""
    return store.put(json.dumps(sorted(set(keys))).encode())


def needed_by(record: BaseModel | None, store: Store) -> set[str]:
    """Every key that a record names, and those of the list that it names as its `materials`."""
    if record is None:
        return set()
    keys = keys_in(record.model_dump_json())
    materials = getattr(record, "materials", None)
    if materials and store.has(materials):
        keys |= set(json.loads(store.read(materials)))
    return keys
