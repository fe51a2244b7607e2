"""What can be known to be wrong before the first stage starts: one line each, no time spent."""

import os
from importlib.util import find_spec
from pathlib import Path

from flows.common import handoff as kept
from flows.common.report import Finetuned
from flows.common.settings import Settings, locate, located
from tasks.common.errors import WikistyleError
from tasks.common.store import Store

PARTS = ("collect", "finetune", "showcase")


class CheckError(WikistyleError):
    """Something the run needs is missing; the message names it, why, and what to do."""


def check(settings: Settings, parts: tuple[str, ...] = PARTS) -> None:
    """Raise, in one line, when these parts of the pipeline can't come to their end with these settings, here.

    What the settings alone say comes first, then the store, the models and the hub. Nothing of Prefect is loaded,
    unless the hub's token is in one of its blocks.
    """
    check_settings(settings, parts)
    Store().check_writable()
    settings = located(settings)
    if "collect" in parts:
        check_model("caption.model", settings.caption.model, settings.caption.revision, "config.json")
        if settings.dataset.repo_id:
            from tasks.dataset.task import check_publishing

            check_publishing(settings.dataset)
    if "showcase" in parts:
        check_model("measure.clip_model", settings.measure.clip_model, settings.measure.clip_revision, "config.json")
    if "finetune" in parts:
        check_model("finetune.base_model", settings.finetune.base_model, settings.finetune.revision, "model_index.json")
    elif "showcase" in parts:
        training = kept.recall(settings.profile, "finetune", Finetuned).training
        check_model("of the training", locate(training.base_model), training.base_revision, "model_index.json")


def check_settings(settings: Settings, parts: tuple[str, ...] = PARTS) -> None:
    """What can be seen without looking further than this machine: rights, contacts, packages, files, earlier parts."""
    if "collect" in parts and settings.scrape.api_url:
        from tasks.scrape.inventory import check_allowed

        check_allowed(settings.scrape)
    if "collect" in parts and settings.dataset.repo_id and not settings.dataset.takedown_contact:
        raise CheckError(
            f"no take-down contact for {settings.dataset.repo_id}; "
            "set dataset.takedown_contact to an address that someone reads"
        )
    if "finetune" in parts and settings.training_on == "here":
        if settings.finetune.optimizer == "adamw8bit" and not find_spec("bitsandbytes"):
            raise CheckError(
                "finetune.optimizer adamw8bit needs bitsandbytes, which is not installed; "
                "run pip install bitsandbytes, or set it to adamw"
            )
        weights = settings.finetune.lpips_weights
        if weights and not Path(weights).is_file():
            raise CheckError(f"finetune.lpips_weights {weights} is no file; correct its path, or leave it empty")
    for forerunner in PARTS[: PARTS.index(parts[0])]:
        kept.check_kept(settings.profile, forerunner)


def check_model(setting: str, model: str, revision: str | None, file: str) -> None:
    """Raise CheckError unless the model is a folder with `file`, or the hub (or its cache) has it."""
    if Path(model).is_dir():
        if not (Path(model) / file).is_file():
            raise CheckError(f"model {model} ({setting}) has no {file}; give a folder made by save_pretrained")
        return
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType] -- partly untyped

    try:
        hf_hub_download(model, file, revision=revision)
    except Exception as error:
        offline = " (offline: HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise CheckError(
            f"model {model} ({setting}) can't be loaded{offline}: {type(error).__name__}; "
            "connect to the hub, check the id and revision, or give a local folder"
        ) from error
