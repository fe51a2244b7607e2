"""Rows with real JPEGs, made up from a number."""

import hashlib
import io
from dataclasses import dataclass, field

from PIL import Image

from tasks.common.records import CaptionedImage, DatasetRef, Jpeg, Original, Reject, WikiImage
from tasks.common.store import Store
from tasks.dataset.build import build_dataset
from tasks.dataset.records import DatasetSource
from tasks.dataset.settings import DatasetSettings

SOURCE = DatasetSource(
    wiki="https://wiki.example/api.php",
    site_name="Example Wiki",
    rights="CC BY-SA 4.0",
    rights_basis="We drew them ourselves.",
    listed=44,
    aliases=1,
    caption={"model": "tiny", "weights": "sha256:0", "num_beams": 3},
)
REJECT = Reject(
    title="File:Icon|<b>.png", sha1="f" * 40, stage="convert", reason="16×16 px is smaller than min_side 64"
)


def row(number: int, store: Store, text: str = "") -> CaptionedImage:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (number % 256, number * 7 % 256, 90)).save(out, "JPEG")
    sha1 = hashlib.sha1(str(number).encode()).hexdigest()
    image = WikiImage(
        title=f"File:Drawing {number}.png",
        sha1=sha1,
        url=f"https://wiki.example/images/{number}.png",
        page_url=f"https://wiki.example/wiki/File:Drawing_{number}.png",
        mime="image/png",
        width=64,
        height=48,
        size=100,
        timestamp=f"2024-01-{number % 28 + 1:02d}T00:00:00Z",
        uploader="Ann" if number % 3 else "Bob [x]",
        license="CC BY-SA 4.0" if number % 2 else "CC0",
    )
    original = Original(image=image, key=sha1)
    jpeg = Jpeg(original=original, key=store.put(out.getvalue()), width=64, height=48, frames=1, pixel_sha256=sha1)
    text = text or f"a drawing of number {number}"
    return CaptionedImage(jpeg=jpeg, text=text, raw_text=f"{text} {text}")


@dataclass
class Builder:
    """Builds datasets in one store; keep the settings, change the rows."""

    store: Store
    settings: DatasetSettings = field(
        default_factory=lambda: DatasetSettings(
            title="Example drawings", license="cc-by-sa-4.0", shard_rows=8, takedown_contact="ann@wiki.example"
        )
    )

    source: DatasetSource = SOURCE

    def rows(self, *numbers: int) -> list[CaptionedImage]:
        return [row(number, self.store) for number in numbers]

    def build(self, rows: list[CaptionedImage], rejects: tuple[Reject, ...] = (REJECT,)) -> DatasetRef:
        return build_dataset(rows, rejects, self.source, self.settings, self.store)

    def read(self, ref: DatasetRef, path: str) -> bytes:
        return self.store.read(next(file.key for file in ref.files if file.path == path))
