"""Cache keys hold content and nothing else; batch borders stay where they are."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from tasks.caching import ContentKey, batches, call, canonical
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


def test_one_new_item_changes_one_batch():
    items = [f"item {i}" for i in range(700)]
    before = {tuple(batch) for batch in batches(items, key=str)}
    after = {tuple(batch) for batch in batches([*items, "a new one"], key=str)}
    assert sum(len(batch) for batch in before) == 700
    assert len(after - before) <= 2
    assert 10 < len(before) < 45


@pytest.mark.parametrize(("count", "mean"), [(768, 32), (769, 64), (1536, 64), (1537, 128)])
def test_batches_are_cut_after_items_whose_hash_says_so(count, mean):
    """A border is a hash of the key divisible by 32, or by 64, 128, … when there would be over 24 batches."""
    items = [str(i) for i in range(count)]
    wanted: list[list[str]] = [[]]
    for item in sorted(items):
        wanted[-1].append(item)
        if int(hashlib.sha256(json.dumps(item).encode()).hexdigest()[:12], 16) % mean == 0:
            wanted.append([])
    assert batches(items[::-1], key=str) == [batch for batch in wanted if batch]
    assert batches([], key=str) == []


def test_many_items_make_few_batches():
    assert len(batches([f"item {i}" for i in range(20_000)], key=str)) < 45


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
