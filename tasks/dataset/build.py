"""Rows → a dataset in the store: parquet shards and a card."""

from collections.abc import Callable, Sequence

from tasks.common.records import CaptionedImage, DatasetRef, Reject, StoredFile
from tasks.common.settings import digest
from tasks.common.store import Store
from tasks.dataset.card import render
from tasks.dataset.records import DatasetError, DatasetSource
from tasks.dataset.settings import DatasetSettings
from tasks.dataset.shards import arrange, earlier, ordered, write


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
    """Write `data/train-*.parquet` and `README.md` to the store; files of earlier datasets of the wiki are used again.

    Equal rows after equal datasets give equal bytes, in whatever order; the fingerprint is that of the rows alone.

    `rejects` are those of all stages. Raises DatasetError when there are no rows.
    """
    if not rows:
        raise DatasetError(
            f"no rows for a dataset: all of the {source.listed} files of {source.wiki} were set aside "
            f"({len(rejects)} rejects); read their reasons and loosen the stage's settings"
        )
    memory = earlier(source.wiki, settings.shard_rows, store)
    known = [shard for shards in memory.load().values() for shard in shards]
    gone = store.missing(shard.file.key for shard in known)
    shards, to_write = arrange(rows, [shard for shard in known if shard.file.key not in gone], settings.shard_rows)
    progress(sum(len(shard.rows) for shard in shards))
    with memory.writing() as writer:
        for part in to_write:
            shards.append(write(part, store))
            writer.add(shards[-1].file.key, shards[-1])
            progress(len(part))
    memory.tidy()
    files = sorted((shard.file for shard in shards), key=lambda file: file.path)
    memory_bytes = sum(shard.memory_bytes for shard in shards)
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
