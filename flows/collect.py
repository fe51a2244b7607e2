"""Collect: a wiki becomes a dataset of captioned pictures."""

from datetime import UTC, datetime

from prefect import flow

from flows.common import handoff
from flows.common.artifacts import captions_table, dataset_facts, jpegs_sheet
from flows.common.report import Collected
from flows.common.run_names import name_run
from flows.common.sample_wiki import reachable, with_stable_address
from flows.common.settings import Settings, located
from flows.common.stage import stage
from tasks.caption.identity import checked_identity, provenance
from tasks.caption.records import to_rows
from tasks.caption.task import caption_batch, release
from tasks.common.garbage.references import keep_list
from tasks.common.records import Inventory
from tasks.common.store import Store
from tasks.convert.convert import to_jpegs
from tasks.convert.duplicates import drop_duplicates
from tasks.convert.task import convert_batch
from tasks.dataset.records import DatasetSource
from tasks.dataset.task import build, publish
from tasks.scrape import task as scrape
from tasks.scrape.scrape import originals_of


@flow(name="collect", flow_run_name="collect {settings.profile}", persist_result=True, validate_parameters=True)
async def collect(settings: Settings) -> Collected:
    """Scrape, convert, caption and build the dataset; only what is new costs anything."""
    name_run("collect", settings)
    settings, store, began = located(settings), Store(), datetime.now(UTC)

    with stage("scrape", "files") as scraping, reachable(settings) as reached:
        inventory = await scrape.inventory(reached.scrape)
        wanted = scrape.due_jobs(inventory, reached.scrape)
        fetched = [*wanted.waiting, *await scraping.amap(scrape.fetch_batch, wanted.jobs, reached.scrape)]
        inventory = with_stable_address(inventory, settings, reached)
        originals, lost = originals_of(inventory, fetched)
        scrape.check_failures(inventory, wanted, fetched, lost, settings.scrape)
        scraping.done(inventory.listed, len(originals), [*inventory.rejects, *lost], heading(inventory))

    with stage("convert", "images") as converting:
        converted = converting.map(convert_batch, [original.key for original in originals], settings.convert)
        jpegs, damaged = to_jpegs(originals, converted)
        jpegs, same = drop_duplicates(jpegs)
        converting.done(len(originals), len(jpegs), [*damaged, *same], jpegs_sheet(jpegs, store))

    with stage("caption", "images") as captioning:
        identity = checked_identity(settings.caption.model, settings.caption.revision)
        captions = captioning.map(caption_batch, [jpeg.key for jpeg in jpegs], settings.caption, identity)
        if captioning.ran:
            release()
        rows, useless = to_rows(jpegs, captions)
        captioning.done(len(jpegs), len(rows), useless, captions_table(rows, store))

    with stage("dataset") as building:
        rejects = (*scraping.rejects, *converting.rejects, *captioning.rejects)
        dataset = building.run(build, tuple(rows), rejects, source_of(inventory, settings, identity), settings.dataset)
        if settings.dataset.repo_id:
            dataset = building.run(publish, dataset, settings.dataset)
        building.done(len(rows), len(rows), (), dataset_facts(dataset))

    collected = Collected(
        dataset=dataset,
        wiki=inventory.wiki,
        site_name=inventory.site_name,
        listed=inventory.listed,
        duplicates=sum(len(image.aliases) for image in inventory.images),
        rejects=rejects,
        stages=tuple(part.report for part in (scraping, converting, captioning, building)),
        materials=keep_list([*(original.key for original in originals), *(jpeg.key for jpeg in jpegs)], store),
        at=began,
        not_fetched=tuple(sorted(reject.sha1 for reject in lost)),
    )
    handoff.keep(settings.profile, "collect", collected)
    name_run("collect", settings, dataset)
    return collected


def heading(inventory: Inventory) -> str:
    """What the scrape stage's artifact is about."""
    return f"Files of {inventory.site_name}, {inventory.wiki}"


def source_of(inventory: Inventory, settings: Settings, identity: str) -> DatasetSource:
    """Where the rows came from and how their captions were made, for the dataset's card."""
    return DatasetSource(
        wiki=inventory.wiki,
        site_name=inventory.site_name,
        rights=inventory.rights,
        rights_basis=settings.scrape.rights_basis,
        listed=inventory.listed,
        aliases=sum(len(image.aliases) for image in inventory.images),
        caption=provenance(settings.caption, identity),
    )
