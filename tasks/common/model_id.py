"""Which model it is, said without loading it: what cache keys hold in place of its weights."""

import hashlib
from functools import lru_cache
from pathlib import Path

from tasks.common.store import sha256_of


def model_identity(model: str, revision: str | None) -> str:
    """`id@revision` of a model on the hub, or `sha256:` and a digest of a folder's weights, settings and words.

    A folder's name and place say nothing: it may be moved, or hold other weights tomorrow. A process reads each file
    once, for as long as its size and times stay: weights are gigabytes, and every stage asks.
    """
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{revision or 'main'}"
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".json", ".txt", ".safetensors"}):
        whole.update(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _sha256(path: Path) -> str:
    facts = path.stat()
    return _sha256_as_it_is(path.resolve(), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@lru_cache(maxsize=1024)
def _sha256_as_it_is(path: Path, size: int, modified_ns: int, changed_ns: int) -> str:
    """`changed_ns` (ctime) tells a file written over whose time was set back, as `cp -p` and `rsync -t` do."""
    return sha256_of(path)
