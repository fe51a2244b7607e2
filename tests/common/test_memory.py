"""A memory loses nothing that was finished: not when killed, damaged, merged, or written by two at once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.common.mapped import batches
from tasks.common.memory import OPEN, Memory
from tasks.common.records import Record
from tasks.common.store import Store


class Done(Record):
    text: str


@pytest.fixture
def memory(shared_store: str) -> Memory[Done]:
    return Memory(Store(), "stage-v1-abc", Done)


def remember(memory: Memory[Done], *items: str) -> None:
    with memory.writing() as writer:
        for item in items:
            writer.add(item, Done(text=item.upper()))


def known(memory: Memory[Done]) -> dict[str, str]:
    found = memory.load()
    assert all(len(results) == 1 for results in found.values())
    return {item: results[0].text for item, results in found.items()}


def test_what_one_writer_adds_every_reader_knows(memory):
    assert known(memory) == {}
    remember(memory, "a", "b")
    remember(memory, "b", "ü \ud800 \n")
    again: Memory[Done] = Memory(Store(), "stage-v1-abc", Done)
    assert known(again) == {"a": "A", "b": "B", "ü \ud800 \n": "Ü \ud800 \n"}
    assert known(Memory(Store(), "stage-v2-abc", Done)) == {}


def test_items_are_known_while_their_writer_still_works(memory):
    with memory.writing() as writer:
        writer.add("a", Done(text="A"))
        while not (found := known(memory)):  # an object store is written to once a second
            pass
        assert found == {"a": "A"}


def test_many_segments_become_one_and_nothing_is_lost(memory):
    with memory.writing() as writer:  # of a run beside this one
        writer.add("open", Done(text="OPEN"))
        for i in range(20):
            remember(memory, f"item {i}", f"item {i + 1}")
        while "open" not in known(memory):
            pass
        memory.tidy()
        names = memory._names()
        assert [name.startswith(OPEN) for name in names].count(True) == 1
        assert len(names) == 2
        writer.add("late", Done(text="LATE"))
    assert known(memory) == {f"item {i}": f"ITEM {i}" for i in range(21)} | {"open": "OPEN", "late": "LATE"}
    memory.tidy()
    assert len(memory._names()) == 2, "few segments are left alone"


def test_what_a_killed_writer_left_is_merged_after_a_day(memory):
    with memory.writing() as writer:
        writer.add("left", Done(text="LEFT"))
        while not known(memory):
            pass
        (left,) = memory._names()
        data = (memory.folder / left).read_bytes()
    for number in range(20):
        (memory.folder / f"{OPEN}{number}.lines").write_bytes(data)
    memory.tidy()
    assert len(memory._names()) == 20 + 1
    memory.tidy(datetime.now(UTC) + timedelta(days=2))
    assert len(memory._names()) == 1
    assert known(memory) == {"left": "LEFT"}


def test_damaged_records_cost_their_own_items_alone(memory, caplog):
    remember(memory, *"abcdef")
    (name,) = memory._names()
    lines = (memory.folder / name).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"text": "B"', b'"text": "X"')  # still a line, but not what was written
    lines[3] = b"\x00" * (len(lines[3]) - 1) + b"\n"
    (memory.folder / name).write_bytes(b"".join(lines)[:-3])  # and the last is torn
    assert known(memory) == {"a": "A", "c": "C", "e": "E"}
    assert "damaged" in caplog.text
    remember(memory, "b", "d", "f")
    assert known(memory) == {item: item.upper() for item in "abcdef"}


def test_records_of_another_shape_are_not_known(memory):
    class Other(Record):
        number: int

    with Memory(Store(), "stage-v1-abc", Other).writing() as writer:
        writer.add("a", Other(number=1))
    assert memory.load() == {}


@pytest.mark.slow
def test_readers_and_writers_beside_merges_lose_nothing(memory):
    """Two writers and a merger at work while a reader looks: it never knows less than before."""
    remember(memory, "first")
    ended = threading.Event()

    def work(name: str) -> None:
        own: Memory[Done] = Memory(Store(), "stage-v1-abc", Done)
        for i in range(40):
            remember(own, f"{name} {i}")
            own.tidy()

    workers = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    closer = threading.Thread(target=lambda: ([worker.join() for worker in workers], ended.set()))
    closer.start()
    seen: set[str] = set()
    while not ended.is_set():
        now = set(known(memory))
        assert seen <= now
        seen = now
    assert len(known(memory)) == 81
    assert len(memory._names()) <= 18


@pytest.mark.slow
@pytest.mark.parametrize("shared_store", ["s3"], indirect=True)
def test_20000_items_on_s3_are_a_few_objects_and_a_few_requests(memory, shared_store, monkeypatch):
    """As a run's 24 batches leave them, then 1 % more. S3's time is requests: they are counted."""
    fs, requests = memory.folder.fs, []
    call = fs.__class__._call_s3

    async def counted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        requests.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(fs.__class__, "_call_s3", counted)
    items = [f"{i:064x}" for i in range(20_200)]
    for batch in batches(items[:20_000]):
        remember(memory, *batch)
    memory.tidy()
    assert len(memory._names()) == 1

    requests.clear()
    found = known(Memory(Store(), "stage-v1-abc", Done))
    assert set(found) == set(items[:20_000])
    assert 1 <= len(requests) <= 3, requests

    requests.clear()
    remember(memory, *items[20_000:])
    memory.tidy()
    assert 1 <= len(requests) <= 5, requests
    assert len(memory._names()) == 2
    assert set(known(memory)) == set(items)
    fs.invalidate_cache()
    assert len(fs.find(Store().root.path)) == 2, "nothing else is in the bucket"


def test_a_store_says_which_of_many_keys_are_missing(shared_store: str, monkeypatch):
    store = Store()
    here = [store.put(f"object {i}".encode()) for i in range(12)]
    gone = "0" * 64
    assert store.missing([*here, gone]) == {gone}
    monkeypatch.setattr("tasks.common.store.FEW_KEYS", 3)
    assert store.missing([*here, gone]) == {gone}
    store._at(here[0]).unlink()
    assert store.missing([*here, gone]) == {gone, here[0]}
    assert store.missing([]) == set()
