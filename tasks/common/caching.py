"""What a task's result is keyed by, and calling a cached task so that it says whether it ran.

A key is the stage, its version, the settings that change the output, and the content of the inputs. Not source text,
run id, path or time. Prefect's own default holds neither the task's name nor the content of what it reads.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from prefect import Task, task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import TaskRunContext
from pydantic import BaseModel

from tasks.common.settings import StageSettings, digest
from tasks.common.store import Store

P = ParamSpec("P")
T = TypeVar("T")


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
        return {str(k): canonical(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a cached task was given a {type(value).__name__}, which has no content to make a key of")


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


class TaskOptions(TypedDict, total=False):
    """Prefect's own options that a stage may set."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[..., bool]
    task_run_name: str


def no_keys(result: object) -> Iterable[str]:
    """For results that rely on nothing in the store."""
    return ()


@dataclass(frozen=True)
class CachedTask(Generic[P, T]):
    """A Prefect task whose result is kept, and the store `keys` without which a kept result is worth nothing."""

    task: Task[P, T]
    keys: Callable[[T], Iterable[str]]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """The result, kept or made now. A kept one whose keys are gone is made again."""
        return call(self.task, *args, keys_of=lambda result: list(self.keys(result)), **kwargs)


@overload
def cached_task(
    stage: str,
    version: int,
    *,
    ignore: tuple[str, ...] = (),
    policy: CachePolicy | None = None,
    always: bool = False,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, T]], CachedTask[P, T]]: ...
@overload
def cached_task(
    stage: str,
    version: int,
    *,
    keys: Callable[[T], Iterable[str]],
    ignore: tuple[str, ...] = (),
    policy: CachePolicy | None = None,
    always: bool = False,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, T]], CachedTask[P, T]]: ...
def cached_task(
    stage: str,
    version: int,
    *,
    keys: Callable[[Any], Iterable[str]] = no_keys,
    ignore: tuple[str, ...] = (),
    policy: CachePolicy | None = None,
    always: bool = False,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, T]], CachedTask[P, T]]:
    """A task that runs as a whole, once for the same `stage`, `version` and arguments but those to `ignore`.

    Raise `version` when the same arguments give another result. `policy`: a ContentKey of the stage's own, where
    arguments count for less than all they hold. `always`: it looks at the world and runs each time.
    """
    policy = NO_CACHE if always else policy or ContentKey(stage, version, ignore)

    def decorate(work: Callable[P, T]) -> CachedTask[P, T]:
        made = task(name=stage, cache_policy=policy, persist_result=True, result_serializer="json", **options)
        return CachedTask(made(work), keys)

    return decorate
