"""The content-addressed store: bytes live under their sha256, in a folder or behind any fsspec address.

`WIKISTYLE_STORE` names the root (default `.wikistyle/store`; `s3://bucket/prefix` when CPU and GPU machines differ).
Nothing is ever overwritten, so two runs cannot hurt each other.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from upath import UPath

FEW_KEYS = 200  # are asked for one by one; a listing of an object store brings 1000 a request, wanted or not


class StoreError(RuntimeError):
    """The store cannot be written, or what it holds is missing or damaged; the message names the key and a remedy."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary name beside `path`, fsync, rename: a reader sees the old file or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.rename(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """`put` bytes or a file and get a key; `read` or `path` a key and get the bytes back, verified."""

    def __init__(self, root: str | None = None):
        self.root = UPath(root or os.environ.get("WIKISTYLE_STORE", ".wikistyle/store"))
        self.is_local = self.root.protocol in ("", "file", "local")

    def _at(self, key: str) -> UPath:
        return self.root / "objects" / key[:2] / key

    def check_writable(self) -> None:
        """Raise StoreError, in one line, when nothing can be written here."""
        try:
            self.put(b"wikistyle can write here")
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
        files = self.root.fs
        files.invalidate_cache()
        here = {name.rsplit("/", 1)[-1] for name in files.find((self.root / "objects").path)}
        files.invalidate_cache()  # a listing that is kept would hide what other machines put here later
        return wanted - here

    def put(self, data: bytes) -> str:
        """Keep the bytes; returns their key. Putting the same bytes again does nothing."""
        key = hashlib.sha256(data).hexdigest()
        if not self.has(key):
            if self.is_local:
                write_atomically(Path(str(self._at(key))), data)
            else:  # object stores put whole objects atomically
                self._at(key).write_bytes(data)
        return key

    def put_file(self, path: Path) -> str:
        """Keep a file without reading it into memory at once; returns its key."""
        key = sha256_of(path)
        if self.has(key):
            return key
        target = self._at(key)
        if self.is_local:
            local = Path(str(target))
            local.parent.mkdir(parents=True, exist_ok=True)
            partial = local.with_name(f".{key}.{os.getpid()}")
            shutil.copyfile(path, partial)
            with partial.open("rb") as copied:
                os.fsync(copied.fileno())
            partial.rename(local)
        else:
            with path.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 22)
        return key

    def read(self, key: str) -> bytes:
        """The bytes of a key. Raises StoreError naming the key when they are missing or damaged."""
        try:
            data = self._at(key).read_bytes()
        except FileNotFoundError:
            raise StoreError(f"{key} is not in the store {self.root}; run the stage that made it again") from None
        if hashlib.sha256(data).hexdigest() != key:
            raise StoreError(f"{key} in the store {self.root} is damaged; delete {self._at(key)} and run again")
        return data

    def path(self, key: str) -> Path:
        """A local file with the bytes of a key, for tools that need one; verified. Do not write to it."""
        at = self._at(key)
        if not self.is_local:
            local = Path(tempfile.gettempdir()) / f"wikistyle-{os.getuid()}" / key
            if not local.exists():
                write_atomically(local, self.read(key))
            return local
        local = Path(str(at))
        if not local.exists():
            raise StoreError(f"{key} is not in the store {self.root}; run the stage that made it again")
        if sha256_of(local) != key:
            raise StoreError(f"{key} in the store {self.root} is damaged; delete {local} and run again")
        return local
