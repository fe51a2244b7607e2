"""Showcase: snapshots become pictures, the pictures films, and one snapshot is recommended by what was measured."""

from dataclasses import dataclass, field
from itertools import pairwise

from prefect import flow

from flows.common import artifacts, handoff
from flows.common.base_model import base_of
from flows.common.measuring import measure
from flows.common.report import Finetuned, Showcased, StageReport
from flows.common.run_names import name_run
from flows.common.settings import Settings
from flows.common.stage import stage
from tasks.animate.task import animate_denoising, animate_dial, animate_training
from tasks.common.progress import progress
from tasks.common.records import Animation, Between, Sample, Training
from tasks.common.store import Store
from tasks.sample.task import sample_denoising, sample_dial, sample_snapshot, sample_tweens


@flow(name="showcase", flow_run_name="showcase {settings.profile}", persist_result=True)
def showcase(settings: Settings, training: Training | None = None) -> Showcased:
    """Draw the same prompts and seeds from every snapshot and between them, measure every snapshot, make the films.

    Args:
        settings: All settings of the run; this part reads those of sample, measure and animate. The base is the
            training's.
        training: What fine-tune handed on. Empty: what it last handed on for this profile.
    """
    if training is None:
        training = handoff.recall(settings.profile, "finetune", Finetuned).training
    name_run("showcase", settings, training.dataset_fingerprint[:8])
    drawn, sampled = draw(training, settings)
    measured, judged = measure(training, drawn.samples, settings)
    films, animated = make_films(drawn, settings)
    showcased = Showcased(
        samples=tuple(drawn.samples), denoising=tuple(drawn.denoising), between=tuple(drawn.dial + drawn.tweens),
        animations=tuple(films), measured=measured, stages=(sampled, judged, animated),
    )  # fmt: skip
    handoff.keep(settings.profile, "showcase", showcased)
    artifacts.show_films(films, Store())
    return showcased


@dataclass
class Drawn:
    """All pictures of a training: the samples, those on the way to the last snapshot and between neighbours, and one
    coming out of noise."""

    samples: list[Sample] = field(default_factory=list[Sample])
    dial: list[Between] = field(default_factory=list[Between])
    tweens: list[Between] = field(default_factory=list[Between])
    denoising: list[str] = field(default_factory=list[str])

    def __len__(self) -> int:
        return sum(map(len, (self.samples, self.dial, self.tweens, self.denoising)))


def draw(training: Training, settings: Settings) -> tuple[Drawn, StageReport]:
    """Every prompt and seed from every snapshot, then what lies between snapshots, and one picture out of noise."""
    first, last = training.snapshots[0], training.snapshots[-1]
    drawn = Drawn()
    with stage("sample") as sampling, progress("sample", _pictures(training, settings), "pictures") as bar:
        base, own = base_of(training), settings.sample
        for snapshot in training.snapshots:
            samples = sampling.run(sample_snapshot, base.model, base.identity, snapshot, own, base.revision)
            drawn.samples += samples
            bar.advance(len(samples), f"epoch {snapshot.epoch}")
        for prompt in own.prompts if _has_dial(training, settings) else ():
            ends = tuple(
                [s for s in drawn.samples if s.prompt == prompt and s.epoch == end.epoch] for end in (first, last)
            )
            few = (ends[0][: own.dial_seeds], ends[1][: own.dial_seeds])
            drawn.dial += sampling.run(sample_dial, base.model, base.identity, first, last, few, own, base.revision)
            bar.advance(own.dial_frames * len(few[0]), f"the way to epoch {last.epoch}")
        for since, then in pairwise(training.snapshots) if settings.animate.tween else ():
            drawn.tweens += sampling.run(
                sample_tweens, base.model, base.identity, since, then, settings.animate.tween, own, base.revision
            )
            bar.advance(settings.animate.tween * len(own.prompts) * len(own.seeds), f"up to epoch {then.epoch}")
        drawn.denoising = sampling.run(sample_denoising, base.model, base.identity, last, own, base.revision)
        sheet = artifacts.samples_sheet(drawn.samples, Store())
        sampling.done(len(training.snapshots), len(drawn), (), sheet)
    return drawn, sampling.report


def _has_dial(training: Training, settings: Settings) -> bool:
    """Whether there is a way to film: a training of no epochs left the base model only."""
    return settings.sample.dial_seeds > 0 and len(training.snapshots) > 1


def _pictures(training: Training, settings: Settings) -> int:
    """How many pictures the stage draws or finds."""
    prompts, seeds, snapshots = len(settings.sample.prompts), len(settings.sample.seeds), len(training.snapshots)
    dial = settings.sample.dial_frames * min(settings.sample.dial_seeds, seeds) * _has_dial(training, settings)
    return prompts * (seeds * (snapshots + settings.animate.tween * (snapshots - 1)) + dial)


def make_films(drawn: Drawn, settings: Settings) -> tuple[list[Animation], StageReport]:
    """Of each prompt a film of the straight way and one through the epochs, and one of denoising."""
    films: list[Animation] = []
    with stage("animate") as animating, progress("animate", len(settings.sample.prompts) + 1, "prompts") as bar:
        for prompt in settings.sample.prompts:
            samples = [sample for sample in drawn.samples if sample.prompt == prompt]
            if dial := [picture for picture in drawn.dial if picture.prompt == prompt]:
                films.append(animating.run(animate_dial, prompt, dial, settings.animate))
            tweens = [picture for picture in drawn.tweens if picture.prompt == prompt]
            films.append(animating.run(animate_training, prompt, samples, tweens, settings.animate))
            bar.advance(1)
        films.append(animating.run(animate_denoising, settings.sample.filmed_prompt, drawn.denoising, settings.animate))
        animating.done(len(drawn), len(films), (), artifacts.films(films, Store()))
    return films, animating.report
