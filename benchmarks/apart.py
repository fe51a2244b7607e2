"""The loops that are compared, each in a process of its own: what one sets for its process, the others don't get."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tasks.finetune.settings import FinetuneSettings


@dataclass(frozen=True)
class Apart:
    """Starts the loops of `benchmarks.finetune_throughput.Bench`, one process each, until `close`."""

    settings: FinetuneSettings
    ends: contextlib.ExitStack

    def ours(self) -> Callable[[int], float]:
        return self._start("ours")

    def in_the_loop(self) -> Callable[[int], float]:
        return self._start("in_the_loop")

    def bare(self) -> Callable[[int], float]:
        return self._start("bare")

    def _start(self, which: str) -> Callable[[int], float]:
        """step → loss, in a new process."""
        spawn: Any = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(which, self.settings, theirs), daemon=True)
        process.start()
        theirs.close()
        self.ends.callback(process.join)
        self.ends.callback(ours.close)

        def step(number: int) -> float:
            ours.send(number)
            return ours.recv()

        return step


@contextlib.contextmanager
def apart(settings: FinetuneSettings) -> Iterator[Apart]:
    """The loops of a training with these settings; their processes end with the context."""
    with contextlib.ExitStack() as ends:
        yield Apart(settings, ends)


def _serve(which: str, settings: FinetuneSettings, asked: Connection) -> None:
    from benchmarks.finetune_throughput import bench
    from tasks.common.allocator import keep_freed_memory

    if which != "in_the_loop":  # as `train` does; a plain script leaves the allocator as it is
        keep_freed_memory()
    with bench(settings) as made:
        step = getattr(made, which)()
        with contextlib.suppress(EOFError):  # the comparison is over
            while True:
                asked.send(step(asked.recv()))
