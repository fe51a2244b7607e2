"""The loss curves of a training, drawn once for every place that shows them: as SVG for pages, as PNG elsewhere."""

# pyright: reportUnknownMemberType=false
# matplotlib leaves the types of its keyword arguments open.

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.common.records import EpochLoss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (8, 3.75)  # inches, at 80 dots each: 640 x 300 px
WHAT = "Loss over the epochs: train and held-out"
SALT = "wikistyle"  # matplotlib names an SVG's parts by chance unless it is told by what


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
    import matplotlib as mpl

    figure = _figure(losses, marked)
    if figure is None:
        return None
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{WHAT}"', 1)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def _figure(losses: Sequence[EpochLoss], marked: int | None) -> "Figure | None":
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
