"""Pictures of a training for its page in Prefect, inside markdown: an artifact holds text alone."""

import html
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tasks.common.curves import loss_curve_png
from tasks.common.pictures import data_uri, evenly, paste_rows
from tasks.common.records import Training
from tasks.finetune.result import summary, turning_point
from tasks.finetune.training.preview_files import kept_previews

COLUMNS, ROWS = 6, 6
CELL, HEAD = 128, 20  # px
LARGEST = 105_000  # bytes of a JPEG, of which base64 makes 140 kB: each artifact is a row of the server's database


def preview_page(folder: Path, prompts: tuple[str, ...]) -> str:
    """Markdown of the previews in `folder`: a row for each of the first prompts, a column for some of the snapshots."""
    lines = [f"{number}. {html.escape(prompt)}" for number, prompt in enumerate(prompts[:ROWS], start=1)]
    picture = data_uri(_jpeg(preview_sheet(folder, len(prompts))))
    return "\n".join([f"![previews of the snapshots]({picture})", "", *lines])


def preview_sheet(folder: Path, prompts: int) -> Image.Image:
    """RGB, at most 768 px wide: the first and the newest snapshot and some evenly between them, six at most."""
    previews = kept_previews(folder)
    epochs = evenly(sorted(previews), COLUMNS)
    rows = min(prompts, ROWS)
    sheet = Image.new("RGB", (len(epochs) * CELL, HEAD + rows * CELL), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, epoch in enumerate(epochs):
        pen.text((column * CELL + 4, 2), f"epoch {epoch}" if epoch else "base", fill="black", font=font)
        paste_rows(sheet, [_cell(path) for path in previews[epoch][:rows]], 1, at=(column * CELL, HEAD))
    return sheet


def _cell(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)


def losses_page(training: Training) -> str:
    """Markdown of a finished training: its loss curve, and the table of its snapshots."""
    curve = loss_curve_png(training.losses, turning_point(training))
    picture = [f"![train and held-out loss of each epoch]({data_uri(curve, 'image/png')})", ""] if curve else []
    return "\n".join([*picture, summary(training)])


def _jpeg(picture: Image.Image) -> bytes:
    """As good a JPEG as `LARGEST` bytes allow."""
    for quality in (88, 70, 50, 30, 10):
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()
