"""What was measured, and drawn between snapshots, as the gallery page's own records."""

from collections.abc import Sequence

from tasks.animate.page import Anchor, Anchors, Dialled, Measured, MeasureRow, Nearest, Recommended, WikiPicture
from tasks.common.records import Between
from tasks.measure import records


def straight_of(between: Sequence[Between]) -> tuple[Dialled, ...]:
    """Of pictures (prompt, seed, since, epoch, strength, key) those on the way from the base to the last snapshot."""
    last = max((picture.epoch for picture in between), default=0)
    return tuple(
        Dialled(prompt=p.prompt, seed=p.seed, epoch=p.epoch, strength=p.strength, key=p.key)
        for p in between
        if (p.since, p.epoch) == (0, last)
    )


def measured_of(measured: records.Measured) -> Measured:
    """Rows, anchors and recommendation of the measure stage's result; a row's fields have the page's own names."""
    anchors, found = measured.anchors, measured.recommendation
    return Measured(
        rows=tuple(MeasureRow.model_validate(row, from_attributes=True) for row in measured.measures),
        anchors=Anchors(
            style_distance=Anchor(base=anchors.base_style.value, wiki=anchors.style_floor.value),
            prompt_agreement=Anchor(base=anchors.base_agreement.value, wiki=anchors.drawings_agreement.value),
            copies=Anchor(wiki=anchors.copies_null),
        )
        if anchors
        else Anchors(),
        recommended=Recommended(epoch=found.epoch, strength=found.strength, because=found.because),
    )  # fmt: skip


def nearest_of(measured: records.Measured) -> tuple[Nearest, ...]:
    """The measure stage's pairs of a snapshot's sample and the trained drawing most like it."""
    return tuple(
        Nearest(
            sample=Dialled(
                prompt=pair.prompt, seed=pair.seed, epoch=pair.epoch, strength=min(pair.epoch, 1), key=pair.sample
            ),
            trained=WikiPicture(
                key=pair.trained.key, title=pair.trained.title, uploader=pair.trained.uploader,
                license=pair.trained.license, page_url=pair.trained.page_url,
            ),
            similarity=pair.likeness,
            copied=pair.copied,
        )
        for pair in measured.nearest
    )  # fmt: skip
