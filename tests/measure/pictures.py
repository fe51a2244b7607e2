"""Real pictures to measure: the sample wiki's drawings, and what the shipped base model once drew."""

import io
import json
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
def named_drawings() -> dict[str, Image.Image]:
    """The wiki's drawings on white, 64 px square, by title; those left out that don't open or are smaller."""
    found = {}
    for path in sorted((SAMPLES / "wiki" / "files").iterdir()):
        try:
            with Image.open(path) as opened:
                whole = opened.convert("RGBA")
        except OSError:
            continue
        flat = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
        if min(flat.size) >= SIDE:
            title = f"File:{path.name.replace('_', ' ')}"
            found[title] = flat.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return found


@cache
def wiki_drawings() -> tuple[Image.Image, ...]:
    """All of them, in an order of chance that is always the same."""
    found = list(named_drawings().values())
    return tuple(found[i] for i in np.random.default_rng(0).permutation(len(found)))


@cache
def mixes() -> dict[float, dict[str, Image.Image]]:
    """What the demo drew of 99 held-out things: share of the way from base to epoch 14 → title → picture.

    `mixes.webp` holds them, a row a share, in the order of the titles in `mixes.json`. Drawn with DPM++ 2M in 10 steps
    at guidance 4 from the weights (1 - t) x base + t x epoch 14, the same noise in each row, and kept lossily.
    """
    here = Path(__file__).parent
    sheet, titles = Image.open(here / "mixes.webp").convert("RGB"), json.loads((here / "mixes.json").read_text())
    return {
        share: {
            title: sheet.crop((SIDE * i, SIDE * row, SIDE * (i + 1), SIDE * (row + 1)))
            for i, title in enumerate(titles)
        }
        for row, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0))
    }


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
