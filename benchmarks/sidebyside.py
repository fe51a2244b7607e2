"""Running two functions in turn and taking medians."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Medians of alternating runs; `ratio` is ours / theirs for speeds: above 1 is better."""

    name: str
    ours: float
    theirs: float
    ratio: float
    unit: str


def compare(name: str, ours: Callable[[], int], theirs: Callable[[], int], unit: str, rounds: int = 5) -> Result:
    """Each function does its work once and returns how many items it did; one warm-up, then `rounds` in turn."""
    ours()
    theirs()
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for function, taken in zip((ours, theirs), speeds, strict=True):
            began = time.perf_counter()
            items = function()
            taken.append(items / (time.perf_counter() - began))
    a, b = (statistics.median(taken) for taken in speeds)
    return Result(name, a, b, a / b, unit)
