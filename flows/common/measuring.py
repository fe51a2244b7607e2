"""Measuring a training: which points are drawn, what they come to, and which of them is recommended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.common import artifacts
from flows.common.base_model import base_of
from flows.common.release import check_release, released
from flows.common.report import StageReport
from flows.common.settings import Settings, located
from flows.common.stage import Stage, stage
from tasks.common.progress import progress
from tasks.common.records import Sample, Snapshot, Training
from tasks.common.store import Store
from tasks.measure.records import DrawnSet, Measured, Measures, Recommendation, Reference
from tasks.measure.settings import MeasureSettings
from tasks.measure.task import BaseModel, draw_point, measure_wiki, nearest_pairs

if TYPE_CHECKING:
    from tasks.measure.judge import Point


def measure(training: Training, samples: Sequence[Sample], settings: Settings) -> tuple[Measured, StageReport]:
    """Every snapshot measured against the wiki, and for the best few what lies between the base and them."""
    how = located(settings).measure
    check_release(training, how)
    with stage("measure") as measuring:
        reference = None
        if training.dataset is not None and training.held_out is not None and len(training.snapshots) > 1:
            reference = measuring.run(measure_wiki, training.dataset, training.held_out, how)
        if reference is None:
            measured = Measured(recommendation=Recommendation(epoch=None, strength=None, because=_why_not(training)))
        else:
            measured = _measure(measuring, training, samples, reference, how)
        measuring.done(len(training.snapshots), len(measured.measures), (), artifacts.measures_table(measured))
    return measured, measuring.report


def _why_not(training: Training) -> str:
    if len(training.snapshots) < 2:
        return "Nothing was measured: there is one snapshot only."
    if training.dataset is None:
        return (
            "Nothing was measured: the training does not say where its dataset is; run fine-tune again, which trains "
            "nothing anew."
        )
    return (
        f"Nothing was measured: {training.images_held_out} pictures were held out, and it takes 8; "
        "raise finetune.held_out, or collect more."
    )


def _measure(
    measuring: Stage, training: Training, samples: Sequence[Sample], reference: Reference, how: MeasureSettings
) -> Measured:  # fmt: skip
    from tasks.measure.judge import judge
    from tasks.measure.rule import promising, recommend

    base = BaseModel(**vars(base_of(training)))
    snapshots, store = training.snapshots, Store()
    each = min(how.strengths_of, len(snapshots) - 1) * len(how.strengths)
    with progress("measure", len(snapshots) + each, "points") as bar:

        def draw(snapshot: Snapshot, strength: float) -> DrawnSet:
            drawn = measuring.run(draw_point, base, snapshot, strength, reference, how)
            bar.advance(1, f"epoch {snapshot.epoch}, strength {strength:g}")
            return drawn

        drawn = [draw(snapshot, 1.0 if number else 0.0) for number, snapshot in enumerate(snapshots)]
        points, _ = judge(reference, drawn, snapshots, store)
        for snapshot in promising(points, snapshots, how):
            drawn += [draw(snapshot, strength) for strength in how.strengths]
    points, anchors = judge(reference, drawn, snapshots, store)
    recommendation = recommend(points, anchors, how)
    shown = released(training, Measured(recommendation=recommendation), how)[0].epoch
    of_epoch = [sample for sample in samples if sample.epoch == shown]
    return Measured(
        measures=tuple(_in_order(points)),
        anchors=anchors,
        recommendation=recommendation,
        nearest=tuple(measuring.run(nearest_pairs, of_epoch, reference, how)),
        reference=reference.key,
        sets=tuple(drawn),
    )


def _in_order(points: "Sequence[Point]") -> list[Measures]:
    return sorted((point.measures for point in points), key=lambda one: (one.epoch, one.strength))
