"""Cache keys hold content and nothing else, and a kept result is only as good as its bytes."""

import hashlib
from pathlib import Path

import pytest
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from tasks.common.caching import CachedTask, ContentKey, cached_task, call, call_async, canonical, no_keys
from tasks.common.settings import StageSettings, working
from tasks.common.store import Store


class Some(StageSettings):
    quality: int = 95
    connections: int = working(2)


def key(stage="s", version=1, **inputs):
    return ContentKey(stage, version).compute_key(None, inputs, {})  # type: ignore[arg-type]


def test_a_key_is_stage_version_output_settings_and_inputs():
    same = key(keys=("a", "b"), settings=Some())
    assert key(keys=["a", "b"], settings=Some(connections=8)) == same
    assert key(keys=("a", "c"), settings=Some()) != same
    assert key(keys=("a", "b"), settings=Some(quality=90)) != same
    assert key(version=2, keys=("a", "b"), settings=Some()) != same
    assert key(stage="t", keys=("a", "b"), settings=Some()) != same


def test_a_key_is_readable_and_the_same_in_every_process():
    """The very text: another one would redo everything that any user has."""
    wanted = hashlib.sha256(b'{"keys":["a","b"],"settings":{"quality":95}}').hexdigest()
    assert key(keys=("a", "b"), settings=Some(connections=9)) == f"s-v1-{wanted}"


def test_what_is_ignored_is_in_no_key():
    def ignoring(**inputs):
        return ContentKey("s", 1, ignore=("where", "how")).compute_key(None, inputs, {})  # type: ignore[arg-type]

    assert ignoring(keys="a", where=1, how=object()) == ignoring(keys="a") == key(keys="a")
    assert ignoring(keys="b", where=1) != ignoring(keys="a")


class Whole(BaseModel):
    path: Path
    number: int


class Part(Whole):
    def content(self):
        return {"number": (self.number, None, True, 0.5), 3: Whole(path=Path("x"), number=1)}


def test_the_content_of_an_argument_is_json():
    assert canonical(Whole(path=Path("x"), number=1)) == {"path": "x", "number": 1}
    assert canonical(Part(path=Path("x"), number=2)) == {
        "number": [2, None, True, 0.5],
        "3": {"path": "x", "number": 1},
    }
    assert canonical([Some(quality=3), ("a",)]) == [{"quality": 3}, ["a"]]
    for wrong in (object(), b"bytes", {1, 2}, Path("x"), [1, [object()]]):
        with pytest.raises(TypeError, match=r"a cached task was given a \w+, which has no content to make a key of"):
            canonical(wrong)


def test_an_input_without_content_is_an_error_and_not_a_silent_miss():
    with pytest.raises(TypeError, match="object"):
        key(client=object())


class Called:
    """What `call` needs of a Prefect task: it says Cached the second time, unless told to refresh."""

    def __init__(self, log: list, key: str, refresh: bool = False):
        self.log, self.key, self.refresh = log, key, refresh

    def with_options(self, refresh_cache: bool):
        return Called(self.log, self.key, refresh_cache)

    def __call__(self, *args, return_state, **kwargs):
        assert return_state is True
        name = "Completed" if self.refresh or not self.log else "Cached"
        self.log.append((args, kwargs, name))
        return Answer(name, f"{self.key}{len(self.log)}")


class Answer:
    def __init__(self, name: str, value: str):
        self.name, self.value = name, value

    def result(self, raise_on_failure, _sync):
        assert (raise_on_failure, _sync) == (True, True)
        return self.value

    async def aresult(self, raise_on_failure):
        assert raise_on_failure is True
        return self.value


class CalledAsync(Called):
    def with_options(self, refresh_cache: bool):
        return CalledAsync(self.log, self.key, refresh_cache)

    async def __call__(self, *args, return_state, **kwargs):  # type: ignore[override]
        return super().__call__(*args, return_state=return_state, **kwargs)


@pytest.mark.parametrize("kind", [Called, CalledAsync])
async def test_a_hit_is_taken_unless_one_of_its_keys_is_gone(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path))
    there = [Store().put(b"one"), Store().put(b"two")]

    async def called(task, **more):
        outcome = call(task, 1, x=2, **more) if kind is Called else await call_async(task, 1, x=2, **more)
        return outcome.result, outcome.cached

    for keys, after in ((None, ["Cached"]), (there, ["Cached"]), ([*there, "0" * 64], ["Cached", "Completed"])):
        seen: list = []
        log: list = []
        more = {} if keys is None else {"keys_of": lambda result, keys=keys, seen=seen: seen.append(result) or keys}
        assert await called(kind(log, "r"), **more) == ("r1", False)
        assert seen == []  # what was just made is not looked for
        result = await called(kind(log, "r"), **more)
        assert result == (f"r{len(log)}", len(after) == 1)
        assert [name for _, _, name in log] == ["Completed", *after]
        assert all((args, kwargs) == ((1,), {"x": 2}) for args, kwargs, _ in log)
        assert seen == ([] if keys is None else ["r2"])


def test_a_cached_task_looks_for_the_keys_its_results_rely_on(tmp_path, monkeypatch):
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path))
    log: list = []
    relied: list = []
    again = CachedTask(Called(log, "r"), lambda result: relied.append(result) or ("0" * 64,))  # type: ignore[arg-type]
    outcome = again(1, x=2)
    assert (outcome.result, outcome.cached) == ("r1", False)
    outcome = again(1, x=2)
    assert (outcome.result, outcome.cached) == ("r3", False)
    assert relied == ["r2"]
    assert [entry[:2] for entry in log] == [((1,), {"x": 2})] * 3


def test_a_cached_task_is_keyed_and_kept_as_it_says():
    def work(number: int, where: str) -> int:
        """Its words."""
        return number

    plain = cached_task("stage", 3, ignore=("where",), retries=2, retry_delay_seconds=[1.0, 5.0])(work)
    assert plain.task.fn is work
    assert (plain.task.name, plain.task.persist_result, plain.task.result_serializer) == ("stage", True, "json")
    assert (plain.task.retries, plain.task.retry_delay_seconds) == (2, [1.0, 5.0])
    assert plain.keys is no_keys
    assert list(no_keys(1)) == []
    policy = plain.task.cache_policy
    inputs = {"number": 1, "where": object()}
    assert policy.compute_key(None, inputs, {}) == key("stage", 3, number=1)  # type: ignore[union-attr, arg-type]
    own = ContentKey("other", 1)
    assert cached_task("stage", 3, policy=own)(work).task.cache_policy == own
    always = cached_task("stage", 3, always=True, keys=lambda n: [str(n)])(work)
    assert always.task.cache_policy == NO_CACHE
    assert always.task.persist_result is True
    assert always.keys(7) == ["7"]


def test_a_hit_whose_bytes_are_gone_is_computed_again(prefect):
    from prefect import flow, task

    runs = []

    @task(cache_policy=ContentKey("keep", 1), persist_result=True)
    def keep(text: str) -> str:
        runs.append(text)
        return Store().put(text.encode())

    @flow
    def pipeline() -> list[bool]:
        first = call(keep, "x", keys_of=lambda k: [k])
        second = call(keep, "x", keys_of=lambda k: [k])
        Store()._at(first.result).unlink()
        third = call(keep, "x", keys_of=lambda k: [k])
        return [first.cached, second.cached, third.cached]

    assert pipeline() == [False, True, False]
    assert runs == ["x", "x"]
