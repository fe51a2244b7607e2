"""Rows as parquet files that are only added to: what a dataset has already been written to stays as it is.

New rows make new files; a row that is gone or changed makes its file's others new. Small files are merged with new ones
as far as little is written anew. Without earlier files, bytes and borders depend on the rows alone.
"""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.common.memory import Memory
from tasks.common.records import CaptionedImage, Record, StoredFile
from tasks.common.settings import digest
from tasks.common.store import Store

VERSION = 1
MERGED_SHARE = 0.04  # of the rows may be written anew, new ones included, to merge small files

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


class Shard(Record):
    """A file of a dataset, the `row_id`s of what is in it, and its size in memory in bytes."""

    file: StoredFile
    rows: tuple[str, ...]
    memory_bytes: int


def row_id(row: CaptionedImage) -> str:
    """64 bits of a hash of all columns of a row (16 hex digits)."""
    return digest(facts(row))[:16]


def earlier(wiki: str, mean: int, store: Store) -> Memory[Shard]:
    """The files that datasets of this wiki were written to, by store key."""
    return Memory(store, f"shards-v{VERSION}-{digest([wiki, mean])[:32]}", Shard)


def arrange(
    rows: Sequence[CaptionedImage], known: Sequence[Shard], mean: int
) -> tuple[list[Shard], list[list[CaptionedImage]]]:
    """(files that stay, rows of each file to write) for a dataset of these rows, given the files of earlier ones.

    A file stays when all its rows are wanted, larger files first. The smallest are written anew together with the new
    rows while these are at most 4 % of all, and no more than `mean`.
    """
    left = {row_id(row): row for row in ordered(rows)}
    all_rows = dict(left)
    kept: list[Shard] = []
    for shard in sorted(known, key=lambda shard: (-len(shard.rows), shard.file.key)):
        if left.keys() >= set(shard.rows):
            kept.append(shard)
            for row in shard.rows:
                del left[row]
    room = min(mean, int(MERGED_SHARE * len(all_rows)))
    while left and kept and len(left) + len(kept[-1].rows) <= room:
        left |= {row: all_rows[row] for row in kept.pop().rows}
    return kept, cut(list(left.values()), mean)


def write(rows: Sequence[CaptionedImage], store: Store) -> Shard:
    """One file of these rows as parquet in the store. The JPEGs go in as they are.

    Named after its first row, so that files sort like rows. Pages end where the content says so (content-defined
    chunking), so that a store or hub that knows parts of files keeps what two files have in common once.
    """
    columns: dict[str, list] = {name: [] for name in features()}
    for row in rows:
        columns["image"].append({"bytes": store.read(row.jpeg.key), "path": f"{row.jpeg.key}.jpg"})
        for name, value in facts(row).items():
            columns[name].append(value)
    table = pa.table(columns, schema=features().arrow_schema)
    out = io.BytesIO()
    pq.write_table(
        table,
        out,
        row_group_size=ROW_GROUP,
        compression="snappy",
        use_dictionary=False,
        use_content_defined_chunking=True,
    )
    data = out.getvalue()
    name = f"data/train-{rows[0].jpeg.original.image.sha1[:12]}.parquet"
    file = StoredFile(path=name, key=store.put(data), bytes=len(data))
    return Shard(file=file, rows=tuple(map(row_id, rows)), memory_bytes=table.nbytes)
