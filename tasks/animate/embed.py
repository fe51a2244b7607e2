"""The pictures inside the page: each once, as WebP, as large as the page has room for."""

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from tasks.animate.encode import WEBP_QUALITY
from tasks.animate.shots import open_picture
from tasks.common.pictures import evenly
from tasks.common.store import Store

SIDES = (512, 384, 320, 256, 192, 128, 96)  # px, of the longer side
TRIED = 24  # pictures, evenly chosen, tell what all of them will take


class Pictures:
    """Numbers for the pictures a page shows, given out while the page is put together; then the bytes of each."""

    def __init__(self, store: Store):
        self.store = store
        self.numbers: dict[tuple[str, int | None], int] = {}

    def use(self, key: str, side: int | None = None) -> int:
        """The number of a picture; `side` px at most, or as large as the room allows. The same again is no new one."""
        return self.numbers.setdefault((key, side), len(self.numbers))

    def size(self, key: str) -> tuple[int, int]:
        """Width and height in px of the picture itself. Raises StoreError."""
        return open_picture(self.store, key).size

    def encoded(self, room: int) -> list[str]:
        """Base64 of every picture by its number, of at most `room` bytes together as far as SIDES allow.

        Raises StoreError when a picture is gone.
        """
        free = [key for key, side in self.numbers if side is None]
        bound = [(key, side) for key, side in self.numbers if side is not None]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            taken = sum(map(len, threads.map(self._webp, bound)))
            side = self._side(free, room - taken)
            whole = threads.map(self._webp, [(key, own or side) for key, own in self.numbers])
            return [base64.b64encode(data).decode() for data in whole]

    def _side(self, keys: list[str], room: int) -> int:
        """The longest side at which so many pictures fit into `room` bytes of base64."""
        tried = evenly(keys, TRIED)
        for side in SIDES[:-1]:
            total = sum(len(self._webp((key, side))) for key in tried) * len(keys) / max(1, len(tried))
            if total * 4 / 3 <= room:
                return side
        return SIDES[-1]

    def _webp(self, picture: tuple[str, int]) -> bytes:
        """The picture as WebP, reduced to `side` px; a small one stays as it is."""
        key, side = picture
        image = open_picture(self.store, key)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        image.save(data, "WEBP", quality=WEBP_QUALITY, method=4)
        return data.getvalue()
