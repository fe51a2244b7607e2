"""One frame of a film: a heading, how far along it is, the pictures, the prompt."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from tasks.animate.labels import ACCENT, INK, PAPER, RULE, SOFT, write
from tasks.common.pictures import paste_rows


@dataclass(frozen=True)
class Heading:
    """What is written above the pictures, and how far along the film is, from 0 to 1."""

    text: str
    progress: float


def fit(picture: Image.Image, tile: int) -> Image.Image:
    """RGB, enlarged by the largest whole factor that stays within `tile` px of width, or reduced to it.

    Lanczos both ways: an enlarged outline stays a smooth line and not a staircase.
    """
    if picture.width <= tile:
        factor = tile // picture.width
        size = (picture.width * factor, picture.height * factor)
    else:
        size = (tile, max(1, round(picture.height * tile / picture.width)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def frame(pictures: list[Image.Image], heading: Heading, prompt: str, tile: int, columns: int) -> Image.Image:
    """RGB: equally large pictures in rows of `columns`, under the heading and above the prompt."""
    tiles = [fit(picture, tile) for picture in pictures]
    width, height = tiles[0].size
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)  # rounded up
    line = round(tile * columns**0.5 / 14)  # letters grow with the frame, but slower
    gap, margin = tile // 32, round(line * 0.6)
    top, bottom = margin + round(line * 1.45), round(line * 1.35)
    whole = columns * width + (columns - 1) * gap
    image = Image.new("RGB", (whole + 2 * margin, top + rows * (height + gap) - gap + bottom + margin // 2), PAPER)
    write(image, (margin, margin + line * 0.75), heading.text, (line, INK), whole)
    _progress(image, (margin, top - round(line * 0.35)), whole, max(2, tile // 64), heading.progress)
    paste_rows(image, tiles, columns, (margin, top), gap)
    write(image, (margin, image.height - margin * 0.9), prompt, (line * 0.72, SOFT), whole)
    return image


def _progress(image: Image.Image, at: tuple[int, int], width: int, height: int, share: float) -> None:
    draw, (x, y) = ImageDraw.Draw(image), at
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=RULE)
    if share > 0:
        draw.rectangle((x, y, x + round((width - 1) * share), y + height - 1), fill=ACCENT)
