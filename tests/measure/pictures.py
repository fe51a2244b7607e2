"""Real pictures to measure: the sample wiki's drawings, and what the shipped base model once drew."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.common.records import DatasetRef, StoredFile
from tasks.common.settings import digest
from tasks.common.store import Store

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CLIP = SAMPLES / "models" / "clip"
SIDE = 64


@cache
def wiki_drawings() -> tuple[Image.Image, ...]:
    """380 or so drawings on white, 64 px square, in an order of chance that is always the same."""
    found = []
    for path in sorted((SAMPLES / "wiki" / "files").iterdir()):
        try:
            with Image.open(path) as opened:
                whole = opened.convert("RGBA")
        except OSError:
            continue
        flat = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
        if min(flat.size) >= SIDE:
            found.append(flat.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return tuple(found[i] for i in np.random.default_rng(0).permutation(len(found)))


@cache
def base_pictures() -> tuple[Image.Image, ...]:
    """200 pictures drawn by the shipped base: 50 things, four seeds of each, from its card's contact sheet."""
    sheet = Image.open(SAMPLES / "models" / "base" / "contact-sheet.png").convert("RGB")
    corners = [(x, y) for y in range(0, sheet.height, SIDE) for x in range(0, sheet.width, SIDE)]
    return tuple(sheet.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners)


def png(picture: Image.Image) -> bytes:
    """Lossless bytes."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def dataset_of(pictures: Sequence[Image.Image], store: Store) -> DatasetRef:
    """A dataset in the store, each picture with a caption, a title and whose it is."""
    texts = [f"a thing, number {i}" for i in range(len(pictures))]
    table = pa.table(
        {
            "image": [{"bytes": png(picture), "path": None} for picture in pictures],
            "text": texts,
            "title": [f"File:Thing {i}.png" for i in range(len(pictures))],
            "uploader": [f"Ada {i}" for i in range(len(pictures))],
            "license": ["CC-BY-SA-4.0"] * len(pictures),
            "page_url": [f"http://127.0.0.1/wiki/{i}" for i in range(len(pictures))],
        }
    )
    data = io.BytesIO()
    pq.write_table(table, data)
    file = StoredFile(path="data/train.parquet", key=store.put(data.getvalue()), bytes=len(data.getvalue()))
    return DatasetRef(fingerprint=digest(texts), rows=len(pictures), files=(file,))
