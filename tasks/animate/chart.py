"""The loss curve as coordinates of an SVG drawing; the page's template draws it in its own colours."""

import math
from dataclasses import dataclass

from tasks.records import EpochLoss

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 14, 36


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place in px and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """`lines`: name → (x, y) points in px; `marked`: x of the recommended epoch."""

    lines: dict[str, list[tuple[float, float]]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marked: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def round_marks(low: float, high: float) -> list[float]:
    """Two to seven values with 1, 2 or 5 as the only digit of their distance, from below `low` to above `high`."""
    span = high - low or abs(high) or 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    below = math.floor(low / step + 1e-9)
    above = max(below + 1, math.ceil(high / step - 1e-9))
    return [round(i * step, 10) for i in range(below, above + 1)]


def loss_chart(losses: tuple[EpochLoss, ...], recommended: int | None) -> Chart | None:
    """None when fewer than two losses are known: one point is no curve."""
    series = {
        "train": [(loss.epoch, loss.train_loss) for loss in losses if loss.train_loss is not None],
        "held-out": [(loss.epoch, loss.heldout_loss) for loss in losses if loss.heldout_loss is not None],
    }
    points = [point for line in series.values() for point in line]
    if max(len(line) for line in series.values()) < 2:
        return None
    epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
    marks = round_marks(min(values), max(values))
    low, high = marks[0], marks[-1]
    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        return round(LEFT + (epoch - first) / max(1, last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP), 1)

    step = max(1, -(-(last - first) // 8))
    return Chart(
        lines={name: [(x(e), y(v)) for e, v in line] for name, line in series.items() if line},
        x_ticks=[Tick(x(epoch), str(epoch)) for epoch in range(first, last + 1, step)],
        y_ticks=[Tick(y(value), f"{value:.{decimals}f}") for value in marks],
        marked=x(recommended) if recommended is not None and first <= recommended <= last else None,
    )
