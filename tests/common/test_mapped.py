"""A mapped task does exactly the missing items, whatever the size, whatever was removed, wherever it was killed."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client

from flows.common.report import StageFailed
from flows.common.stage import stage
from tasks.common.caching import cached_task
from tasks.common.mapped import batches, mapped_task
from tasks.common.records import Record
from tasks.common.settings import StageSettings, working
from tasks.common.store import Store
from tasks.convert.settings import ConvertSettings
from tasks.convert.task import convert_batch
from tests.slow_words import say, words

ROOT = Path(__file__).parents[2]


class Number(Record):
    half: int


class Some(StageSettings):
    quality: int = 95
    connections: int = working(2)


@mapped_task("half", 1, Number, verified=lambda number: number.half >= 0)
def halves(items: Sequence[str], settings: Some, fail_at: str = "") -> Iterator[tuple[str, Number]]:
    """Half of each even number; an odd one has none now; the last come first."""
    for item in reversed(items):
        if item == fail_at:
            raise ValueError(f"{item} is no number")
        yield item, Number(half=-1 if int(item) % 2 else int(item) // 2)


def task_runs() -> int:
    with get_client(sync_client=True) as client:
        return client.request("POST", "/task_runs/count", json={}).json()


@pytest.mark.parametrize("count", [0, 1, 32, 33, 800, 2_000, 20_000])
def test_batches_are_few_and_even(count):
    cut = batches([str(i) for i in range(count)])
    assert [item for batch in cut for item in batch] == [str(i) for i in range(count)]
    assert len(cut) <= 24
    sizes = {len(batch) for batch in cut}
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(cut) == 1 if 0 < count <= 32 else max(sizes, default=0) <= max(32, -(-count // 24))


@flow
def halve(first: int, last: int) -> list[int]:
    """[cached, ran] of every second number of a range."""
    items = [str(i) for i in range(first, last, 2)]
    with stage("half") as halving:
        numbers = halving.map(halves, items, Some())
        halving.done(len(items), len(numbers))
    assert [number.half for number in numbers] == [int(item) // 2 for item in items]
    return [halving.cached, halving.ran]


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_one_percent_new_is_all_that_runs(prefect, count):
    before = task_runs()
    assert halve(0, 2 * count) == [0, count]
    assert task_runs() - before <= 24
    new = count // 100
    assert halve(0, 2 * (count + new)) == [count, new]
    assert halve(4, 2 * count) == [count - 2, 0], "removing items costs nothing"
    assert halve(0, 2 * (count + new)) == [count + new, 0]


@pytest.mark.slow
@pytest.mark.parametrize("shared_store", ["s3"], indirect=True)
def test_one_percent_new_is_all_that_runs_on_s3_and_the_bucket_stays_small(prefect, shared_store):
    assert halve(0, 40_000) == [0, 20_000]
    assert halve(0, 40_400) == [20_000, 200]
    assert halve(4, 40_000) == [19_998, 0]
    root = Store().root
    root.fs.invalidate_cache()
    assert root.protocol == "s3"
    assert len(root.fs.find(root.path)) <= 8


def test_one_percent_new_of_real_pictures_is_all_that_is_converted(prefect):
    def picture(number: int) -> str:
        out = io.BytesIO()
        Image.new("RGB", (64, 64), (number % 256, number // 256, 9)).save(out, "PNG")
        return Store().put(out.getvalue())

    @flow
    def convert(keys: list[str]) -> list[int]:
        with stage("convert") as converting:
            done = converting.map(convert_batch, keys, ConvertSettings())
        assert [item.key for item in done if item.jpeg_key] == keys
        return [converting.cached, converting.ran]

    keys = [picture(i) for i in range(808)]
    assert convert(keys[:800]) == [0, 800]
    assert convert(keys[2:]) == [798, 8]
    assert convert(keys) == [808, 0]


@contextmanager
def child(*arguments: int) -> Iterator[subprocess.Popen[str]]:
    """`tests.slow_words` in a process of its own, on this test's server; killed when the test is done with it."""
    from prefect.settings import PREFECT_API_URL

    env = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    command = [sys.executable, "-m", "tests.slow_words", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_was_finished_before_a_kill_stays(prefect, shared_store):
    """Hangs in the middle of its only batch, is killed by SIGKILL, and the next run does what was left of the batch."""
    memory = words.memory(-1, {})
    with child(0, 30, 12) as process:
        while len(memory.load()) < 12:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert say(0, 30) == [12, 18]


def test_two_runs_at_once_hurt_nothing(prefect, shared_store):
    with child(0, 60) as one, child(30, 90) as other:
        counts = [process.communicate()[0] for process in (one, other)]
    assert all(text.startswith("[") for text in counts), "each had all its words right"
    assert say(0, 90) == [90, 0]


def test_a_result_whose_bytes_are_gone_is_made_again(prefect, shared_store):
    assert say(0, 20) == [0, 20]
    result = words.memory(-1, {}).load()["00003"][0]
    Store()._at(result.key).unlink()
    assert say(0, 20) == [19, 1]
    assert say(0, 20) == [20, 0]


def test_only_settings_that_change_the_output_make_it_run_again(prefect):
    @flow
    def pipeline(settings: Some) -> list[int]:
        with stage("half") as halving:
            numbers = halving.map(halves, ["2", "4", "2"], settings)
            halving.done(2, len(numbers))
        assert [number.half for number in numbers] == [1, 2]
        return [halving.cached, halving.ran]

    assert pipeline(Some()) == [0, 2]
    assert pipeline(Some(connections=8)) == [2, 0]
    assert pipeline(Some(quality=50)) == [0, 2]


def test_what_is_not_verified_is_handed_on_and_tried_again(prefect):
    @flow
    def pipeline() -> list[int]:
        with stage("half") as halving:
            numbers = halving.map(halves, ["1", "2"], Some())
            halving.done(2, len(numbers))
        assert [number.half for number in numbers] == [-1, 1]
        return [halving.cached, halving.ran]

    assert pipeline() == [0, 2]
    assert pipeline() == [1, 1]


def test_a_batch_that_fails_keeps_what_it_had_finished_and_says_why_in_a_line(prefect):
    @flow
    def pipeline(fail_at: str) -> list[int]:
        with stage("half") as halving:
            halving.done(4, len(halving.map(halves, ["2", "4", "6", "8"], Some(), fail_at)))
        return [halving.cached, halving.ran]

    with pytest.raises(StageFailed, match=r"^stage half failed: 4 is no number$"):
        pipeline("4")
    remembered = halves.memory(Some(), "4").load()
    assert remembered.keys() == {"6", "8"}


def test_a_cached_task_says_whether_it_ran_and_looks_for_its_bytes(prefect):
    def keys(key: str) -> list[str]:
        return [key]

    @cached_task("shout", 1, keys=keys, ignore=("where",))
    def shout(text: str, where: str = "") -> str:
        return Store().put(text.upper().encode())

    @cached_task("clock", 1, always=True)
    def clock() -> int:
        return 1

    @flow
    def pipeline() -> list[tuple[int, int]]:
        counts = []
        for where in ("here", "there", "gone"):
            with stage("shout") as shouting:
                key = shouting.run(shout, "hello", where=where)
                shouting.run(clock)
            counts.append((shouting.cached, shouting.ran))
            if where == "there":
                Store()._at(key).unlink()
        return counts

    assert pipeline() == [(0, 2), (1, 1), (0, 2)]
