"""The style arriving: one prompt drawn by the base model and by each snapshot, as film frames and as a still sheet."""

import io

from PIL import Image

from tasks.animate.labels import INK, PAPER, SOFT, epoch_label, write
from tasks.animate.layout import Heading, fit, frame
from tasks.animate.settings import AnimateSettings
from tasks.common.errors import WikistyleError
from tasks.common.pictures import paste_rows
from tasks.common.records import Sample
from tasks.common.store import Store


class AnimateError(WikistyleError):
    """Pictures for a film are missing; one line with which, and what to do."""


def open_picture(store: Store, key: str) -> Image.Image:
    """The RGB picture of a key."""
    return Image.open(io.BytesIO(store.read(key))).convert("RGB")


def by_epoch(prompt: str, samples: list[Sample]) -> dict[int, list[Sample]]:
    """The samples of a prompt: epochs ascending, the seeds of each in the same order. Raises AnimateError for gaps."""
    mine = [sample for sample in samples if sample.prompt == prompt]
    seeds = list(dict.fromkeys(sample.seed for sample in mine))
    found = {(sample.epoch, sample.seed): sample for sample in mine}
    if not found:
        raise AnimateError(f'there is no picture of "{prompt}"; run the sample stage with it among the prompts')
    epochs = sorted({sample.epoch for sample in mine})
    for epoch, seed in ((epoch, seed) for epoch in epochs for seed in seeds):
        if (epoch, seed) not in found:
            raise AnimateError(
                f'"{prompt}" has no picture for {epoch_label(epoch)}, seed {seed}; draw that epoch again'
            )
    return {epoch: [found[epoch, seed] for seed in seeds] for epoch in epochs}


def drift_frames(prompt: str, samples: list[Sample], settings: AnimateSettings, store: Store) -> list[Image.Image]:
    """One RGB frame for each epoch, seeds side by side, the base model first. Raises AnimateError."""
    epochs = by_epoch(prompt, samples)
    last = max(1, len(epochs) - 1)
    return [
        frame(
            [open_picture(store, sample.key) for sample in row],
            Heading(epoch_label(epoch), i / last),
            prompt,
            settings.tile,
            settings.columns,
        )
        for i, (epoch, row) in enumerate(epochs.items())
    ]


def contact_sheet(prompt: str, samples: list[Sample], tile: int, store: Store) -> Image.Image:
    """RGB: epochs downwards, seeds across, both labelled. Raises AnimateError."""
    epochs = by_epoch(prompt, samples)
    rows = [[fit(open_picture(store, sample.key), tile) for sample in row] for row in epochs.values()]
    width, height = rows[0][0].size
    gap, margin, text = max(2, tile // 32), tile // 8, max(11, tile // 8)
    left, top = margin + text * 6, margin + round(text * 3.2)
    size = (left + len(rows[0]) * (width + gap) - gap + margin, top + len(rows) * (height + gap) - gap + margin)
    sheet = Image.new("RGB", size, PAPER)
    write(sheet, (margin, margin + text), prompt, (text * 1.25, INK), sheet.width - 2 * margin)
    for column, sample in enumerate(next(iter(epochs.values()))):
        at = (left + column * (width + gap), top - text * 0.5)
        write(sheet, at, f"seed {sample.seed}", (text, SOFT), width)
    for i, (epoch, row) in enumerate(zip(epochs, rows, strict=True)):
        y = top + i * (height + gap)
        write(sheet, (margin, y + height / 2 + text * 0.35), epoch_label(epoch), (text, INK), left - margin)
        paste_rows(sheet, row, len(row), (left, y), gap)
    return sheet
