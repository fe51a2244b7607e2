"""The measures as curves over the epochs, each between its two anchors."""

from dataclasses import dataclass
from typing import Literal

from tasks.animate.page import Anchor, Figure, Measured, MeasureRow
from tasks.common.curves import Level, Point, curve_svg

Judged = Literal["style_distance", "style_way", "prompt_agreement", "composition", "copies"]
MEASURES: dict[Judged, tuple[str, str]] = {
    "style_distance": ("Style distance", "How far its pictures lie from the wiki's drawings. Less is nearer."),
    "style_way": ("Share of the way", "How much of the way from the base's style to the wiki's is gone."),
    "prompt_agreement": ("Prompt agreement", "How well a picture shows what was asked for. More is better."),
    "composition": ("Composition kept", "How much of the base model's picture is still there. 1 is all of it."),
    "copies": ("Copies", "Share of pictures nearer to a trained drawing than held-out drawings are. Less is better."),
}
PLAIN = {
    "heldout_loss": ("Loss", "The same noise on held-out pictures, and (dashed) on some that were trained on."),
    "decoder_psnr": ("Decoder", "How well the decoder gives back the wiki's drawings, in dB. More is better."),
}


@dataclass(frozen=True)
class MeasureChart:
    """One measure: its name, how to read it, its curve as an <svg> element, whether the recommended point is
    on it, and the lines it is read against.
    """

    title: str
    words: str
    svg: str
    starred: bool
    levels: tuple[Level, ...]


def measure_charts(measured: Measured) -> list[MeasureChart]:
    """A chart for each measure that at least two epochs have at strength 1, which are the snapshots themselves."""
    charts = []
    whole = sorted((row for row in measured.rows if row.strength == 1 or row.epoch == 0), key=lambda row: row.epoch)
    for measure, (title, words) in MEASURES.items():
        points = [_point(row.epoch, getattr(row, measure)) for row in whole if getattr(row, measure)]
        levels = _levels(getattr(measured.anchors, measure))
        best = _best(measured, measure)
        if svg := curve_svg(measure.replace("_", "-"), title, {"held-out": points}, levels, best):
            charts.append(MeasureChart(title, words, svg, best is not None, levels))
    for plain, (title, words) in PLAIN.items():
        series = {"held-out": [Point(r.epoch, v) for r in whole if (v := getattr(r, plain)) is not None]}
        if plain == "heldout_loss":
            series["train"] = [Point(r.epoch, r.probe_loss) for r in whole if r.probe_loss is not None]
        best = _best(measured, plain)
        if svg := curve_svg(plain.replace("_", "-"), title, series, (), best):
            charts.append(MeasureChart(title, words, svg, best is not None, ()))
    return charts


def _point(epoch: int, figure: Figure) -> Point:
    return Point(epoch, figure.value, figure.low, figure.high)


def _levels(anchor: Anchor) -> tuple[Level, ...]:
    levels = (Level("base", "the base model", anchor.base), Level("wiki", "the wiki's own drawings", anchor.wiki))
    return tuple(level for level in levels if level.value is not None)


def _best(measured: Measured, measure: str) -> Point | None:
    """Where the recommended epoch and strength lie on the chart of a measure."""
    best = measured.recommended
    row = next((row for row in measured.rows if best and _is(row, best.epoch, best.strength)), None)
    value = getattr(row, measure) if row else None
    if value is None or row is None:
        return None
    return Point(row.epoch, value.value if isinstance(value, Figure) else value)


def _is(row: MeasureRow, epoch: int | None, strength: float | None) -> bool:
    return row.epoch == epoch and (strength is None or row.strength == strength)
