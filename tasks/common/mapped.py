"""Tasks on many items, remembered one by one: a run does exactly the missing, in batches.

A batch is how work is done, never how it is remembered. What became of an item is kept in a `Memory` under the stage,
its version and the settings that change the output; whatever was added, removed or killed, the rest stays done.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.utilities.annotations import quote
from pydantic import BaseModel

from tasks.common.caching import TaskOptions, canonical, no_keys
from tasks.common.memory import Memory
from tasks.common.settings import digest
from tasks.common.store import Store

MEAN_BATCH = 32  # a task run costs the server 50 ms; a retry of its batch redoes nothing that was finished
MOST_BATCHES = 24


class HasContent(Protocol):
    """An item that is more than its content, as a file to fetch is more than its hash."""

    def content(self) -> str: ...


P = ParamSpec("P")
I = TypeVar("I", bound=str | HasContent)  # noqa: E741
R = TypeVar("R", bound=BaseModel)


def batches(items: Sequence[I]) -> list[Sequence[I]]:
    """Cut evenly: 32 to a batch, more when that would make more than 24 of them, for each is a task run."""
    count = min(MOST_BATCHES, -(-len(items) // MEAN_BATCH))
    borders = [len(items) * i // count for i in range(count + 1)] if count else []
    return [items[begin:end] for begin, end in pairwise(borders)]


def name_of(item: str | HasContent) -> str:
    """What an item is remembered by."""
    return item if isinstance(item, str) else item.content()


@dataclass(frozen=True)
class Plan(Generic[I, R]):
    """What is known of some items, and the batches of those that are left to do by `run`."""

    names: list[str]
    known: dict[str, R]
    batches: list[Sequence[I]]
    run: Callable[[Sequence[I], int, Callable[[int], None]], Any]
    memory: Memory[R]

    def results(self, ran: dict[str, R]) -> list[R]:
        """In the order of the items, each once."""
        results = self.known | ran
        return [results[name] for name in self.names]


@dataclass(frozen=True)
class MappedTask(Generic[I, P, R]):
    """`work` on many items, remembered one by one; see `mapped_task`."""

    work: Callable[Concatenate[Sequence[I], P], Iterator[tuple[I, R]] | AsyncIterator[tuple[I, R]]]
    stage: str
    version: int
    result: type[R]
    keys: Callable[[R], Iterable[str]]
    verified: Callable[[R], bool]
    ignore: tuple[str, ...]
    options: TaskOptions

    def plan(self, items: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> Plan[I, R]:
        """Look up the items; a result whose store keys are gone is not known."""
        by_name = {name_of(item): item for item in items}
        memory = self.memory(*args, **kwargs)
        known = self._known(memory, by_name)
        left = [item for name, item in by_name.items() if name not in known]
        cut = batches(left)
        run = self._task(memory, args, kwargs)

        def run_batch(batch: Sequence[I], number: int, done: Callable[[int], None]) -> Any:
            named = run.with_options(task_run_name=f"{self.stage} {number} of {len(cut)}, {len(batch)} items")
            return named(quote(batch), quote(done))

        return Plan(list(by_name), known, cut, run_batch, memory)

    def known(self, items: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> dict[str, R]:
        """What is remembered of the items, by name."""
        return self._known(self.memory(*args, **kwargs), map(name_of, items))

    def memory(self, *args: P.args, **kwargs: P.kwargs) -> Memory[R]:
        """What is remembered for these arguments."""
        bound = inspect.signature(self.work).bind((), *args, **kwargs)
        bound.apply_defaults()
        values = list(bound.arguments.items())[1:]
        key = digest({name: canonical(value) for name, value in values if name not in self.ignore})
        return Memory(Store(), f"{self.stage}-v{self.version}-{key[:32]}", self.result)

    def _known(self, memory: Memory[R], names: Iterable[str]) -> dict[str, R]:
        remembered = memory.load()
        found = {name: remembered[name] for name in names if name in remembered}
        missing = Store().missing(key for results in found.values() for result in results for key in self.keys(result))
        kept = ((name, [r for r in results if missing.isdisjoint(self.keys(r))]) for name, results in found.items())
        return {name: results[0] for name, results in kept if results}

    def _task(self, memory: Memory[R], args: Any, kwargs: Any) -> Task[..., Any]:
        """The Prefect task of a batch: (items, progress) → name → result. A retry does what the try before left."""
        work: Callable[..., Any] = self.work

        def left(items: Sequence[I]) -> tuple[list[I], dict[str, R]]:
            context = TaskRunContext.get()
            again = context is not None and context.task_run.run_count > 1
            known = self._known(memory, map(name_of, items)) if again else {}
            return [item for item in items if name_of(item) not in known], known

        def run(items: Sequence[I], done: Callable[[int], None]) -> dict[str, R]:
            todo, results = left(items)
            with memory.writing() as writer:
                for item, result in work(todo, *args, **kwargs):
                    self._note(writer, results, item, result)
                    done(1)
            return results

        async def arun(items: Sequence[I], done: Callable[[int], None]) -> dict[str, R]:
            todo, results = left(items)
            with memory.writing() as writer:
                async for item, result in work(todo, *args, **kwargs):
                    self._note(writer, results, item, result)
                    done(1)
            return results

        batch: Callable[..., Any] = arun if inspect.isasyncgenfunction(work) else run
        batch.__name__, batch.__qualname__ = work.__name__, work.__qualname__
        batch.__module__, batch.__doc__ = work.__module__, work.__doc__
        return task(name=self.stage, cache_policy=NO_CACHE, persist_result=False, **self.options)(batch)

    def _note(self, writer: Any, results: dict[str, R], item: I, result: R) -> None:
        results[name_of(item)] = result
        if self.verified(result):
            writer.add(name_of(item), result)


def mapped_task(
    stage: str,
    version: int,
    result: type[R],
    *,
    keys: Callable[[R], Iterable[str]] = no_keys,
    verified: Callable[[R], bool] = lambda result: True,
    ignore: tuple[str, ...] = (),
    **options: Unpack[TaskOptions],
) -> Callable[
    [Callable[Concatenate[Sequence[I], P], Iterator[tuple[I, R]] | AsyncIterator[tuple[I, R]]]], MappedTask[I, P, R]
]:
    """A task on many items, written as a generator: (items, …) → pairs of item and result, in any order.

    Each pair is remembered as it comes, by `stage`, `version`, the arguments but those to `ignore`, and the item. A
    result that is not `verified` is handed on and tried again in the next run. Raise `version` when the same arguments
    give another result. `flows.common.stage` calls it with the items that are missing, a batch to a task run.
    """

    def decorate(
        work: Callable[Concatenate[Sequence[I], P], Iterator[tuple[I, R]] | AsyncIterator[tuple[I, R]]],
    ) -> MappedTask[I, P, R]:
        return MappedTask(work, stage, version, result, keys, verified, ignore, options)

    return decorate
