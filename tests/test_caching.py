"""Cache keys hold content and nothing else, and a kept result is only as good as its bytes."""

import pytest

from tasks.caching import ContentKey, call
from tasks.settings import StageSettings, working
from tasks.store import Store


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


def test_an_input_without_content_is_an_error_and_not_a_silent_miss():
    with pytest.raises(TypeError, match="object"):
        key(client=object())


def test_a_hit_whose_bytes_are_gone_is_computed_again(prefect):
    from prefect import flow, task

    runs = []

    @task(cache_policy=ContentKey("keep", 1), persist_result=True)
    def keep(text: str) -> str:
        runs.append(text)
        return Store().put(text.encode())

    @flow
    def story() -> list[bool]:
        first = call(keep, "x", keys_of=lambda k: [k])
        second = call(keep, "x", keys_of=lambda k: [k])
        Store()._at(first.result).unlink()
        third = call(keep, "x", keys_of=lambda k: [k])
        return [first.cached, second.cached, third.cached]

    assert story() == [False, True, False]
    assert runs == ["x", "x"]
