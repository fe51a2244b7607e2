"""Which point is recommended. The rule, in words:

1. A point must keep enough of the base. It is left out when its composition, or its prompt agreement, is shown to be
   below what is to be kept: when the whole of its 90 % interval lies below.
2. It must not copy. It is left out when more of its pictures than of the wiki's held-out ones lie as near to a trained
   picture as a copy, and this is shown: when the whole interval of that share lies above.
3. Of the points left, the one nearest to the wiki in style is the best; and all are as good whose difference from it,
   measured on the same subjects and noise, can't be told from none.
4. Of those that are as good, the earliest epoch is recommended, and of its strengths the least: it has changed least.

When several are as good, it says that it can't tell them apart; when the style of the best can't be told from the
base's, that it can't tell whether anything was learned; when no point is left, it recommends none.
"""

from collections.abc import Sequence

from tasks.common.records import Snapshot
from tasks.measure.judge import Point, style_difference
from tasks.measure.records import Anchors, Measures, Recommendation
from tasks.measure.settings import MeasureSettings


def agreement_limit(anchors: Anchors, settings: MeasureSettings) -> float:
    """The prompt agreement to be kept: this share of the way from the wiki's own drawings up to the base.

    The base's own where the wiki's drawings go better with their captions than the base's pictures.
    """
    base = anchors.base_agreement.value
    return base - (1 - settings.agreement_kept) * max(0.0, base - anchors.drawings_agreement.value)


def faults(measures: Measures, anchors: Anchors, settings: MeasureSettings) -> list[str]:
    """Why a point can't be recommended, in words; empty when it can."""
    found = []
    if measures.composition.high < settings.composition_kept:
        found.append(f"keeps too little of the composition ({measures.composition.value:.2f})")
    if measures.prompt_agreement.high < agreement_limit(anchors, settings):
        found.append(f"follows its prompts too little ({measures.prompt_agreement.value:.3f})")
    if measures.copies.low > anchors.copies_null:
        found.append(f"copies trained pictures ({measures.copies.value:.0%} of its pictures)")
    return found


def recommend(points: Sequence[Point], anchors: Anchors, settings: MeasureSettings) -> Recommendation:
    """The recommended point and the reason in a sentence or two; the first of `points` is the base's."""
    base, tuned = points[0], points[1:]
    fit = [point for point in tuned if not faults(point.measures, anchors, settings)]
    if not fit:
        return Recommendation(epoch=None, strength=None, because=_none_fits(tuned, anchors, settings))
    best = min(fit, key=lambda point: point.measures.style_distance.value)
    if style_difference(base, best).low <= 0:
        because = (
            f"Can't tell: the style of {best.name} is not shown to be nearer to the wiki than the base's. "
            f"Train longer, or measure more than {anchors.subjects} subjects."
        )
        return Recommendation(epoch=None, strength=None, because=because)
    equal = [point for point in fit if point is best or style_difference(point, best).low <= 0]
    chosen = min(equal, key=lambda point: (point.measures.epoch, point.measures.strength))
    others = [point.name for point in equal if point is not chosen]
    because = f"{_reason(chosen, anchors)} {_beside(others, anchors)}{_left_out(tuned, chosen, anchors, settings)}"
    return Recommendation(
        epoch=chosen.measures.epoch, strength=chosen.measures.strength, because=because, told_apart=not others
    )


def _reason(chosen: Point, anchors: Anchors) -> str:
    measures, way = chosen.measures, chosen.measures.style_way
    return (
        f"{chosen.name[0].upper()}{chosen.name[1:]} has gone {way.value:.0%} of the way from the base's style to the "
        f"wiki's (90 % interval: {way.low:.0%} to {way.high:.0%}) and keeps {measures.composition.value:.2f} of the "
        f"composition; "
        f"{measures.copies.value:.0%} of its pictures lie as near to a trained one as a copy "
        f"(held-out pictures: {anchors.copies_null:.0%})."
    )


def _beside(others: list[str], anchors: Anchors) -> str:
    if not others:
        return "No other point that qualifies is as near to the wiki's style."
    return (
        f"Whether {_listed(others)} {'is' if len(others) == 1 else 'are'} any nearer, {anchors.subjects} subjects "
        "can't tell; of what can't be told apart the earliest is taken."
    )


def _left_out(tuned: Sequence[Point], chosen: Point, anchors: Anchors, settings: MeasureSettings) -> str:
    """Why the last snapshot was not taken, if it was left out: people expect it."""
    last = max(tuned, key=lambda point: (point.measures.epoch, point.measures.strength))
    found = faults(last.measures, anchors, settings) if last is not chosen else []
    return f" {last.name[0].upper()}{last.name[1:]}, the last, {' and '.join(found)}." if found else ""


def _none_fits(tuned: Sequence[Point], anchors: Anchors, settings: MeasureSettings) -> str:
    reasons = [f"{point.name} {' and '.join(faults(point.measures, anchors, settings))}" for point in tuned]
    return f"No point can be recommended: {'; '.join(reasons)}." if reasons else "No snapshot was trained."


def _listed(names: list[str]) -> str:
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} more"]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def promising(
    points: Sequence[Point], snapshots: Sequence[Snapshot], settings: MeasureSettings
) -> list[Snapshot]:  # fmt: skip
    """The snapshots nearest to the wiki in style, between which and the base more points are worth measuring."""
    nearest = sorted(points[1:], key=lambda point: point.measures.style_distance.value)[: settings.strengths_of]
    epochs = sorted(point.measures.epoch for point in nearest)
    return [snapshot for snapshot in snapshots if snapshot.epoch in epochs]
