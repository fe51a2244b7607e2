"""Many pictures in one small JPEG, for pages that can't load files."""

import base64
import io
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageOps

T = TypeVar("T")


def contact_sheet(pictures: Sequence[bytes | None], columns: int, cell: int = 96) -> bytes:
    """JPEG of the pictures in rows of `columns`, each fitted into a white square of `cell` px, never enlarged past it.

    `pictures` are whole image files; None leaves its square white. Raises ValueError when there are no squares.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), "white")
    for i, data in enumerate(pictures):
        if data is None:
            continue
        with Image.open(io.BytesIO(data)) as picture:
            fitted = ImageOps.pad(picture.convert("RGB"), (cell - 2, cell - 2), color="white")
        sheet.paste(fitted, (i % columns * cell + 1, i // columns * cell + 1))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=82)
    return out.getvalue()


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items from evenly through them, the first and the last among them."""
    count = min(count, len(items))
    return [items[i * (len(items) - 1) // max(1, count - 1)] for i in range(count)]


def data_uri(data: bytes, mime: str = "image/jpeg") -> str:
    """The bytes as an address that a page can show without fetching anything (RFC 2397)."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
