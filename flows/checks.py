"""What can be known to be wrong before the first stage starts: one line each, no time spent."""

import os
from pathlib import Path

from flows.settings import Settings, located
from tasks.dataset.task import check_publishing
from tasks.store import Store


class CheckError(RuntimeError):
    """Something the run needs is missing; the message names it, why, and what to do."""


def check(settings: Settings, parts: tuple[str, ...] = ("collect", "finetune", "showcase")) -> None:
    """Raise, in one line, when the store can't be written, a model can't be had, or the hub can't be published to."""
    Store().check_writable()
    settings = located(settings)
    if "collect" in parts:
        check_model("caption.model", settings.caption.model, settings.caption.revision, "config.json")
        check_publishing(settings.dataset)
    if "finetune" in parts or "showcase" in parts:
        check_model("finetune.base_model", settings.finetune.base_model, settings.finetune.revision, "model_index.json")


def check_model(setting: str, model: str, revision: str | None, file: str) -> None:
    """Raise CheckError unless the model is a folder with `file`, or the hub (or its cache) has it."""
    if Path(model).is_dir():
        if not (Path(model) / file).is_file():
            raise CheckError(f"model {model} ({setting}) has no {file}; give a folder made by save_pretrained")
        return
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(model, file, revision=revision)
    except Exception as error:
        offline = " (offline: HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise CheckError(
            f"model {model} ({setting}) can't be loaded{offline}: {type(error).__name__}; "
            "connect to the hub, check the id and revision, or give a local folder"
        ) from error
