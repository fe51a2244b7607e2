"""The rows of any dataset of image + text, and their fixed split into trained and held-out pictures."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from tasks.common.errors import DatasetError, first_line
from tasks.common.records import DatasetRef
from tasks.common.store import Store


@dataclass(frozen=True)
class Row:
    """One picture: `id` is the sha256 of its encoded bytes; `text` its caption. Whose it is where the dataset says."""

    id: str
    image: bytes
    text: str
    title: str = ""
    uploader: str = ""
    license: str = ""
    page_url: str = ""


CREDIT = ("title", "uploader", "license", "page_url")


def read_rows(dataset: DatasetRef | str, store: Store) -> list[Row]:
    """The rows of a dataset in the store, of a local folder, or of `owner/name@revision` on the hub, sorted by id.

    Raises DatasetError when it is empty or lacks the columns `image` and `text`.
    """
    rows = _from_store(dataset, store) if isinstance(dataset, DatasetRef) else _from_library(dataset)
    if not rows:
        raise DatasetError(f"dataset {_name(dataset)} has no rows; collect images before fine-tuning")
    return sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)


def _name(dataset: DatasetRef | str) -> str:
    return dataset if isinstance(dataset, str) else dataset.repo_id or dataset.fingerprint[:12]


def _from_store(dataset: DatasetRef, store: Store) -> list[Row]:
    rows: list[Row] = []
    parquet = _parquet()
    for file in dataset.files:
        if not file.path.endswith(".parquet"):
            continue
        path = store.path(file.key)
        columns: list[str] = parquet.read_schema(path).names
        _check_columns(columns, _name(dataset))
        read: list[dict[str, Any]] = parquet.read_table(path, columns=_wanted(columns)).to_pylist()
        rows += [_row(_name(dataset), number, row) for number, row in enumerate(read)]
    return rows


def _from_library(name: str) -> list[Row]:
    import datasets  # pyright: ignore[reportMissingTypeStubs]

    path, _, revision = name.partition("@")
    try:
        loaded: Any = cast(Any, datasets).load_dataset(path, revision=revision or None, split="train")
    except Exception as error:
        raise DatasetError(
            f"dataset {name} can't be loaded ({first_line(error)}); "
            "give a folder, or owner/name@revision with the hub in reach"
        ) from error
    _check_columns(loaded.column_names, name)
    loaded = loaded.cast_column("image", datasets.Image(decode=False)).select_columns(_wanted(loaded.column_names))
    return [_row(name, number, row) for number, row in enumerate(loaded)]


def _parquet() -> Any:
    """pyarrow's, which has no types."""
    from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, parquet)


def _wanted(columns: list[str]) -> list[str]:
    """The columns to read: picture, caption and such credit as there is."""
    return ["image", "text", *(name for name in CREDIT if name in columns)]


def _check_columns(found: list[str], name: str) -> None:
    missing = {"image", "text"} - set(found)
    if missing:
        raise DatasetError(
            f"dataset {name} has no column {' or '.join(sorted(missing))} (it has {', '.join(found)}); "
            "rename its picture column to image and its caption column to text"
        )


def _row(name: str, number: int, row: dict[str, Any]) -> Row:
    """From {"image": {"bytes", "path"}, "text"}; a caption that is missing is the empty one."""
    image: dict[str, Any] = row["image"] or {}
    text: object = row["text"] or ""
    encoded: bytes | None = image.get("bytes")
    if encoded is None and image.get("path") and Path(image["path"]).is_file():
        encoded = Path(image["path"]).read_bytes()
    if encoded is None or not isinstance(text, str):
        fault = "no picture of its own" if encoded is None else "no text for a caption"
        raise DatasetError(f"dataset {name}: row {number} has {fault}; mend or remove the row")
    credit = {name: str(row.get(name) or "") for name in CREDIT}
    return Row(hashlib.sha256(encoded).hexdigest(), encoded, text, **credit)


def split(rows: list[Row], held_out: float) -> tuple[list[Row], list[Row]]:
    """(trained, held out), decided by each picture's own hash: the same picture is always on the same side.

    At least one picture is trained; with `held_out` 0 none is held out.
    """
    border = int(held_out * 2**32)
    kept_apart = [row for row in rows if int(row.id[:8], 16) < border]
    trained = [row for row in rows if int(row.id[:8], 16) >= border]
    return (trained, kept_apart) if trained else (rows, [])


def decode(row: Row, resolution: int) -> np.ndarray:
    """uint8 [resolution, resolution, 3]: shorter side scaled (Lanczos) to the resolution, centre cropped.

    Raises DatasetError when the bytes are not a picture.
    """
    try:
        image = Image.open(io.BytesIO(row.image)).convert("RGB")
    except Exception as error:
        raise DatasetError(
            f"picture {row.id[:12]} ({row.text[:60]!r}) no longer decodes ({type(error).__name__}); "
            "remove the row or collect again"
        ) from error
    scale = resolution / min(image.size)
    if scale != 1:
        image = image.resize(
            (max(resolution, round(image.width * scale)), max(resolution, round(image.height * scale))),
            Image.Resampling.LANCZOS,
        )
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))
