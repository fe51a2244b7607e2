"""Showcase: snapshots become pictures, and the pictures become films."""

from prefect import flow

from flows.common import artifacts, handoff
from flows.common.base_model import base_of
from flows.common.report import Finetuned, Showcased, StageReport
from flows.common.run_names import name_run
from flows.common.settings import Settings
from flows.common.stage import stage
from tasks.animate.task import animate_denoising, animate_drift
from tasks.common.progress import progress
from tasks.common.records import Animation, Sample, Training
from tasks.common.store import Store
from tasks.sample.task import sample_denoising, sample_snapshot


@flow(name="showcase", flow_run_name="showcase {settings.profile}", persist_result=True)
def showcase(settings: Settings, training: Training | None = None) -> Showcased:
    """Draw the same prompts and seeds from every snapshot, then make a film for each prompt and one of denoising.

    Args:
        settings: All settings of the run; this part reads those of sample and animate. The base is the training's.
        training: What fine-tune handed on. Empty: what it last handed on for this profile.
    """
    if training is None:
        training = handoff.recall(settings.profile, "finetune", Finetuned).training
    name_run("showcase", settings, training.dataset_fingerprint[:8])
    drawn, denoising, sampled = draw(training, settings)
    films, animated = make_films(drawn, denoising, settings)
    showcased = Showcased(
        samples=tuple(drawn), denoising=tuple(denoising), animations=tuple(films), stages=(sampled, animated)
    )  # fmt: skip
    handoff.keep(settings.profile, "showcase", showcased)
    artifacts.show_films(films, Store())
    return showcased


def draw(training: Training, settings: Settings) -> tuple[list[Sample], list[str], StageReport]:
    """Every prompt and seed from every snapshot, and one picture of the last snapshot coming out of noise."""
    each = len(settings.sample.prompts) * len(settings.sample.seeds)
    drawn: list[Sample] = []
    with stage("sample") as sampling, progress("sample", each * len(training.snapshots), "pictures") as bar:
        base = base_of(training)
        for snapshot in training.snapshots:
            drawn += sampling.run(sample_snapshot, base.model, base.identity, snapshot, settings.sample, base.revision)
            bar.advance(each, f"epoch {snapshot.epoch}")
        last = training.snapshots[-1]
        denoising = sampling.run(sample_denoising, base.model, base.identity, last, settings.sample, base.revision)
        sheet = artifacts.samples_sheet(drawn, Store())
        sampling.done(len(training.snapshots), len(drawn) + len(denoising), (), sheet)
    return drawn, denoising, sampling.report


def make_films(drawn: list[Sample], denoising: list[str], settings: Settings) -> tuple[list[Animation], StageReport]:
    """A film of each prompt through the epochs, and one of denoising."""
    films: list[Animation] = []
    with stage("animate") as animating, progress("animate", len(settings.sample.prompts) + 1, "films") as bar:
        for prompt in settings.sample.prompts:
            of_prompt = [sample for sample in drawn if sample.prompt == prompt]
            films.append(animating.run(animate_drift, prompt, of_prompt, settings.animate))
            bar.advance(1)
        films.append(animating.run(animate_denoising, settings.sample.filmed_prompt, denoising, settings.animate))
        animating.done(len(drawn) + len(denoising), len(films), (), artifacts.films(films, Store()))
    return films, animating.report
