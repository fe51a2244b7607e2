"""Showcase: snapshots become pictures, and the pictures become films."""

from prefect import flow

from flows.report import Shown, stage
from flows.settings import Settings, located
from tasks.animate import task as animate
from tasks.caching import call
from tasks.progress import progress
from tasks.records import Animation, Sample, Training
from tasks.sample import task as sampling


@flow(name="showcase", flow_run_name="showcase {settings.profile}", persist_result=True)
def showcase(training: Training, settings: Settings) -> Shown:
    """Draw the same prompts and seeds from every snapshot, then make a film for each prompt and one of denoising."""
    settings = located(settings)
    base, revision = settings.finetune.base_model, settings.finetune.revision
    drawn: list[Sample] = []
    pictures = len(settings.sample.prompts) * len(settings.sample.seeds) * len(training.snapshots)
    with stage("sample") as sampled, progress("sample", pictures, "pictures") as shown:
        identity = sampling.identify_base(base, revision)
        for snapshot in training.snapshots:
            outcome = call(
                sampling.sample_snapshot, base, identity, snapshot, settings.sample, revision, keys_of=_picture_keys
            )
            drawn += sampled.note(outcome)
            shown.advance(len(settings.sample.prompts) * len(settings.sample.seeds), f"epoch {snapshot.epoch}")
        last = training.snapshots[-1]
        outcome = call(sampling.sample_denoising, base, identity, last, settings.sample, revision, keys_of=list)
        denoising = sampled.note(outcome)
        sampled.items_in, sampled.items_out = len(training.snapshots), len(drawn) + len(denoising)
    films: list[Animation] = []
    with stage("animate") as animated, progress("animate", len(settings.sample.prompts) + 1, "films") as shown:
        for prompt in settings.sample.prompts:
            of_prompt = [sample for sample in drawn if sample.prompt == prompt]
            outcome = call(animate.animate_drift, prompt, of_prompt, settings.animate, keys_of=_film_keys)
            films.append(animated.note(outcome))
            shown.advance(1)
        outcome = call(
            animate.animate_denoising, settings.sample.filmed_prompt, denoising, settings.animate,
            keys_of=_film_keys,
        )  # fmt: skip
        films.append(animated.note(outcome))
        animated.items_in, animated.items_out = len(drawn) + len(denoising), len(films)
    return Shown(
        samples=tuple(drawn), denoising=tuple(denoising), animations=tuple(films),
        stages=(sampled.report(), animated.report()),
    )  # fmt: skip


def _picture_keys(samples: list[Sample]) -> list[str]:
    return [sample.key for sample in samples]


def _film_keys(film: Animation) -> list[str]:
    return [file.key for file in film.files]
