"""The part of fsspec that wikistyle uses, with types: fsspec itself has none."""

from datetime import datetime
from typing import Any, Literal, Protocol, cast, overload

from upath import UPath


class FileSystem(Protocol):
    """`fsspec.AbstractFileSystem`; a path is one within the file system: `UPath.path`."""

    def invalidate_cache(self) -> None:
        """Forget what folders were found to hold: others may write there, too."""
        ...

    @overload
    def find(self, path: str) -> list[str]: ...
    @overload
    def find(self, path: str, *, detail: Literal[True]) -> dict[str, dict[str, Any]]: ...

    def cat_file(self, path: str) -> bytes:
        """A file's bytes, in one request. Raises FileNotFoundError."""
        ...

    def modified(self, path: str) -> datetime:
        """When it was last written, by the storage's clock. Raises FileNotFoundError."""
        ...

    def rm_file(self, path: str) -> None:
        """Delete a file. Raises FileNotFoundError."""
        ...


def file_system(path: UPath) -> FileSystem:
    """The file system that a path is on."""
    return cast("FileSystem", path.fs)
