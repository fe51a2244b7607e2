"""A mapped task in a process of its own, which a test kills: FIRST LAST [STOP AT], after which it hangs."""

import sys
import threading
from collections.abc import Iterator, Sequence

from prefect import flow

from flows.common.stage import stage
from tasks.common.mapped import mapped_task
from tasks.common.records import Record
from tasks.common.store import Store


class Word(Record):
    """A word made of an item, and where the store has it."""

    text: str
    key: str


@mapped_task("words", 1, Word, keys=lambda word: [word.key], ignore=("stop_at", "started"))
def words(items: Sequence[str], stop_at: int, started: dict[str, int]) -> Iterator[tuple[str, Word]]:
    """Each item as a word in the store; hangs before item `stop_at`; counts what is `started`."""
    for item in items:
        if int(item) == stop_at:
            threading.Event().wait()
        started[item] = started.get(item, 0) + 1
        text = f"word {item}"
        yield item, Word(text=text, key=Store().put(text.encode()))


@flow
def say(first: int, last: int, stop_at: int = -1) -> list[int]:
    """[cached, ran] of the words from `first` to `last`."""
    items = [f"{i:05}" for i in range(first, last)]
    with stage("words") as saying:
        said = saying.map(words, items, stop_at, {})
        saying.done(len(items), len(said))
    assert [word.text for word in said] == [f"word {item}" for item in items]
    return [saying.cached, saying.ran]


if __name__ == "__main__":
    print(say(*map(int, sys.argv[1:])), flush=True)
