"""Which of a wiki's pictures a dataset holds, without reading the pictures."""

import pyarrow.parquet as pq

from tasks.common.records import DatasetRef
from tasks.common.store import Store


def titles(ref: DatasetRef, store: Store) -> dict[str, str]:
    """The title of every row by its original's sha1 (hex)."""
    shards = [file for file in ref.files if file.path.endswith(".parquet")]
    tables = [pq.read_table(store.path(file.key), columns=["sha1", "title"]) for file in shards]
    return {row["sha1"]: row["title"] for table in tables for row in table.to_pylist()}
