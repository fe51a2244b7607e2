"""Which model it is, said without loading it: what cache keys hold in place of its weights."""

import hashlib
from pathlib import Path

from tasks.common.store import sha256_of


def model_identity(model: str, revision: str | None) -> str:
    """`id@revision` of a model on the hub, or `sha256:` and a digest of a folder's weights, settings and words.

    A folder's name and place say nothing: it may be moved, or hold other weights tomorrow.
    """
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{revision or 'main'}"
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".json", ".txt", ".safetensors"}):
        whole.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"
