"""A dataset as files: a folder that `datasets.load_dataset` reads, in either of two forms, or its rows one by one."""

import fnmatch
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tasks.dataset.records import DatasetError
from tasks.records import DatasetRef
from tasks.store import Store

OURS = ("README.md", "data/train-*.parquet", "train/metadata.jsonl", "train/*.jpg")


def load_rows(ref: DatasetRef, store: Store) -> Iterator[dict]:
    """Rows in the dataset's order, as dicts of its columns; `image` is the JPEG's bytes."""
    for file in ref.files:
        if not file.path.endswith(".parquet"):
            continue
        for batch in pq.ParquetFile(store.path(file.key)).iter_batches(batch_size=100):
            for row in batch.to_pylist():
                yield {**row, "image": row["image"]["bytes"]}


def materialise(ref: DatasetRef, folder: Path, store: Store) -> None:
    """The dataset as a folder of parquet files with its card. See `_replace` for what may be in its place."""

    def fill(partial: Path) -> None:
        for file in ref.files:
            target = partial / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(file.key), target)

    _replace(folder, fill)


def export_imagefolder(ref: DatasetRef, folder: Path, store: Store) -> None:
    """The dataset as `train/*.jpg` and `train/metadata.jsonl` (file_name, text, …), which many trainers read."""

    def fill(partial: Path) -> None:
        train = partial / "train"
        train.mkdir()
        with (train / "metadata.jsonl").open("w", encoding="utf-8") as lines:
            for row in load_rows(ref, store):
                name = f"{row['jpeg_sha256']}.jpg"
                (train / name).write_bytes(row.pop("image"))
                lines.write(json.dumps({"file_name": name, **row}, ensure_ascii=False) + "\n")

    _replace(folder, fill)


def _replace(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside `folder` and rename it: nobody sees half a dataset.

    An older dataset in its place goes. Raises DatasetError when something else is there, or it can't be written.
    """
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
    foreign = [path for path in there if not any(fnmatch.fnmatch(path, pattern) for pattern in OURS)]
    if foreign or (folder.exists() and not folder.is_dir()):
        what = f"holds {foreign[0]}, which is no part of a dataset" if foreign else "is a file"
        raise DatasetError(f"{folder} {what}; choose an empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
            partial = Path(beside) / "new"
            partial.mkdir()
            fill(partial)
            if folder.exists():
                folder.rename(Path(beside) / "old")
            partial.rename(folder)
    except OSError as error:
        raise DatasetError(f"{folder} can't be written ({error}); choose a folder you can write to") from error
