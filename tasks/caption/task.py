"""The caption stage as a Prefect task."""

from collections.abc import Iterator, Sequence

from tasks.caption.records import Caption
from tasks.caption.settings import CaptionSettings
from tasks.common.mapped import mapped_task
from tasks.common.store import Store

VERSION = 1


@mapped_task("caption", VERSION, Caption)
def caption_batch(keys: Sequence[str], settings: CaptionSettings, identity: str) -> Iterator[tuple[str, Caption]]:
    """JPEGs in the store → captions.

    `identity` is `checked_identity(settings.model, settings.revision)`: it stands for the weights in what captions are
    remembered by. The model is loaded once in a process, and not at all when every caption is known.
    """
    from tasks.caption.captioner import caption_each

    yield from caption_each(keys, settings, Store())


def release() -> None:
    """Let go of the caption model, which stays loaded from batch to batch: the training needs the GPU's memory."""
    from tasks.caption.captioner import release

    release()
