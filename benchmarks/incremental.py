"""What 1 % more pictures cost: items run and time, as shares of the first run's, at 800, 2,000 and 20,000 items.

Run it by `python -m benchmarks.incremental`. 800: real pictures through `convert`. The larger sizes: a stage that puts
what it makes into the store and does nothing else, so that all that is measured is looking up and remembering.
"""

import io
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from flows.common.stage import Stage, stage
from tasks.common.mapped import mapped_task
from tasks.common.records import Record
from tasks.common.store import Store
from tasks.convert.settings import ConvertSettings
from tasks.convert.task import convert_batch


class Kept(Record):
    """What the plain stage makes of an item: where the store has it."""

    key: str


@mapped_task("plain", 1, Kept, keys=lambda kept: [kept.key])
def keep_batch(items: Sequence[str]) -> Iterator[tuple[str, Kept]]:
    """Each item's own bytes in the store."""
    store = Store()
    for item in items:
        yield item, Kept(key=store.put(item.encode()))


def picture(number: int) -> str:
    """The store key of a PNG of noise, 512 px."""
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((512, 512)).save(out, "PNG", compress_level=1)
    return Store().put(out.getvalue())


@flow
def convert(keys: list[str]) -> tuple[int, float]:
    """Items run and seconds."""
    with stage("convert") as converting:
        converting.map(convert_batch, keys, ConvertSettings())
    return _cost(converting)


@flow
def keep(items: list[str]) -> tuple[int, float]:
    """Items run and seconds."""
    with stage("plain") as keeping:
        keeping.map(keep_batch, items)
    return _cost(keeping)


def _cost(stage: Stage) -> tuple[int, float]:
    return stage.ran, stage.seconds


def main() -> None:
    print(f"{'items':>7} {'stage':8} {'first run':>10} {'1 % new ran':>18} {'in':>10} {'share':>7} {'nothing new':>12}")
    with tempfile.TemporaryDirectory() as folder, prefect_test_harness(server_startup_timeout=120):
        for count, name in ((800, "convert"), (2_000, "plain"), (20_000, "plain")):
            os.environ["WIKISTYLE_STORE"] = f"{folder}/{count}"
            run = convert if name == "convert" else keep
            more = count + count // 100
            items = [picture(i) if name == "convert" else f"item {i}" for i in range(more)]
            _, first = run(items[:count])
            ran, second = run(items)
            _, nothing = run(items)
            print(
                f"{count:7} {name:8} {first:9.2f}s {ran:8} = {100 * ran / more:5.2f} % {second:9.2f}s "
                f"{100 * second / first:6.1f}% {nothing:11.2f}s",
                flush=True,
            )


if __name__ == "__main__":
    main()
