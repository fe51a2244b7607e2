"""Several pictures in one, and inside pages that can't load files."""

import base64
import io
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageOps

T = TypeVar("T")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """The first, the last, and some at even distances between: `count` at most."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(count)]


def paste_rows(
    sheet: Image.Image, pictures: Sequence[Image.Image | None], columns: int, at: tuple[int, int] = (0, 0), gap: int = 0
) -> None:
    """Put equally large pictures on the sheet in rows of `columns`, `gap` px apart; the first one's corner is `at`.

    None leaves its place as it is.
    """
    for i, picture in enumerate(pictures):
        if picture is not None:
            down, across = divmod(i, columns)
            sheet.paste(picture, (at[0] + across * (picture.width + gap), at[1] + down * (picture.height + gap)))


def contact_sheet(pictures: Sequence[bytes | None], columns: int, cell: int = 96) -> bytes:
    """JPEG of the pictures in rows of `columns`, each fitted into a white square of `cell` px, never enlarged past it.

    `pictures` are whole image files; None leaves its square white. Raises ValueError when there are no squares.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), "white")
    paste_rows(sheet, [_fitted(data, cell - 2) if data else None for data in pictures], columns, at=(1, 1), gap=2)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=82)
    return out.getvalue()


def _fitted(data: bytes, side: int) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return ImageOps.pad(picture.convert("RGB"), (side, side), color="white")


def data_uri(data: bytes, mime: str = "image/jpeg") -> str:
    """The bytes as an address that a page can show without fetching anything (RFC 2397)."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
