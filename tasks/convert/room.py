"""Decoded pictures are large: those of all threads share one bound of pixels, however many threads there are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIXELS = 64_000_000  # of pictures being converted at once, in a process; a pixel takes up to 16 bytes on its way


class Room:
    """Room for so many pixels, given in the order it is asked for. A picture larger than all of it is alone in it."""

    def __init__(self, pixels: int):
        self._all = self._free = pixels
        self._first = threading.Lock()  # held by whoever is next, so that small pictures don't overtake a large one
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Wait for room of so many pixels, and hold it."""
        wanted = min(pixels, self._all)
        with self._first, self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


SHARED = Room(PIXELS)
