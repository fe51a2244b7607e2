"""What each flow says of itself: counts, seconds and cached/ran of its stages, and what it hands on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from tasks.common.errors import WikistyleError
from tasks.common.records import Animation, Between, DatasetRef, Record, Reject, Sample, Training
from tasks.measure.records import Measured


class StageReport(Record):
    """One stage of one run: `seconds` of wall time, items `cached` and those that `ran`, items in, out and set aside.

    What ran are files, images or captions where a stage does many, else whole tasks. Taking the inventory is no item.
    """

    stage: str
    seconds: float
    cached: int
    ran: int
    items_in: int
    items_out: int
    rejected: int


def stage_table(reports: Sequence[StageReport]) -> list[tuple[str, ...]]:
    """A head and a row for each stage, as text: how many items came in, went out, were set aside, ran, were cached."""
    rows = [
        (r.stage, *map(str, (r.items_in, r.items_out, r.rejected, r.ran, r.cached)), f"{r.seconds:.1f}")
        for r in reports
    ]
    return [("stage", "in", "out", "aside", "ran", "cached", "seconds"), *rows]


def nothing_new(reports: Sequence[StageReport]) -> str:
    """Says so when nothing ran."""
    if any(report.ran for report in reports):
        return ""
    return "Everything was cached: nothing on the wiki or in the settings is new."


def reports_in(summary: dict[str, Any]) -> list[StageReport]:
    """What each stage said of itself, of a run's summary.json."""
    return [
        StageReport(
            stage=name, seconds=s["seconds"], cached=s["cached"], ran=s["ran"],
            items_in=s["in"], items_out=s["out"], rejected=s["rejected"],
        )
        for name, s in summary["stages"].items()
    ]  # fmt: skip


class Collected(Record):
    """What `collect` hands on: the dataset, and how the wiki's `listed` files became rows, rejects and duplicates.

    `materials` is the key of the list of keys of all originals and JPEGs: while it is kept, none is made again.
    `at`: when it was collected (UTC). `not_fetched`: sha1s of the rejects whose bytes the wiki did not give.
    """

    dataset: DatasetRef
    wiki: str
    site_name: str
    listed: int
    duplicates: int
    rejects: tuple[Reject, ...]
    stages: tuple[StageReport, ...]
    materials: str | None = None
    at: datetime | None = None
    not_fetched: tuple[str, ...] = ()


class Finetuned(Record):
    """What `finetune` hands on."""

    training: Training
    stages: tuple[StageReport, ...]


class Showcased(Record):
    """What `showcase` hands on; nothing is `measured` in what was kept before there were measures.

    `between`: the pictures on the way to the last snapshot, and between neighbours.
    """

    samples: tuple[Sample, ...]
    denoising: tuple[str, ...]
    animations: tuple[Animation, ...]
    between: tuple[Between, ...] = ()
    stages: tuple[StageReport, ...]
    measured: Measured | None = None


Shown = Showcased  # by this name Prefect's results of older runs are found

T = TypeVar("T", Finetuned, Showcased)


def from_cache(record: T) -> T:
    """What an earlier run handed on, saying that this one had nothing to do for it."""
    stages = tuple(s.model_copy(update={"seconds": 0.0, "cached": s.cached + s.ran, "ran": 0}) for s in record.stages)
    return record.model_copy(update={"stages": stages})


class StageFailed(WikistyleError):
    """A stage's error with its name."""

    def __init__(self, stage: str, reason: str):
        super().__init__(f"stage {stage} failed: {reason}")
