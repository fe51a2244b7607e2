"""Collect: a wiki becomes a dataset of captioned pictures."""

from datetime import UTC, datetime

from prefect import flow

from flows import artifacts, parts
from flows.names import name_run
from flows.report import Collected, StageReport, stage
from flows.sample_wiki import reachable, with_stable_address
from flows.settings import Settings, located
from tasks.caching import batches, call, call_async
from tasks.caption.identity import checked_identity, provenance
from tasks.caption.records import to_rows
from tasks.caption.task import caption_batch
from tasks.convert import task as convert
from tasks.convert.convert import to_jpegs
from tasks.convert.duplicates import drop_duplicates
from tasks.dataset import task as dataset
from tasks.dataset.records import DatasetSource
from tasks.progress import progress
from tasks.records import CaptionedImage, DatasetRef, Inventory, Jpeg, Original, Reject
from tasks.references import keep_list
from tasks.scrape import task as scrape
from tasks.store import Store


@flow(name="collect", flow_run_name="collect {settings.profile}", persist_result=True, validate_parameters=True)
async def collect(settings: Settings) -> Collected:
    """Scrape, convert, caption and build the dataset; only what is new costs anything."""
    name_run("collect", settings)
    settings, began = located(settings), datetime.now(UTC)
    inventory, originals, rejects, scraped = await scrape_wiki(settings)
    jpegs, not_converted, converted = convert_originals(originals, settings)
    rows, not_captioned, captioned = caption_jpegs(jpegs, settings)
    rejects = [*rejects, *not_converted, *not_captioned]
    ref, published = build_dataset(inventory, rows, rejects, settings)
    collected = Collected(
        dataset=ref,
        wiki=inventory.wiki,
        site_name=inventory.site_name,
        listed=inventory.listed,
        duplicates=sum(len(image.aliases) for image in inventory.images),
        rejects=tuple(rejects),
        stages=(scraped, converted, captioned, published),
        materials=keep_list([*(o.key for o in originals), *(jpeg.key for jpeg in jpegs)], Store()),
        at=began,
        not_fetched=tuple(
            sorted({i.sha1 for i in inventory.images} & {r.sha1 for r in rejects if r.stage == "scrape"})
        ),
    )
    parts.keep(settings.profile, "collect", collected)
    name_run("collect", settings, ref)
    return collected


async def scrape_wiki(settings: Settings) -> tuple[Inventory, tuple[Original, ...], list[Reject], StageReport]:
    """The wiki's files, verified, in the store."""
    with stage("scrape") as ledger, reachable(settings) as reached:
        inventory: Inventory = ledger.note(await call_async(scrape.inventory, reached.scrape))
        jobs, fetched = scrape.jobs_of(inventory, reached.scrape), []
        with progress("scrape", len(jobs), "files") as shown:
            for batch in batches(jobs, key=lambda job: job.content()):
                fetched += ledger.note(await scrape.fetch(tuple(batch), reached.scrape))
                shown.advance(len(batch))
        inventory = with_stable_address(inventory, settings, reached)
        originals, missing = scrape.originals_of(inventory, fetched)
        rejects = [*inventory.rejects, *missing]
        ledger.items_in, ledger.items_out, ledger.rejected = inventory.listed, len(originals), len(rejects)
    report = ledger.report()
    artifacts.show(report, f"Files of {inventory.site_name}, {inventory.wiki}", artifacts.rejects_table(rejects))
    return inventory, originals, rejects, report


def convert_originals(
    originals: tuple[Original, ...], settings: Settings
) -> tuple[list[Jpeg], list[Reject], StageReport]:
    """RGB JPEGs of distinct pictures."""
    keys, converted = {original.key for original in originals}, []
    with stage("convert") as ledger, progress("convert", len(keys), "images") as shown:
        for batch in batches(keys, key=str):
            outcome = call(convert.convert_batch, tuple(batch), settings.convert, keys_of=convert.stored_keys)
            converted += ledger.note(outcome)
            shown.advance(len(batch))
        jpegs, rejects = to_jpegs(originals, converted)
        kept, same = drop_duplicates(jpegs)
        ledger.items_in, ledger.items_out = len(originals), len(kept)
        ledger.rejected = len(rejects) + len(same)
    report, rejects = ledger.report(), [*rejects, *same]
    artifacts.show(report, artifacts.jpegs_sheet(kept, Store()), artifacts.rejects_table(rejects))
    return kept, rejects, report


def caption_jpegs(jpegs: list[Jpeg], settings: Settings) -> tuple[list[CaptionedImage], list[Reject], StageReport]:
    """What BLIP says of each picture."""
    captions = []
    with stage("caption") as ledger, progress("caption", len(jpegs), "images") as shown:
        identity = checked_identity(settings.caption.model, settings.caption.revision)
        for batch in batches({jpeg.key for jpeg in jpegs}, key=str):
            captions += ledger.note(call(caption_batch, tuple(batch), settings.caption, identity))
            shown.advance(len(batch))
        rows, rejects = to_rows(jpegs, captions)
        ledger.items_in, ledger.items_out, ledger.rejected = len(jpegs), len(rows), len(rejects)
    report = ledger.report()
    artifacts.show(report, artifacts.captions_table(rows, Store()), artifacts.rejects_table(rejects))
    return rows, rejects, report


def build_dataset(
    inventory: Inventory, rows: list[CaptionedImage], rejects: list[Reject], settings: Settings
) -> tuple[DatasetRef, StageReport]:
    """Parquet shards and a card in the store, and on the hub when a repository is named."""
    with stage("dataset") as ledger:
        identity = checked_identity(settings.caption.model, settings.caption.revision)
        source = DatasetSource(
            wiki=inventory.wiki,
            site_name=inventory.site_name,
            rights=inventory.rights,
            rights_basis=settings.scrape.rights_basis,
            listed=inventory.listed,
            aliases=sum(len(image.aliases) for image in inventory.images),
            caption=provenance(settings.caption, identity),
        )
        ordered = tuple(sorted(rows, key=lambda row: (row.jpeg.key, row.jpeg.original.image.title)))
        outcome = call(dataset.build, ordered, tuple(rejects), source, settings.dataset, keys_of=dataset.stored_keys)
        ref = ledger.note(outcome)
        if settings.dataset.repo_id:
            ref = ledger.note(call(dataset.publish, ref, settings.dataset))
        ledger.items_in = ledger.items_out = len(rows)
    report = ledger.report()
    artifacts.show(report, artifacts.dataset_facts(ref))
    return ref, report
