"""Progress of a stage for whoever is looking: a bar on a terminal, elsewhere a line every ten seconds."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

LINE_SECONDS = 10.0


def tell(line: str) -> None:
    """A line for those who see no bar, on stderr."""
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


def say(line: str, to: TextIO | None = None) -> None:
    """A line, by default on stderr, which a terminal that is gone doesn't need; from then on nothing is said to it."""
    stream = to or sys.stderr
    try:
        print(line, file=stream, flush=True)
    except OSError:  # Python would try again when it ends, and make its status 120
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Progress:
    """Counts finished items of one stage; `note` is shown beside the count."""

    def __init__(self, stage: str, total: int, unit: str):
        self.stage, self.total, self.unit = stage, total, unit
        self.done, self._said = 0, time.monotonic()
        self._bar = tqdm(total=total, desc=f"{stage:9}", unit=f" {unit}", leave=True) if sys.stderr.isatty() else None

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more items are done."""
        self.done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            tell(f"{self.stage}: {self.done} of {self.total} {self.unit} {note}".rstrip())

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress(stage: str, total: int, unit: str) -> Generator[Progress]:
    """A Progress that is closed whatever happens."""
    bar = Progress(stage, total, unit)
    try:
        yield bar
    finally:
        bar.close()
