"""The caption stage as a Prefect task."""

from prefect import task

from tasks.caching import ContentKey
from tasks.caption.records import Caption
from tasks.caption.settings import CaptionSettings
from tasks.store import Store

VERSION = 1


@task(
    name="caption",
    cache_policy=ContentKey("caption", VERSION),
    persist_result=True,
    result_serializer="json",
    task_run_name="caption-{keys[0]:.8}",
)
def caption_batch(keys: tuple[str, ...], settings: CaptionSettings, identity: str) -> tuple[Caption, ...]:
    """JPEGs in the store (`keys`, not empty) → captions, in the same order.

    `identity` is `checked_identity(settings.model, settings.revision)`: it stands for the weights in the cache key. The
    model is loaded once in a process, and not at all when every batch is cached.
    """
    from tasks.caption.captioner import caption_stored

    return caption_stored(keys, settings, Store())
