"""Rows → a dataset in the store: parquet shards and a card."""

from collections.abc import Callable, Sequence

from tasks.dataset.card import render
from tasks.dataset.records import DatasetError, DatasetSource
from tasks.dataset.settings import DatasetSettings
from tasks.dataset.shards import cut, ordered, write
from tasks.records import CaptionedImage, DatasetRef, Reject, StoredFile
from tasks.settings import digest
from tasks.store import Store


def fingerprint_of(rows: Sequence[CaptionedImage]) -> str:
    """A digest of what a trainer sees (pictures and captions) and of the originals; order doesn't matter."""
    return digest(sorted([row.jpeg.key, row.text, row.jpeg.original.image.sha1] for row in rows))


def build_dataset(
    rows: Sequence[CaptionedImage],
    rejects: Sequence[Reject],
    source: DatasetSource,
    settings: DatasetSettings,
    store: Store,
    *,
    progress: Callable[[int], None] = lambda n: None,
) -> DatasetRef:
    """Write `data/train-*.parquet` and `README.md` to the store; equal rows give equal bytes, in whatever order.

    `rejects` are those of all stages. Raises DatasetError when there are no rows.
    """
    if not rows:
        raise DatasetError(
            f"no rows for a dataset: all of the {source.listed} files of {source.wiki} were set aside "
            f"({len(rejects)} rejects); read their reasons and loosen the stage's settings"
        )
    files: list[StoredFile] = []
    memory_bytes = 0
    for shard in cut(rows, settings.shard_rows):
        file, size = write(shard, store)
        files.append(file)
        memory_bytes += size
        progress(len(shard))
    fingerprint = fingerprint_of(rows)
    file_bytes = sum(file.bytes for file in files)
    card = render(
        rows=ordered(rows),
        rejects=rejects,
        source=source,
        settings=settings,
        fingerprint=fingerprint,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
    ).encode()
    files.append(StoredFile(path="README.md", key=store.put(card), bytes=len(card)))
    return DatasetRef(fingerprint=fingerprint, rows=len(rows), files=tuple(files))
