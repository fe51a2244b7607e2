"""Rows as parquet files whose bytes and borders depend on content alone."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.records import CaptionedImage, StoredFile
from tasks.store import Store

TEXT_COLUMNS = (
    "text",
    "raw_text",
    "title",
    "page_url",
    "source_url",
    "uploader",
    "license",
    "sha1",
    "jpeg_sha256",
    "timestamp",
)
NUMBER_COLUMNS = ("width", "height")
ROW_GROUP = 100  # rows a reader must hold at once; what the hub's viewer asks for with images


def features() -> Any:
    """The columns as `datasets` knows them; `image` is the JPEG itself, decoded by `datasets` when read."""
    from datasets import Features, Image, Value

    texts = {name: Value("string") for name in TEXT_COLUMNS}
    return Features({"image": Image(), **texts, **{name: Value("int32") for name in NUMBER_COLUMNS}})


def facts(row: CaptionedImage) -> dict[str, str | int]:
    """Every column of a row but the image."""
    image = row.jpeg.original.image
    return {
        "text": row.text,
        "raw_text": row.raw_text,
        "title": image.title,
        "page_url": image.page_url,
        "source_url": image.url,
        "uploader": image.uploader,
        "license": image.license,
        "sha1": image.sha1,
        "jpeg_sha256": row.jpeg.key,
        "timestamp": image.timestamp,
        "width": row.jpeg.width,
        "height": row.jpeg.height,
    }


def ordered(rows: Sequence[CaptionedImage]) -> list[CaptionedImage]:
    """By the original's sha1: an order that a new file doesn't disturb."""
    return sorted(rows, key=lambda row: (row.jpeg.original.image.sha1, row.jpeg.original.image.title))


def cut(rows: Sequence[CaptionedImage], mean: int) -> list[list[CaptionedImage]]:
    """Shards of ordered rows: a shard ends after a row whose sha1's hash is divisible by `mean`.

    One row more or less changes one shard, unless it is itself a border.
    """
    shards: list[list[CaptionedImage]] = [[]]
    for row in ordered(rows):
        shards[-1].append(row)
        spread = hashlib.sha256(row.jpeg.original.image.sha1.encode()).digest()
        if int.from_bytes(spread[:8], "big") % mean == 0:
            shards.append([])
    return [shard for shard in shards if shard]


def write(shard: Sequence[CaptionedImage], store: Store) -> tuple[StoredFile, int]:
    """One shard as parquet in the store, and its size in memory in bytes. The JPEGs go in as they are.

    Named after its first row, so that files sort like rows and a shard that grew replaces itself.
    """
    columns: dict[str, list] = {name: [] for name in features()}
    for row in shard:
        columns["image"].append({"bytes": store.read(row.jpeg.key), "path": f"{row.jpeg.key}.jpg"})
        for name, value in facts(row).items():
            columns[name].append(value)
    table = pa.table(columns, schema=features().arrow_schema)
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=ROW_GROUP, compression="snappy", use_dictionary=False)
    data = out.getvalue()
    name = f"data/train-{shard[0].jpeg.original.image.sha1[:12]}.parquet"
    return StoredFile(path=name, key=store.put(data), bytes=len(data)), table.nbytes
