"""The convert stage as a Prefect task."""

from collections.abc import Iterator, Sequence

from tasks.common.mapped import mapped_task
from tasks.common.store import Store
from tasks.convert.convert import Converted, convert_each
from tasks.convert.settings import ConvertSettings

VERSION = 2


def stored_keys(converted: Converted) -> list[str]:
    """The store keys a remembered result relies on."""
    return [converted.jpeg_key] if converted.jpeg_key else []


@mapped_task("convert", VERSION, Converted, keys=stored_keys)
def convert_batch(keys: Sequence[str], settings: ConvertSettings) -> Iterator[tuple[str, Converted]]:
    """Originals in the store → JPEGs in the store, or reasons."""
    yield from convert_each(keys, settings, Store())
