"""Which caption model it is, said without loading it."""

from pathlib import Path

from tasks.caption.settings import CaptionSettings
from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity


def checked_identity(model: str, revision: str | None) -> str:
    """The model's identity, for cache keys and the dataset's card.

    Raises ModelError for a folder without safetensors and for a hub model without a pinned revision.
    """
    folder = Path(model)
    if folder.is_dir():
        if not any(folder.glob("*.safetensors")):
            raise ModelError(
                f"caption model folder {model} has no *.safetensors; pass a folder made by save_pretrained"
            )
    elif revision is None:
        raise ModelError(f"caption model {model} is no folder here and has no revision; pin a commit of it")
    return model_identity(model, revision)


def provenance(settings: CaptionSettings, identity: str) -> dict[str, str | int | float]:
    """How the captions were made, for a dataset card. A folder is named without the path to it."""
    return {"model": Path(settings.model).name if identity.startswith("sha256:") else settings.model} | {
        "weights": identity,
        **settings.output_settings(),
    }
