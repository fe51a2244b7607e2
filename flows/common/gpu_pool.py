"""Fine-tune and showcase as child runs on the GPU pool: what they depend on, and what they hand back."""

from flows.common.base_model import base_in, identity_of, note_origin
from flows.common.child_run import run_child
from flows.common.report import Finetuned, Showcased, from_cache
from flows.common.settings import Settings
from tasks.animate import task as animate
from tasks.common.records import DatasetRef, Training
from tasks.finetune import task as finetuning
from tasks.measure import task as measuring
from tasks.sample import task as sampling


async def finetune_there(dataset: DatasetRef, settings: Settings) -> Finetuned:
    """`flows.finetune` by its deployment. Nothing is started when these rows were trained on with these settings."""
    base = base_in(settings).identity
    outcome = await run_child(
        "finetune",
        settings.profile,
        {"settings": settings.model_dump(mode="json"), "dataset": dataset.model_dump(mode="json")},
        Finetuned,
        content=[finetuning.VERSION, base, dataset.fingerprint, settings.finetune],
        keys_of=lambda done: finetuning.stored_keys(done.training),
    )
    finetuned = from_cache(outcome.result) if outcome.cached else outcome.result
    return finetuned.model_copy(update={"training": note_origin(finetuned.training, settings, base, dataset)})


async def showcase_there(training: Training, settings: Settings) -> Showcased:
    """`flows.showcase` by its deployment. Nothing is started when these weights were shown with these settings."""
    weights = [[s.epoch, s.unet and s.unet.key, s.decoder and s.decoder.key] for s in training.snapshots]
    outcome = await run_child(
        "showcase",
        settings.profile,
        {"settings": settings.model_dump(mode="json"), "training": training.model_dump(mode="json")},
        Showcased,
        content=[
            sampling.VERSION,
            animate.VERSION,
            measuring.VERSION,
            identity_of(training),
            weights,
            training.dataset_fingerprint,
            training.held_out,
            settings.sample,
            settings.measure,
            settings.animate,
        ],
        keys_of=_showcase_keys,
    )
    return from_cache(outcome.result) if outcome.cached else outcome.result


def _showcase_keys(showcased: Showcased) -> list[str]:
    films = [key for film in showcased.animations for key in animate.stored_keys(film)]
    nearest = measuring.pair_keys(list(showcased.measured.nearest)) if showcased.measured else []
    return [*sampling.stored_keys(list(showcased.samples)), *showcased.denoising, *films, *nearest]
