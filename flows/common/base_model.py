"""Which base model a training goes with: the settings name it when fine-tune runs, the training itself from then on."""

from dataclasses import dataclass

from flows.common.settings import Settings, locate
from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity
from tasks.common.records import DatasetRef, Training


@dataclass(frozen=True)
class Base:
    """A base model as this process reaches it: a folder or hub id, its revision, and its `model_identity`."""

    model: str
    revision: str | None
    identity: str


def base_in(settings: Settings) -> Base:
    """The base model that the settings name."""
    model, revision = locate(settings.finetune.base_model), settings.finetune.revision
    return Base(model, revision, model_identity(model, revision))


def note_origin(
    training: Training, settings: Settings, identity: str, dataset: DatasetRef | str | None = None
) -> Training:  # fmt: skip
    """The training, saying where its base and its dataset lie now.

    It may have been made long ago, when the same weights lay elsewhere, or on another machine. The folder is said as
    in the settings, which every machine resolves for itself.
    """
    base = {"base_model": settings.finetune.base_model, "base_revision": settings.finetune.revision}
    origin = {"dataset": dataset, "held_out": settings.finetune.held_out}
    return training.model_copy(update=base | origin | {"base_identity": training.base_identity or identity})


def identity_of(training: Training) -> str:
    """What the training noted, or for one kept before it was noted, what its base is now."""
    return training.base_identity or model_identity(locate(training.base_model), training.base_revision)


def base_of(training: Training) -> Base:
    """The base model the training started from. Raises ModelError, in one line, when it isn't there any more."""
    model, revision = locate(training.base_model), training.base_revision
    found, wanted = model_identity(model, revision), identity_of(training)
    if found != wanted:
        raise ModelError(
            f"base model {training.base_model} isn't what the training started from ({found[:60]}, not {wanted[:60]}); "
            "put that one there again, or say in finetune.base_model where it is and run fine-tune again"
        )
    return Base(model, revision, found)
