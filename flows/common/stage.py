"""The context a flow runs a stage in: it counts, times, shows progress, names what failed and makes the artifact.

with stage("caption", "images") as captioning:
    captions = captioning.map(caption_batch, keys, settings.caption)
    captioning.done(len(keys), len(captions))
"""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from flows.common import artifacts
from flows.common.report import StageFailed, StageReport
from tasks.common.caching import CachedTask
from tasks.common.mapped import HasContent, MappedTask, Plan
from tasks.common.progress import progress, tell
from tasks.common.records import Reject

P = ParamSpec("P")
T = TypeVar("T")
I = TypeVar("I", bound=str | HasContent)  # noqa: E741
R = TypeVar("R", bound=BaseModel)


class Stage:
    """One stage of one run; `unit` is what its items are called in the progress shown."""

    def __init__(self, name: str, unit: str):
        self.name, self.unit, self.began = name, unit, time.monotonic()
        self.cached = self.ran = self.items_in = self.items_out = 0
        self.seconds = 0.0
        self.rejects: tuple[Reject, ...] = ()
        self.sections: tuple[str, ...] = ()

    def run(self, task: CachedTask[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a task that runs as a whole, kept or made now."""
        outcome = task(*args, **kwargs)
        self.cached += outcome.cached
        self.ran += not outcome.cached
        return outcome.result

    def map(self, task: MappedTask[I, P, R], items: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """What becomes of each item, in their order (each once); only the missing are done, in batches."""
        plan, ran = task.plan(items, *args, **kwargs), dict[str, R]()
        with progress(self.name, len(plan.names), self.unit) as bar:
            bar.advance(len(plan.known))
            for number, batch in enumerate(plan.batches, 1):
                ran |= plan.run(batch, number, bar.advance)
        return self._counted(plan, ran)

    async def amap(self, task: MappedTask[I, P, R], items: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """`map` for a task that is an async generator."""
        plan, ran = task.plan(items, *args, **kwargs), dict[str, R]()
        with progress(self.name, len(plan.names), self.unit) as bar:
            bar.advance(len(plan.known))
            for number, batch in enumerate(plan.batches, 1):
                ran |= await plan.run(batch, number, bar.advance)
        return self._counted(plan, ran)

    def _counted(self, plan: Plan[Any, R], ran: dict[str, R]) -> list[R]:
        self.cached += len(plan.known)
        self.ran += len(ran)
        plan.memory.tidy()
        return plan.results(ran)

    def done(self, items_in: int, items_out: int, rejects: Sequence[Reject] = (), *sections: str) -> None:
        """Say how many items came in and went out, what was set aside, and what else the artifact shows (Markdown)."""
        self.items_in, self.items_out, self.rejects, self.sections = items_in, items_out, tuple(rejects), sections

    @property
    def report(self) -> StageReport:
        """What the stage did, once it has ended."""
        return StageReport(
            stage=self.name,
            seconds=round(self.seconds, 2),
            cached=self.cached,
            ran=self.ran,
            items_in=self.items_in,
            items_out=self.items_out,
            rejected=len(self.rejects),
        )


@contextmanager
def stage(name: str, unit: str = "items") -> Generator[Stage]:
    """Time a stage and, when it ends well, make its artifact. Raises StageFailed for whatever its body raises."""
    running = Stage(name, unit)
    tell(f"{name}: started")
    try:
        yield running
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StageFailed(name, reason) from error
    finally:
        running.seconds = time.monotonic() - running.began
    tell(
        f"{name}: done in {running.seconds:.1f} s: {running.items_in} in, {running.items_out} out, "
        f"{len(running.rejects)} set aside; {running.ran} ran, {running.cached} from the cache"
    )
    artifacts.show(running.report, *running.sections, artifacts.rejects_table(running.rejects))
