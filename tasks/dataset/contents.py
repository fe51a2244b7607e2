"""Which of a wiki's pictures a dataset holds, without reading the pictures."""

import pyarrow.parquet as pq

from tasks.records import DatasetRef
from tasks.store import Store


def sha1s(ref: DatasetRef, store: Store) -> set[str]:
    """The sha1 (hex) of every row's original."""
    shards = [file for file in ref.files if file.path.endswith(".parquet")]
    columns = [pq.read_table(store.path(file.key), columns=["sha1"])["sha1"] for file in shards]
    return {sha1 for column in columns for sha1 in column.to_pylist()}
