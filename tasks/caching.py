"""Cache keys, stable batches, and calling a cached task so that it says whether it ran.

Prefect's default key holds neither the task's name nor the content of what it reads. Ours is: stage, stage version,
the settings that change the output, and the content hashes of the inputs. Not source text, run id, path or time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from pydantic import BaseModel

from tasks.settings import StageSettings, digest
from tasks.store import Store

T = TypeVar("T")
MEAN_BATCH = 32
MOST_BATCHES = 24


class ContentKey(CachePolicy):
    """Key = stage name / version / digest of the arguments, settings reduced to those that change the output.

    Arguments are records, settings, keys and numbers; one that has no canonical JSON is a programming error and
    raises TypeError, because a silent miss would redo the work for ever.
    """

    stage: str
    version: int
    ignore: tuple[str, ...] = ()

    def __init__(self, stage: str, version: int, ignore: tuple[str, ...] = ()):
        super().__init__()
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "ignore", ignore)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        content = {name: canonical(value) for name, value in inputs.items() if name not in self.ignore}
        return f"{self.stage}-v{self.version}-{digest(content)}"


def canonical(value: Any) -> Any:
    """The JSON-able content of a task argument."""
    if isinstance(value, StageSettings):
        return value.output_settings()
    if callable(content := getattr(value, "content", None)):  # a record whose identity is less than all its fields
        return canonical(content())
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a cached task was given a {type(value).__name__}, which has no content to make a key of")


def batches(items: Iterable[T], key: Callable[[T], str]) -> list[list[T]]:
    """Cut into batches whose borders depend on content alone: sorted by key, cut after a key whose hash says so.

    One item more or less changes one batch. The mean size is 32, doubled until there are at most about 24 batches;
    because it is a power of two, the borders of the larger size are among those of the smaller.
    """
    ordered = sorted(items, key=key)
    mean = MEAN_BATCH
    while len(ordered) / mean > MOST_BATCHES:
        mean *= 2
    cut: list[list[T]] = [[]]
    for item in ordered:
        cut[-1].append(item)
        if int(digest(key(item))[:12], 16) % mean == 0:
            cut.append([])
    return [batch for batch in cut if batch]


class Outcome(Generic[T]):
    """A task's result and whether it came from the cache."""

    def __init__(self, result: T, cached: bool):
        self.result, self.cached = result, cached


def call(
    task: Task[Any, Any], *args: Any, keys_of: Callable[[Any], Sequence[str]] = lambda _: (), **kwargs: Any
) -> Outcome[Any]:
    """Call a sync cached task. A hit whose store keys are gone (Prefect does not look) is computed again."""

    def once(task: Task[Any, Any]) -> Outcome[Any]:
        state: Any = task(*args, return_state=True, **kwargs)
        return Outcome(state.result(raise_on_failure=True, _sync=True), cached=state.name == "Cached")

    outcome = once(task)
    if outcome.cached and gone(keys_of(outcome.result)):
        outcome = once(task.with_options(refresh_cache=True))
    return outcome


async def call_async(
    task: Task[Any, Any], *args: Any, keys_of: Callable[[Any], Sequence[str]] = lambda _: (), **kwargs: Any
) -> Outcome[Any]:
    """`call` for an async task."""

    async def once(task: Task[Any, Any]) -> Outcome[Any]:
        state: Any = await task(*args, return_state=True, **kwargs)
        return Outcome(await state.aresult(raise_on_failure=True), cached=state.name == "Cached")

    outcome = await once(task)
    if outcome.cached and gone(keys_of(outcome.result)):
        outcome = await once(task.with_options(refresh_cache=True))
    return outcome


def gone(keys: Sequence[str]) -> bool:
    """Whether the store has lost one of the keys."""
    store = Store()
    return any(not store.has(key) for key in keys)
