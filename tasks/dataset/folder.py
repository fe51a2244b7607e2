"""A dataset as files: a folder that `datasets.load_dataset` reads."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.common.files import FolderError, replace_folder
from tasks.common.records import DatasetRef
from tasks.common.store import Store
from tasks.dataset.records import DatasetError


def load_rows(ref: DatasetRef, store: Store) -> Iterator[dict[str, Any]]:
    """Rows in the dataset's order, as dicts of its columns; `image` is the JPEG's bytes. A hundred are in memory."""
    for file in ref.files:
        if not file.path.endswith(".parquet"):
            continue
        for batch in pq.ParquetFile(store.path(file.key)).iter_batches(batch_size=100):
            for row in batch.to_pylist():
                yield {**row, "image": row["image"]["bytes"]}


def materialise(ref: DatasetRef, folder: Path, store: Store) -> None:
    """The dataset as a folder, new or empty, of parquet files with its card: nobody sees half of it.

    Raises DatasetError when something is there already, or it can't be written.
    """

    def fill(partial: Path) -> None:
        for file in ref.files:
            target = partial / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(file.key), target)

    try:
        replace_folder(folder, fill)
    except FolderError as error:
        raise DatasetError(str(error)) from None
    except OSError as error:
        raise DatasetError(f"{folder} can't be written ({error}); choose a folder you can write to") from error
