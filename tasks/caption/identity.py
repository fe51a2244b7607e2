"""Which caption model it is, said without loading it."""

import hashlib
from pathlib import Path

from tasks.caption.settings import CaptionSettings
from tasks.store import sha256_of


class ModelError(RuntimeError):
    """The caption model can't be loaded or run; the message names it and a remedy, in one line."""


def model_identity(model: str, revision: str | None) -> str:
    """What the weights are, for cache keys: `name@revision`, or for a folder the hash of its files' hashes.

    Raises ModelError for a folder without safetensors and for a hub model without a pinned revision.
    """
    folder = Path(model)
    if not folder.is_dir():
        if revision is None:
            raise ModelError(f"caption model {model} is no folder here and has no revision; pin a commit of it")
        return f"{model}@{revision}"
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".txt"))
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"caption model folder {model} has no *.safetensors; pass a folder made by save_pretrained")
    content = "\n".join(f"{path.name} {sha256_of(path)}" for path in files)
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def provenance(settings: CaptionSettings, identity: str) -> dict[str, str | int | float]:
    """How the captions were made, for a dataset card. A folder is named without the path to it."""
    return {"model": Path(settings.model).name if identity.startswith("sha256:") else settings.model} | {
        "weights": identity,
        **settings.output_settings(),
    }
