"""The dataset stage as two Prefect tasks: build, which is cached, and publish, which looks at the hub each time."""

import os

from prefect import get_run_logger

from tasks.common.caching import cached_task
from tasks.common.records import CaptionedImage, DatasetRef, Reject
from tasks.common.store import Store
from tasks.dataset.records import DatasetSource
from tasks.dataset.settings import DatasetSettings

VERSION = 2
TOKEN_BLOCK = "hf-token"


def stored_keys(ref: DatasetRef) -> list[str]:
    """The store keys a cached result relies on."""
    return [file.key for file in ref.files]


@cached_task("dataset", VERSION, keys=stored_keys, task_run_name="build the dataset")
def build(
    rows: tuple[CaptionedImage, ...], rejects: tuple[Reject, ...], source: DatasetSource, settings: DatasetSettings
) -> DatasetRef:
    """Captioned pictures → a dataset in the store."""
    from tasks.dataset.build import build_dataset

    return build_dataset(rows, rejects, source, settings, Store())


@cached_task("publish", VERSION, always=True, task_run_name="publish to {settings.repo_id}")
def publish(ref: DatasetRef, settings: DatasetSettings) -> DatasetRef:
    """The dataset on the hub, if `settings.repo_id` names a place for it; returns `ref` with its revision."""
    from tasks.dataset.publish import publish as publish_dataset

    published = publish_dataset(ref, settings, hub_token(), Store(), os.environ.get("HF_ENDPOINT"))
    if published.revision:
        get_run_logger().info("Published as %s@%s", published.repo_id, published.revision)
    return published


def check_publishing(settings: DatasetSettings) -> None:
    """`check_publishable` with the token of this environment; to be called before the first stage."""
    if settings.repo_id:
        from tasks.dataset.publish import check_publishable

        check_publishable(settings, hub_token(), os.environ.get("HF_ENDPOINT"))


def hub_token() -> str | None:
    """HF_TOKEN, or else the Prefect Secret block `hf-token`; None when there is neither. Never logged."""
    if token := os.environ.get("HF_TOKEN"):
        return token
    from prefect.blocks.system import Secret

    try:
        return Secret.load(TOKEN_BLOCK, _sync=True).get()  # type: ignore[call-arg]
    except ValueError:  # no such block
        return None
