"""The bundled sample wiki, served on loopback for as long as a flow reads it."""

from collections.abc import Generator
from contextlib import contextmanager

from flows.common.settings import Settings
from samples.wiki.content import CANONICAL
from tasks.common.environment import environment
from tasks.common.records import Inventory


@contextmanager
def reachable(settings: Settings) -> Generator[Settings]:
    """Settings whose wiki answers: another wiki's as they are, or the sample wiki's on a free port.

    `WIKISTYLE_SECOND_WAVE=1` turns its later uploads on.
    """
    if settings.scrape.api_url:
        yield settings
        return
    from samples.wiki.server import serve

    with serve(second_wave=environment().second_wave) as wiki:
        scrape = settings.scrape.model_copy(update={"api_url": f"{wiki.url}/api.php"})
        yield settings.model_copy(update={"scrape": scrape})


def with_stable_address(inventory: Inventory, named: Settings, reached: Settings) -> Inventory:
    """The sample wiki's inventory with files at its lasting address: ports pass, and rows must not change with them."""
    if named.scrape.api_url:
        return inventory
    passing = reached.scrape.api_url.removesuffix("/api.php")
    images = tuple(
        image.model_copy(update={"url": image.url.replace(passing, CANONICAL)}) for image in inventory.images
    )
    return inventory.model_copy(update={"images": images})
