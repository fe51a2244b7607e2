"""Showcase: snapshots become pictures, and the pictures become films."""

from prefect import flow

from flows.common import artifacts, handoff
from flows.common.report import Finetuned, Shown, StageReport, stage
from flows.common.run_names import name_run
from flows.common.settings import Settings, located
from tasks.animate import task as animate
from tasks.common.caching import call
from tasks.common.model_id import model_identity
from tasks.common.progress import progress
from tasks.common.records import Animation, Sample, Training
from tasks.common.store import Store
from tasks.sample import task as sampling


@flow(name="showcase", flow_run_name="showcase {settings.profile}", persist_result=True)
def showcase(settings: Settings, training: Training | None = None) -> Shown:
    """Draw the same prompts and seeds from every snapshot, then make a film for each prompt and one of denoising.

    Args:
        settings: All settings of the run; this part reads those of sample and animate, and the base model.
        training: What fine-tune handed on. Empty: what it last handed on for this profile.
    """
    if training is None:
        training = handoff.recall(settings.profile, "finetune", Finetuned).training
    name_run("showcase", settings, training.dataset_fingerprint[:8])
    settings = located(settings)
    drawn, denoising, sampled = draw(training, settings)
    films, animated = make_films(drawn, denoising, settings)
    shown = Shown(
        samples=tuple(drawn), denoising=tuple(denoising), animations=tuple(films), stages=(sampled, animated)
    )  # fmt: skip
    handoff.keep(settings.profile, "showcase", shown)
    return shown


def draw(training: Training, settings: Settings) -> tuple[list[Sample], list[str], StageReport]:
    """Every prompt and seed from every snapshot, and one picture of the last snapshot coming out of noise."""
    base, revision = settings.finetune.base_model, settings.finetune.revision
    each = len(settings.sample.prompts) * len(settings.sample.seeds)
    drawn: list[Sample] = []
    with stage("sample") as ledger, progress("sample", each * len(training.snapshots), "pictures") as bar:
        identity = model_identity(base, revision)
        for snapshot in training.snapshots:
            outcome = call(
                sampling.sample_snapshot, base, identity, snapshot, settings.sample, revision, keys_of=picture_keys
            )
            drawn += ledger.note(outcome)
            bar.advance(each, f"epoch {snapshot.epoch}")
        last = training.snapshots[-1]
        outcome = call(sampling.sample_denoising, base, identity, last, settings.sample, revision, keys_of=list)
        denoising = ledger.note(outcome)
        ledger.items_in, ledger.items_out = len(training.snapshots), len(drawn) + len(denoising)
    report = ledger.report()
    artifacts.show(report, artifacts.samples_sheet(drawn, Store()))
    return drawn, denoising, report


def make_films(drawn: list[Sample], denoising: list[str], settings: Settings) -> tuple[list[Animation], StageReport]:
    """A film of each prompt through the epochs, and one of denoising."""
    films: list[Animation] = []
    with stage("animate") as ledger, progress("animate", len(settings.sample.prompts) + 1, "films") as bar:
        for prompt in settings.sample.prompts:
            of_prompt = [sample for sample in drawn if sample.prompt == prompt]
            films.append(
                ledger.note(call(animate.animate_drift, prompt, of_prompt, settings.animate, keys_of=film_keys))
            )
            bar.advance(1)
        filmed = settings.sample.filmed_prompt
        outcome = call(animate.animate_denoising, filmed, denoising, settings.animate, keys_of=film_keys)
        films.append(ledger.note(outcome))
        ledger.items_in, ledger.items_out = len(drawn) + len(denoising), len(films)
    report = ledger.report()
    artifacts.show(report, artifacts.films(films, Store()))
    return films, report


def picture_keys(samples: list[Sample]) -> list[str]:
    """The store keys of pictures."""
    return [sample.key for sample in samples]


def film_keys(film: Animation) -> list[str]:
    """The store keys of a film's files."""
    return [file.key for file in film.files]
