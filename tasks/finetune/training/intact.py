"""Files whose names hold the sha256 of their bytes: damage is seen when they are read, and set aside.

Name and bytes appear together, by one rename, so that no kill can leave a good file with a wrong hash.
"""

from collections.abc import Callable
from pathlib import Path

from tasks.common.errors import first_line
from tasks.common.files import put_in_place
from tasks.common.store import sha256_of

DAMAGED = ".damaged"


def keep(partial: Path, stem: str) -> Path:
    """Put a finished file in its place in its folder, named `{stem}-{sha256}.safetensors`."""
    return put_in_place(partial, partial.with_name(f"{stem}-{sha256_of(partial)}.safetensors"))


def kept(folder: Path, stem: str) -> list[Path]:
    """The files `keep` named so (`stem` may be a pattern), sorted by name; not looked into."""
    return sorted(folder.glob(f"{stem}-{'[0-9a-f]' * 64}.safetensors"))


def intact(path: Path, log: Callable[[str], None]) -> bool:
    """Whether a file of `keep` still holds the bytes it was named after; if not, it is set aside."""
    try:
        found = sha256_of(path)
    except OSError as error:
        set_aside(path, f"it can't be read ({first_line(error)})", log)
        return False
    if found != path.stem.rsplit("-", 1)[1]:
        set_aside(path, "its bytes are not those that were written", log)
        return False
    return True


def set_aside(path: Path, reason: str, log: Callable[[str], None]) -> None:
    """Rename a damaged file, so that it is never read again, and say so in one line."""
    aside = path.with_name(path.name + DAMAGED)
    path.rename(aside)
    log(f"{path} is damaged: {reason}; set aside as {aside.name}, and made again from what is left")
