"""Curves over the epochs of a training, drawn once for every place that shows them: SVG for pages, PNG elsewhere."""

# pyright: reportUnknownMemberType=false
# matplotlib leaves the types of its keyword arguments open.

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.common.records import EpochLoss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (8, 3.75)  # inches, at 80 dots each: 640 x 300 px
WHAT = "Loss over the epochs: train and held-out"
SMALL = (5, 2.6)  # inches: 400 x 208 px
SALT = "wikistyle"  # matplotlib names an SVG's parts by chance unless it is told by what


@dataclass(frozen=True)
class Point:
    """A value at an epoch, and its interval where it has one."""

    epoch: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Level:
    """A value that does not change over the epochs, drawn as a line; `name` becomes its id, `words` its meaning."""

    name: str
    words: str
    value: float | None


def curve_svg(
    prefix: str, what: str, series: Mapping[str, Sequence[Point]], levels: Sequence[Level], best: Point | None
) -> str | None:
    """An <svg> element of curves over epochs with their intervals; None when no curve has two points.

    The ids of its parts are `<prefix>-<name>` of a curve or a level, `…-<name>-band` of an interval, `…-best` of the
    marked point, so that several can stand in one page and be given colours there.
    """
    from matplotlib.figure import Figure

    if max((len(points) for points in series.values()), default=0) < 2:
        return None
    figure = Figure(figsize=SMALL, dpi=80, layout="constrained")
    axes = figure.add_subplot()
    for name, points in series.items():
        epochs = [point.epoch for point in points]
        banded = [point for point in points if point.low is not None and point.high is not None]
        if banded:
            low, high = [[getattr(point, end) for point in banded] for end in ("low", "high")]
            axes.fill_between([p.epoch for p in banded], low, high, alpha=0.2, linewidth=0, gid=f"{name}-band")
        style = "--" if name == "train" else "-"
        axes.plot(epochs, [p.value for p in points], marker="o", markersize=3, linestyle=style, gid=name)
    for level in levels:
        if level.value is not None:
            axes.axhline(level.value, linestyle="--" if level.name == "base" else ":", gid=level.name)
    if best:
        axes.plot([best.epoch], [best.value], marker="*", markersize=14, linestyle="", gid="best")
    _label_epochs(axes)
    svg = _svg(figure, f"{what} over the epochs")
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def loss_curve_png(losses: Sequence[EpochLoss], marked: int | None) -> bytes | None:
    """PNG, 640 x 300 px; None for fewer than two losses, which are no curve."""
    figure = _figure(losses, marked)
    if figure is None:
        return None
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def loss_curve_svg(losses: Sequence[EpochLoss], marked: int | None) -> str | None:
    """An <svg> element, the same bytes for the same losses; None for fewer than two.

    Its curves are groups with the ids `train` and `held-out`, the marked epoch's line `marked`, its text is text: a
    page's style can give them colours of its own.
    """
    figure = _figure(losses, marked)
    return _svg(figure, WHAT) if figure else None


def _svg(figure: "Figure", what: str) -> str:
    """The <svg> element of a figure, without what changes from one time to the next."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{what}"', 1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # A mark is drawn once and used many times; without a colour of its own it has that of its curve, a page's too.
    return re.sub(r'(<defs>\s*<path [^>]*style=")stroke: #\w+(?:; )?', r"\1", svg)


def _label_epochs(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)


def _figure(losses: Sequence[EpochLoss], marked: int | None) -> "Figure | None":
    from matplotlib.figure import Figure

    series = {
        "train": [(e.epoch, e.train_loss) for e in losses if e.train_loss is not None],
        "held-out": [(e.epoch, e.heldout_loss) for e in losses if e.heldout_loss is not None],
    }
    if max(len(points) for points in series.values()) < 2:
        return None
    figure = Figure(figsize=SIZE, dpi=80, layout="constrained")
    axes = figure.add_subplot()
    for name, points in series.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o", markersize=3, gid=name)
    if marked is not None:
        axes.axvline(marked, color="black", linestyle=":", label=f"held-out loss turns at epoch {marked}", gid="marked")
    _label_epochs(axes)
    axes.set_ylabel("loss")
    axes.legend()
    return figure
