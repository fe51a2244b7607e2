"""What each flow says of itself: counts, seconds and cached/ran of its stages, and what it hands on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.caching import Outcome
from tasks.records import Animation, DatasetRef, Record, Reject, Sample, Training


class StageReport(Record):
    """One stage of one run: `seconds` of wall time, task runs `cached` and `ran`, items in, out and set aside."""

    stage: str
    seconds: float
    cached: int
    ran: int
    items_in: int
    items_out: int
    rejected: int


class Collected(Record):
    """What `collect` hands on: the dataset, and how the wiki's `listed` files became rows, rejects and duplicates."""

    dataset: DatasetRef
    wiki: str
    site_name: str
    listed: int
    duplicates: int
    rejects: tuple[Reject, ...]
    stages: tuple[StageReport, ...]


class Finetuned(Record):
    """What `finetune` hands on."""

    training: Training
    stages: tuple[StageReport, ...]


class Shown(Record):
    """What `showcase` hands on."""

    samples: tuple[Sample, ...]
    denoising: tuple[str, ...]
    animations: tuple[Animation, ...]
    stages: tuple[StageReport, ...]


class Ledger:
    """Counts one stage while it runs."""

    def __init__(self, stage: str):
        self.stage, self.cached, self.ran, self.items_in, self.items_out, self.rejected = stage, 0, 0, 0, 0, 0
        self.seconds = 0.0

    def note(self, outcome: Outcome[Any]) -> Any:
        """Count a task call as cached or run, and give its result."""
        self.cached += outcome.cached
        self.ran += not outcome.cached
        return outcome.result

    def report(self) -> StageReport:
        return StageReport(
            stage=self.stage,
            seconds=round(self.seconds, 2),
            cached=self.cached,
            ran=self.ran,
            items_in=self.items_in,
            items_out=self.items_out,
            rejected=self.rejected,
        )


@contextmanager
def stage(name: str) -> Iterator[Ledger]:
    """Time a stage; counts are filled in by its body."""
    ledger, began = Ledger(name), time.monotonic()
    try:
        yield ledger
    finally:
        ledger.seconds += time.monotonic() - began
