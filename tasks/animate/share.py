"""A sheet to share as one picture: the wiki's own drawings, and a few prompts as the style arrives."""

import io

from PIL import Image, ImageOps

from tasks.animate.labels import INK, PAPER, SOFT, epoch_label, write
from tasks.animate.page import GalleryPage
from tasks.animate.shots import by_epoch, open_picture
from tasks.common.pictures import evenly
from tasks.common.store import Store

WIDTH, MARGIN, GAP = 1200, 40, 10  # px
MOST_PROMPTS, MOST_EPOCHS, OWN = 4, 5, 8


def share_sheet(page: GalleryPage, store: Store) -> bytes | None:
    """JPEG, 1200 px wide: title, drawings of the wiki, one row for each of four prompts, credits. None without samples.

    Raises StoreError when a picture is gone, AnimateError when an epoch lacks a seed.
    """
    prompts = evenly(list(dict.fromkeys(sample.prompt for sample in page.samples)), MOST_PROMPTS)
    if not prompts:
        return None
    rows = {prompt: by_epoch(prompt, list(page.samples)) for prompt in prompts}
    epochs = evenly(sorted(set.intersection(*(set(row) for row in rows.values()))), MOST_EPOCHS)
    own = evenly(page.dataset, OWN)
    tile = (WIDTH - 2 * MARGIN - (len(epochs) - 1) * GAP) // max(3, len(epochs))
    small = (WIDTH - 2 * MARGIN - (OWN - 1) * GAP) // OWN
    closing = [*(credit.text for credit in page.credits), "Made with wikistyle."]
    height = 150 + bool(own) * (small + 56) + 36 + len(prompts) * (tile + 48) + 30 * len(closing) + 24
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    write(sheet, (MARGIN, 78), page.title, (50, INK), WIDTH - 2 * MARGIN)
    words = f"{page.images_trained:,} drawings, one seed, the same noise in every column"
    write(sheet, (MARGIN, 118), words, (22, SOFT), WIDTH - 2 * MARGIN)
    y = 150
    if own:
        y = _row(sheet, y, "the wiki's own drawings", [open_picture(store, picture.key) for picture in own], small)
    for column, epoch in enumerate(epochs):
        write(sheet, (MARGIN + column * (tile + GAP), y + 24), epoch_label(epoch), (22, INK), tile)
    y += 36
    for prompt, row in rows.items():
        y = _row(sheet, y, prompt, [open_picture(store, row[epoch][0].key) for epoch in epochs], tile)
    for line in closing:
        write(sheet, (MARGIN, y + 18), line, (17, SOFT), WIDTH - 2 * MARGIN)
        y += 30
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=88, subsampling=0)
    return data.getvalue()


def _row(sheet: Image.Image, y: int, words: str, pictures: list[Image.Image], tile: int) -> int:
    """Pictures side by side with words under them; returns where the next row begins."""
    for column, picture in enumerate(pictures):
        fitted = ImageOps.pad(picture, (tile, tile), Image.Resampling.LANCZOS, color="white")
        sheet.paste(fitted, (MARGIN + column * (tile + GAP), y))
    write(sheet, (MARGIN, y + tile + 28), words, (22, SOFT), WIDTH - 2 * MARGIN)
    return y + tile + 48
