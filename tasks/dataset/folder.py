"""A dataset as files: a folder that `datasets.load_dataset` reads, in either of two forms, or its rows one by one."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tasks.common.files import FolderError, replace_folder
from tasks.common.records import DatasetRef
from tasks.common.store import Store
from tasks.dataset.records import DatasetError


def load_rows(ref: DatasetRef, store: Store) -> Iterator[dict]:
    """Rows in the dataset's order, as dicts of its columns; `image` is the JPEG's bytes."""
    for file in ref.files:
        if not file.path.endswith(".parquet"):
            continue
        for batch in pq.ParquetFile(store.path(file.key)).iter_batches(batch_size=100):
            for row in batch.to_pylist():
                yield {**row, "image": row["image"]["bytes"]}


def materialise(ref: DatasetRef, folder: Path, store: Store) -> None:
    """The dataset as a folder, new or empty, of parquet files with its card."""

    def fill(partial: Path) -> None:
        for file in ref.files:
            target = partial / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(file.key), target)

    _write(folder, fill)


def export_imagefolder(ref: DatasetRef, folder: Path, store: Store) -> None:
    """The dataset as `train/*.jpg` and `train/metadata.jsonl` (file_name, text, …), which many trainers read.

    The folder is to be new or empty.
    """

    def fill(partial: Path) -> None:
        train = partial / "train"
        train.mkdir()
        with (train / "metadata.jsonl").open("w", encoding="utf-8") as lines:
            for row in load_rows(ref, store):
                name = f"{row['jpeg_sha256']}.jpg"
                (train / name).write_bytes(row.pop("image"))
                lines.write(json.dumps({"file_name": name, **row}, ensure_ascii=False) + "\n")

    _write(folder, fill)


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    """Nobody sees half a dataset. Raises DatasetError when something is there already, or it can't be written."""
    try:
        replace_folder(folder, fill)
    except FolderError as error:
        raise DatasetError(str(error)) from None
    except OSError as error:
        raise DatasetError(f"{folder} can't be written ({error}); choose a folder you can write to") from error
