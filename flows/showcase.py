"""Showcase: snapshots become pictures, and the pictures become films."""

from prefect import flow

from flows import parts
from flows.report import Finetuned, Shown, stage
from flows.settings import Settings, located
from tasks.animate import task as animate
from tasks.caching import call
from tasks.progress import progress
from tasks.records import Animation, Sample, Training
from tasks.sample import task as sampling


@flow(name="showcase", flow_run_name="showcase {settings.profile}", persist_result=True)
def showcase(settings: Settings, training: Training | None = None) -> Shown:
    """Draw the same prompts and seeds from every snapshot, then make a film for each prompt and one of denoising.

    Args:
        settings: All settings of the run; this part reads those of sample and animate, and the base model.
        training: What fine-tune handed on. Empty: what it last handed on for this profile.
    """
    if training is None:
        training = parts.recall(settings.profile, "finetune", Finetuned).training
    settings = located(settings)
    base, revision = settings.finetune.base_model, settings.finetune.revision
    drawn: list[Sample] = []
    pictures = len(settings.sample.prompts) * len(settings.sample.seeds) * len(training.snapshots)
    with stage("sample") as sampled, progress("sample", pictures, "pictures") as bar:
        identity = sampling.identify_base(base, revision)
        for snapshot in training.snapshots:
            outcome = call(
                sampling.sample_snapshot, base, identity, snapshot, settings.sample, revision, keys_of=picture_keys
            )
            drawn += sampled.note(outcome)
            bar.advance(len(settings.sample.prompts) * len(settings.sample.seeds), f"epoch {snapshot.epoch}")
        last = training.snapshots[-1]
        outcome = call(sampling.sample_denoising, base, identity, last, settings.sample, revision, keys_of=list)
        denoising = sampled.note(outcome)
        sampled.items_in, sampled.items_out = len(training.snapshots), len(drawn) + len(denoising)
    films: list[Animation] = []
    with stage("animate") as animated, progress("animate", len(settings.sample.prompts) + 1, "films") as bar:
        for prompt in settings.sample.prompts:
            of_prompt = [sample for sample in drawn if sample.prompt == prompt]
            outcome = call(animate.animate_drift, prompt, of_prompt, settings.animate, keys_of=film_keys)
            films.append(animated.note(outcome))
            bar.advance(1)
        outcome = call(
            animate.animate_denoising, settings.sample.filmed_prompt, denoising, settings.animate,
            keys_of=film_keys,
        )  # fmt: skip
        films.append(animated.note(outcome))
        animated.items_in, animated.items_out = len(drawn) + len(denoising), len(films)
    shown = Shown(
        samples=tuple(drawn), denoising=tuple(denoising), animations=tuple(films),
        stages=(sampled.report(), animated.report()),
    )  # fmt: skip
    parts.keep(settings.profile, "showcase", shown)
    return shown


def picture_keys(samples: list[Sample]) -> list[str]:
    """The store keys of pictures."""
    return [sample.key for sample in samples]


def film_keys(film: Animation) -> list[str]:
    """The store keys of a film's files."""
    return [file.key for file in film.files]
