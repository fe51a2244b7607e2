"""The scrape stage in plain Python: a wiki's inventory, then its files in the store."""

from collections.abc import Callable, Iterable

from tasks.common.records import Inventory, Original, Reject
from tasks.common.store import Store
from tasks.scrape.download import fetch_all
from tasks.scrape.failures import check_lost
from tasks.scrape.inventory import STAGE, take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob
from tasks.scrape.settings import SVG, ScrapeSettings


def jobs_of(inventory: Inventory, settings: ScrapeSettings) -> tuple[FetchJob, ...]:
    """One job for each image, in the inventory's order."""
    return tuple(
        FetchJob(
            sha1=image.sha1,
            url=image.url,
            size=image.size,
            rendered_width=settings.svg_width if image.mime == SVG else 0,
        )
        for image in inventory.images
    )


def originals_of(inventory: Inventory, fetched: Iterable[Fetched]) -> tuple[tuple[Original, ...], tuple[Reject, ...]]:
    """(images with their bytes in the store, images whose bytes cannot be had); `fetched` in any order."""
    by_sha1 = {item.sha1: item for item in fetched}
    originals, rejects = [], []
    for image in inventory.images:
        came = by_sha1[image.sha1]
        if came.key:
            originals.append(Original(image=image, key=came.key))
        else:
            rejects.append(Reject(title=image.title, sha1=image.sha1, stage=STAGE, reason=came.reason or "not fetched"))
    return tuple(originals), tuple(rejects)


async def scrape(
    settings: ScrapeSettings, store: Store, progress: Callable[[int], None] = lambda n: None
) -> tuple[Inventory, tuple[Original, ...], tuple[Reject, ...]]:
    """The whole stage without Prefect: (inventory, originals, images that could not be had).

    The inventory's own rejects are not among the last. Raises ScrapeError, also when more than `most_lost` could not be
    had, or Busy when a later try may succeed.
    """
    async with PoliteClient(settings) as client:
        inventory = await take_inventory(settings, client)
        fetched = await fetch_all(jobs_of(inventory, settings), client, store, progress)
    originals, lost = originals_of(inventory, fetched)
    check_lost(len(inventory.images), lost, settings)
    return inventory, originals, lost
