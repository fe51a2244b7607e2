"""The content-addressed store: bytes live under their sha256, in a folder or behind any fsspec address.

`WIKISTYLE_STORE` names the root (default `.wikistyle/store`; `s3://bucket/prefix` when CPU and GPU machines differ).
Nothing is ever overwritten, so two runs cannot hurt each other.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from upath import UPath

from tasks.common.environment import environment
from tasks.common.errors import WikistyleError
from tasks.common.fields import SHA256
from tasks.common.files import replace_file, write_atomically
from tasks.common.filesystem import file_system
from tasks.common.garbage.lease import hold
from tasks.common.local_copies import local_copy

FEW_KEYS = 200  # are asked for one by one; a listing of an object store brings 1000 a request, wanted or not


class StoreError(WikistyleError):
    """The store cannot be written, or what it holds is missing or damaged; the message names the key and a remedy."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """`put` bytes or a file and get a key; `read` or `path` a key and get the bytes back, verified."""

    def __init__(self, root: str | None = None):
        self.root = UPath(root or environment().store)
        self.is_local = self.root.protocol in ("", "file", "local")

    def _at(self, key: str) -> UPath:
        if not SHA256.fullmatch(key):  # what a file or a wiki gave as a key must not become another path
            raise StoreError(f"{key[:80]!r} is no key of the store {self.root}; run the stage that made it again")
        hold(self.root)
        return self.root / "objects" / key[:2] / key

    def check_writable(self) -> None:
        """Raise StoreError, in one line, unless something new can be written here now, read back and deleted."""
        data = b"wikistyle can write here: " + os.urandom(16).hex().encode()
        try:
            key = self.put(data)
            try:
                self.read(key)
            finally:
                self._at(key).unlink()
        except Exception as error:
            raise StoreError(
                f"store {self.root} can't be written ({type(error).__name__}: {error}); "
                "set WIKISTYLE_STORE to a folder or s3:// address you can write to"
            ) from error

    def has(self, key: str) -> bool:
        return self._at(key).exists()

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are not here. Many keys of an object store are looked up in one listing."""
        wanted = set(keys)
        if self.is_local:
            objects = str(self.root / "objects")
            return {key for key in wanted if not os.path.exists(f"{objects}/{key[:2]}/{key}")}
        if len(wanted) <= FEW_KEYS:
            with ThreadPoolExecutor(16) as threads:
                return {key for key, here in zip(wanted, threads.map(self.has, wanted), strict=True) if not here}
        files = file_system(self.root)
        files.invalidate_cache()
        here = {name.rsplit("/", 1)[-1] for name in files.find((self.root / "objects").path)}
        files.invalidate_cache()  # a listing that is kept would hide what other machines put here later
        return wanted - here

    def put(self, data: bytes) -> str:
        """Keep the bytes; returns their key. Putting the same bytes again does nothing."""
        key = hashlib.sha256(data).hexdigest()
        if not self.has(key):
            self.write(self._at(key), data)
        return key

    def write(self, path: UPath, data: bytes) -> None:
        """Put bytes at a path within the store's root: whole, or not at all."""
        if self.is_local:
            write_atomically(Path(str(path)), data)
        else:  # object stores put whole objects atomically
            path.write_bytes(data)

    def put_file(self, path: Path) -> str:
        """Keep a file without reading it into memory at once; returns its key."""
        key = sha256_of(path)
        if self.has(key):
            return key
        target = self._at(key)
        if self.is_local:
            replace_file(Path(str(target)), lambda partial: shutil.copyfile(path, partial))
        else:
            with path.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 22)
        return key

    def read(self, key: str) -> bytes:
        """The bytes of a key. Raises StoreError naming the key when they are missing or damaged."""
        try:
            data = self._at(key).read_bytes()
        except FileNotFoundError:
            raise self._missing(key) from None
        if hashlib.sha256(data).hexdigest() != key:
            raise self._damaged(key)
        return data

    def path(self, key: str) -> Path:
        """A local file with the bytes of a key, for tools that need one; verified. Do not write to it.

        Of a store elsewhere it is a copy: open it soon, it goes when others need its room.
        """
        at = self._at(key)
        if not self.is_local:
            try:
                return local_copy(key, lambda: at.open("rb"))
            except FileNotFoundError:
                raise self._missing(key) from None
            except ValueError:
                raise self._damaged(key) from None
        local = Path(str(at))
        if not local.exists():
            raise self._missing(key)
        if sha256_of(local) != key:
            raise self._damaged(key)
        return local

    def _missing(self, key: str) -> StoreError:
        return StoreError(f"{key} is not in the store {self.root}; run the stage that made it again")

    def _damaged(self, key: str) -> StoreError:
        return StoreError(f"{key} in the store {self.root} is damaged; delete {self._at(key)} and run again")
