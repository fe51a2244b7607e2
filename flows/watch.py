"""Watch: has the wiki pictures that the last dataset hasn't? Then it says so, once, and a trigger starts the story."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import flow, get_client, get_run_logger
from prefect.events import Event, Resource
from pydantic import Field

from flows import parts
from flows.report import Collected
from flows.sample_wiki import reachable
from flows.settings import Settings
from tasks.dataset.contents import sha1s
from tasks.records import Inventory, Record, WikiImage
from tasks.scrape import task as scrape
from tasks.store import Store

NEWS = "wiki.images.new"
# A story that was started for some pictures may fail, or be cancelled by one already running: then they are announced
# again, but not with every watch.
ANNOUNCE_AGAIN = timedelta(hours=24)
EXAMPLES = 5

AtLeast = Annotated[
    int,
    Field(
        ge=1,
        le=100_000,
        title="At least",
        description="New pictures it takes to start the story: a training costs hours, so a busy wiki may want 50.",
    ),
]


class Announced(Record):
    """Pictures that were announced: when (UTC), by sha1."""

    at: dict[str, datetime]


class News(Record):
    """What a watch found: pictures `listed`, how many are not in the last dataset, and whether that was announced."""

    listed: int
    new: int
    announced: bool
    examples: tuple[str, ...]


@flow(name="watch", flow_run_name="watch {settings.profile}", persist_result=True)
async def watch(settings: Settings, min_new_images: AtLeast = 1) -> News:
    """Take the wiki's inventory, compare it with the last dataset, and announce what is new.

    Args:
        settings: All settings of the run; this flow reads those of scrape.
        min_new_images: New pictures it takes to start the story.
    """
    with reachable(settings) as reached:
        inventory = await scrape.inventory(reached.scrape)
    new, fresh = news(inventory, known_sha1s(settings.profile), _announced(settings.profile), datetime.now(UTC))
    announced = bool(fresh) and len(new) >= min_new_images
    examples = tuple(image.title for image in new[:EXAMPLES])
    if announced:
        await _announce(settings.profile, inventory.site_name, len(new), examples)
        now = datetime.now(UTC)
        parts.keep(settings.profile, "announced", Announced(at={image.sha1: now for image in new}))
    said = "announced" if announced else "announced before" if new and not fresh else "not announced"
    get_run_logger().info("%d pictures on the wiki, %d new, %s", len(inventory.images), len(new), said)
    return News(listed=inventory.listed, new=len(new), announced=announced, examples=examples)


async def _announce(profile: str, site_name: str, new: int, examples: tuple[str, ...]) -> None:
    """Record the event by a request that fails loudly: `emit_event` sends in the background and may lose it."""
    event = Event(
        event=NEWS,
        resource=Resource({"prefect.resource.id": f"wiki.{profile}", "prefect.resource.name": site_name}),
        payload={"profile": profile, "new": new, "examples": list(examples)},
    )
    async with get_client() as client:
        await client.request("POST", "/events", json=[event.model_dump(mode="json")])


def news(
    inventory: Inventory, known: set[str], announced: Announced, now: datetime
) -> tuple[list[WikiImage], list[WikiImage]]:
    """Pictures the dataset doesn't know, and those of them that were not announced lately."""
    new = [image for image in inventory.images if image.sha1 not in known]
    lately = {sha1 for sha1, at in announced.at.items() if now - at < ANNOUNCE_AGAIN}
    return new, [image for image in new if image.sha1 not in lately]


def known_sha1s(profile: str) -> set[str]:
    """The pictures of the profile's last dataset, and those looked at and set aside; none before the first.

    Not those that could not be had: they are news until they come.
    """
    try:
        collected = parts.recall(profile, "collect", Collected)
    except parts.MissingPart:
        return set()
    set_aside = {reject.sha1 for reject in collected.rejects} - set(collected.failed)
    return sha1s(collected.dataset, Store()) | set_aside


def _announced(profile: str) -> Announced:
    try:
        return parts.recall(profile, "announced", Announced)
    except parts.MissingPart:
        return Announced(at={})
