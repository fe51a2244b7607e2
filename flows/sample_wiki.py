"""The bundled sample wiki, served on loopback for as long as a flow reads it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from flows.settings import Settings
from tasks.records import Inventory

# What records call it: the port differs from run to run, and records must not.
ADDRESS = "http://sample-wiki.localhost"


@contextmanager
def reachable(settings: Settings) -> Iterator[Settings]:
    """Settings whose wiki answers: another wiki's as they are, or the sample wiki's on a free port.

    `WIKISTYLE_SECOND_WAVE=1` turns its later uploads on.
    """
    if settings.scrape.api_url:
        yield settings
        return
    from samples.wiki.server import serve

    with serve(second_wave=os.environ.get("WIKISTYLE_SECOND_WAVE") == "1") as wiki:
        scrape = settings.scrape.model_copy(update={"api_url": f"{wiki.url}/api.php"})
        yield settings.model_copy(update={"scrape": scrape})


def with_stable_address(inventory: Inventory, settings: Settings) -> Inventory:
    """The inventory with the sample wiki's passing address replaced by its lasting name; others unchanged."""
    if settings.scrape.api_url:
        return inventory
    passing = inventory.wiki.removesuffix("/api.php")
    images = tuple(
        image.model_copy(
            update={"url": image.url.replace(passing, ADDRESS), "page_url": image.page_url.replace(passing, ADDRESS)}
        )
        for image in inventory.images
    )
    return inventory.model_copy(update={"wiki": inventory.wiki.replace(passing, ADDRESS), "images": images})
