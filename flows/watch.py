"""Watch: does the wiki differ from the last dataset? Then it says so, and a trigger starts the pipeline.

What differs is told by every watch until a pipeline run has collected it; nothing is remembered of what was told.
While one of the profile waits or runs, nothing is told: it may be collecting just that, and a second would be refused.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import flow, get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.events import Event, Resource
from pydantic import Field

from flows.common import handoff
from flows.common.deployed import deployed_as
from flows.common.report import Collected
from flows.common.sample_wiki import reachable
from flows.common.settings import Settings
from tasks.common.records import Inventory, Record
from tasks.common.store import Store
from tasks.dataset.contents import titles
from tasks.scrape import task as scrape

WIKI_CHANGED = "wiki.images.changed"
# Files that could not be had are not collected, but a wiki that keeps failing on them must not start one an hour.
TRY_AGAIN = timedelta(hours=24)
START_SECONDS = 30.0  # in which the trigger has made the pipeline run
SOON = timedelta(minutes=1)
EXAMPLES = 5

AtLeast = Annotated[
    int,
    Field(
        ge=1,
        le=100_000,
        title="At least",
        description="Changes it takes to start the pipeline: a training costs hours, so a busy wiki may want 50. Each "
        "picture that is new on the wiki, or in the dataset and no longer there under its title, is one. A picture of "
        "the dataset that the settings leave out now (the take-down list) starts it at once.",
    ),
]


class Changes(Record):
    """What tells the wiki from the last dataset, as titles.

    `new`: the wiki has it, and it was not collected. `gone`: a row the wiki no longer has, or not under that title.
    `withdrawn`: a row the wiki has and the settings leave out now.
    """

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()

    def enough(self, at_least: int) -> bool:
        return bool(self.withdrawn) or len(self.new) + len(self.gone) >= at_least


class Watched(Record):
    """What a watch found: pictures `listed`, how many changed in each way, and whether that was announced."""

    listed: int
    new: int
    gone: int
    withdrawn: int
    announced: bool
    examples: tuple[str, ...]


@flow(name="watch", flow_run_name="watch {settings.profile}", persist_result=True)
async def watch(settings: Settings, min_new_images: AtLeast = 1) -> Watched:
    """Take the wiki's inventory, compare it with the last dataset, and announce what differs.

    Args:
        settings: All settings of the run; this flow reads those of scrape.
        min_new_images: Changes it takes to start the pipeline.
    """
    with reachable(settings) as reached:
        inventory = await scrape.inventory(reached.scrape)
    found = changes(inventory, *last_collected(settings.profile, datetime.now(UTC)))
    watched = Watched(
        listed=inventory.listed,
        new=len(found.new),
        gone=len(found.gone),
        withdrawn=len(found.withdrawn),
        announced=False,
        examples=(*found.withdrawn, *found.new, *found.gone)[:EXAMPLES],
    )
    said = "no pipeline run is started for that"
    if found.enough(min_new_images):
        async with get_client() as client:
            if await _under_way(client, settings.profile):
                said = "a pipeline run is under way; what it leaves is told after it"
            else:
                watched = watched.model_copy(update={"announced": True})
                said = await _announce(client, settings.profile, inventory.site_name, watched)
    counts = "%d pictures on the wiki, %d new, %d gone, %d withdrawn: %s"
    get_run_logger().info(counts, len(inventory.images), watched.new, watched.gone, watched.withdrawn, said)
    return watched


async def _announce(client: PrefectClient, profile: str, site_name: str, watched: Watched) -> str:
    """Record the event, by a request that fails loudly: `emit_event` sends in the background and may lose it.

    Then wait for what it starts, so that the next watch finds it. Returns what came of it.
    """
    event = Event(
        event=WIKI_CHANGED,
        resource=Resource({"prefect.resource.id": f"wiki.{profile}", "prefect.resource.name": site_name}),
        payload={"profile": profile, **watched.model_dump(mode="json", exclude={"announced"})},
    )
    await client.request("POST", "/events", json=[event.model_dump(mode="json")])
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if await _under_way(client, profile):
            return "announced, and a pipeline run is started"
        await asyncio.sleep(1)
    return "announced, but no pipeline run was started; see whether its trigger (Automations) is on"


async def _under_way(client: PrefectClient, profile: str) -> bool:
    """Whether a pipeline run of the profile runs or is due; one that a schedule has for later does not count."""
    unfinished = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": ["wikistyle"]}}),
        deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [deployed_as("wikistyle", profile)]}}),
        flow_run_filter=FlowRunFilter.model_validate(unfinished),
    )
    soon = datetime.now(UTC) + SOON
    return any(run.next_scheduled_start_time is None or run.next_scheduled_start_time < soon for run in runs)


def changes(inventory: Inventory, rows: dict[str, str], aside: set[str]) -> Changes:
    """The wiki compared with a dataset's `rows` (sha1 → title) and the sha1s that were looked at and set `aside`."""
    on_wiki = {image.sha1: {image.title, *image.aliases} for image in inventory.images}
    left_out = {reject.sha1 for reject in inventory.rejects}
    missing = {sha1: title for sha1, title in rows.items() if title not in on_wiki.get(sha1, ())}
    return Changes(
        new=tuple(i.title for i in inventory.images if i.sha1 not in rows and i.sha1 not in aside),
        gone=tuple(title for sha1, title in missing.items() if sha1 not in left_out),
        withdrawn=tuple(title for sha1, title in missing.items() if sha1 in left_out),
    )


def last_collected(profile: str, now: datetime) -> tuple[dict[str, str], set[str]]:
    """(sha1 → title of the rows of the profile's last dataset, sha1s set aside); nothing before the first.

    What scrape set aside was not collected: a setting may let it in now, or the wiki give it, which is tried daily.
    """
    try:
        collected = handoff.recall(profile, "collect", Collected)
    except handoff.MissingPart:
        return {}, set()
    aside = {reject.sha1 for reject in collected.rejects if reject.stage != "scrape"}
    if collected.at is not None and now - collected.at < TRY_AGAIN:
        aside |= set(collected.not_fetched)
    return titles(collected.dataset, Store()), aside
