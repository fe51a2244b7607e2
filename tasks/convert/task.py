"""The convert stage as a Prefect task."""

from prefect import task

from tasks.caching import ContentKey
from tasks.convert.convert import Converted, convert_stored
from tasks.convert.settings import ConvertSettings
from tasks.store import Store

VERSION = 2


@task(
    name="convert",
    cache_policy=ContentKey("convert", VERSION),
    persist_result=True,
    result_serializer="json",
    task_run_name="convert-{keys[0]:.8}",
)
def convert_batch(keys: tuple[str, ...], settings: ConvertSettings) -> tuple[Converted, ...]:
    """Originals in the store (`keys`, not empty) → JPEGs in the store, or reasons, in the same order."""
    return tuple(convert_stored(keys, settings, Store()))


def stored_keys(converted: tuple[Converted, ...]) -> list[str]:
    """The store keys a cached result relies on."""
    return [item.jpeg_key for item in converted if item.jpeg_key]
