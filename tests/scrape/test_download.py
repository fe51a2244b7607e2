"""Downloads are verified, kept file by file, and never fetched twice; what fails is named."""

import hashlib
import io
from dataclasses import replace

import httpx
import pytest
from PIL import Image
from pydantic import ValidationError

from tasks.common.records import Inventory
from tasks.common.store import Store
from tasks.scrape.download import fetch_all, original_address, recall
from tasks.scrape.errors import Down, Resting, ScrapeError
from tasks.scrape.inventory import take_inventory
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import FetchJob
from tasks.scrape.scrape import jobs_of, originals_of, scrape
from tests.scrape.faults import Fault, faulty_wiki, small_wiki


@pytest.fixture
def started(quick):
    """(inventory, jobs, an open client) of a faulty wiki."""

    async def start(wiki) -> tuple[Inventory, tuple, PoliteClient]:
        settings = quick(wiki.api_url)
        client = PoliteClient(settings)
        inventory = await take_inventory(settings, client)
        return inventory, jobs_of(inventory, settings), client

    return start


async def test_the_whole_stage_keeps_the_bytes_the_wiki_has(quick, store):
    wiki = small_wiki()
    with faulty_wiki(wiki=wiki) as running:
        done: list[int] = []
        inventory, originals, lost = await scrape(quick(running.api_url), store, done.append)
    assert not lost
    assert sum(done) == len(inventory.images) == len(originals) == 6
    assert {o.image.title: store.read(o.key) for o in originals} == {f.title: wiki.data(f) for f in wiki.files}


async def test_a_second_run_downloads_nothing(quick, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        first = await scrape(quick(running.api_url), store)
        running.requests.clear()
        assert await scrape(quick(running.api_url), store) == first
    assert not running.asked("/images/")
    assert len(running.requests) <= 3


async def test_wrong_bytes_are_rejected_with_both_hashes(started, store):
    wrong = b"<html>not a picture</html>"
    with faulty_wiki(wiki=small_wiki()) as running:
        inventory, jobs, client = await started(running)
        running.faults.append(Fault(jobs[0].url.partition("/images/")[2], 200, wrong, times=9))
        fetched = await fetch_all(jobs, client, store)
    originals, (reject,) = originals_of(inventory, fetched)
    assert len(originals) == 5
    assert (reject.title, reject.sha1) == (inventory.images[0].title, jobs[0].sha1)
    assert hashlib.sha1(wrong).hexdigest() in reject.reason
    assert jobs[0].sha1 in reject.reason


async def test_a_stale_cache_on_the_way_is_passed_by(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault("/images/", 200, b"the former version", times=99, unless="Cache-Control"))
        assert all(f.key for f in await fetch_all(jobs, client, store))


async def test_a_missing_file_is_a_reject_and_the_others_come(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault(jobs[2].url.partition("/images/")[2], 404))
        fetched = await fetch_all(jobs, client, store)
    assert [f.sha1 for f in fetched if f.reason] == [jobs[2].sha1]
    assert "404" in (fetched[2].reason or "")


async def test_after_an_outage_only_what_is_missing_is_fetched(started, store):
    with faulty_wiki(wiki=small_wiki(8)) as running:
        _, jobs, client = await started(running)
        for job in jobs[:3]:
            running.faults.append(Fault(job.url.partition("/images/")[2], 503, times=4))
        failed = await fetch_all(jobs, client, store)
        assert [f.verified for f in failed] == [False] * 3 + [True] * 5
        running.requests.clear()
        fetched = await fetch_all(jobs, client, store)
    assert all(f.key for f in fetched)
    assert len(running.asked("/images/")) == 3


async def test_one_file_that_always_fails_does_not_cost_the_others(started, store):
    with faulty_wiki(wiki=small_wiki(8)) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault(jobs[0].url.partition("/images/")[2], 503, times=99))
        bad, *good = await fetch_all(jobs, client, store)
    assert not bad.verified
    assert "503" in (bad.reason or "")
    assert all(f.key for f in good)


async def test_a_file_lost_from_the_store_is_fetched_again(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        first = await fetch_all(jobs, client, store)
        store.path(first[0].key).unlink()
        running.requests.clear()
        assert await fetch_all(jobs, client, store) == first
    assert len(running.asked("/images/")) == 1
    assert hashlib.sha1(store.read(first[0].key)).hexdigest() == jobs[0].sha1


def test_fandom_is_asked_for_the_original():
    latest = "https://static.wiki.example/show/images/a/ab/Name.png/revision/latest?cb=20240102"
    assert original_address(latest) == f"{latest}&format=original"
    assert original_address("https://wiki.example/images/a/ab/Name.png") == "https://wiki.example/images/a/ab/Name.png"


BAD_ANSWERS = {
    "forbidden": Fault("", 403, b"<html>no</html>"),
    "html": Fault("", 200, b"<html>please come in</html>", "text/html"),
    "teapot": Fault("", 418),
    "partial": Fault("", 206, b"x"),
    "not modified": Fault("", 304, b""),
    "empty": Fault("", 200, b"", "image/png"),
    "always 500": Fault("", 500),
    "torn": Fault("", 200, b"x", promise=100),
}


@pytest.mark.parametrize("fault", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_what_was_not_verified_is_a_failure_that_the_healed_wiki_mends(started, store, fault):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        running.faults += [replace(fault, match=httpx.URL(job.url).path, times=99) for job in jobs[:2]]
        fetched = await fetch_all(jobs, client, store)
        assert [f.verified for f in fetched] == [False] * 2 + [True] * 4
        assert all(f.reason for f in fetched[:2])
        running.faults.clear()
        running.requests.clear()
        assert all(f.verified for f in await fetch_all(jobs, client, store))
        assert len(running.asked("/images/")) == 2


async def test_two_files_that_always_fail_of_24_are_two_rejects(quick, store):
    small = small_wiki(24)
    with faulty_wiki(wiki=small) as running:
        running.faults += [Fault(file.path, 500, times=999) for file in small.files[3:5]]
        _, originals, lost = await scrape(quick(running.api_url), store)
        assert len(originals) == 22
        assert sorted(r.title for r in lost) == sorted(f.title for f in small.files[3:5])
        assert len(running.asked("/images/")) == 22 + 2 * 4  # as often as `attempts` says and no more
        assert all(r.reason.startswith("not to be had now: ") and "500" in r.reason for r in lost)


async def test_a_wiki_that_is_down_ends_the_batch_after_a_few_files(started, store):
    with faulty_wiki(wiki=small_wiki(40)) as running:
        _, jobs, client = await started(running)
        running.faults.append(Fault("/", 500, times=9999))
        with pytest.raises(Down, match=r"of 40 files can't be had now.*in a row"):
            await fetch_all(jobs, client, store)
        assert len(running.asked("/images/")) < 60  # and not 40 × 4


async def test_many_files_that_always_fail_end_neither_this_run_nor_the_next(quick, store):
    """Ten of forty: in the second run they are all that is asked for, and the host looks down but for its API."""
    small = small_wiki(40)
    with faulty_wiki(wiki=small) as running:
        running.faults += [Fault(file.path, 500, times=9999) for file in small.files[:10]]
        for _ in range(2):
            _, originals, lost = await scrape(quick(running.api_url), store)
            assert (len(originals), len(lost)) == (30, 10)


async def test_a_wiki_of_which_most_is_lost_stops_the_run_and_mends(quick, store):
    small = small_wiki(24)
    with faulty_wiki(wiki=small) as running:
        running.faults += [Fault(f.path, 200, b"<html>come in</html>", times=99) for f in small.files[2:]]
        with pytest.raises(ScrapeError, match=r"22 of 24 files .* more than most_lost 0\.25; 22 because: wrong bytes"):
            await scrape(quick(running.api_url), store)
        running.faults.clear()
        _, originals, lost = await scrape(quick(running.api_url), store)
    assert (len(originals), lost) == (24, ())


async def test_a_long_rest_is_respected_by_the_whole_batch(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        path = httpx.URL(jobs[0].url).path
        running.faults.append(Fault(path, 503, headers={"Retry-After": "3600"}, times=9))
        with pytest.raises(Resting, match=r"1 of 6 files.*3600 s"):
            await fetch_all(jobs, client, store)
        assert len(running.asked(path)) == 1
        running.faults.clear()
        running.requests.clear()
        assert all(f.verified for f in await fetch_all(jobs, client, store))
        assert len(running.asked("/images/")) == 1


def picture(width: int, height: int = 40, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(out, form)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (picture(512), None),
        (picture(960), None),  # the next of the widths the wiki offers
        (picture(512, form="WEBP"), None),
        (picture(64), "wrong size"),
        (picture(2000), "wrong size"),
        (b"<html>error</html>", "no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
        (picture(512, 512)[:5000], "no image"),
        (b"", "no image"),
    ],
)
async def test_a_rendered_svg_is_kept_only_if_it_is_an_image_of_about_that_width(started, store, data, reason):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        job = jobs[0].model_copy(update={"rendered_width": 512})
        running.faults.append(Fault(httpx.URL(job.url).path, 200, data, "image/png", times=9))
        (fetched,) = await fetch_all([job], client, store)
    assert fetched.verified is (reason is None)
    assert (fetched.reason or "").partition(":")[0] == (reason or "")


def note(job: FetchJob, key: str, store: Store) -> None:
    """An entry as earlier versions made it."""
    entry = store.root / "fetched" / job.sha1[:2] / job.content()
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(key)


async def test_files_that_an_earlier_version_fetched_are_not_fetched_again(started, store):
    small = small_wiki()
    with faulty_wiki(wiki=small) as running:
        _, jobs, client = await started(running)
        data = {hashlib.sha1(small.data(file)).hexdigest(): small.data(file) for file in small.files}
        for job in jobs[:4]:
            note(job, store.put(data[job.sha1]), store)
        fetched = await fetch_all(jobs, client, store)
        assert [store.read(f.key or "") for f in fetched] == [data[job.sha1] for job in jobs]
        assert len(running.asked("/images/")) == 2


async def test_what_is_remembered_is_one_object_however_many_files(started, shared_store):
    store = Store()
    with faulty_wiki(wiki=small_wiki(40)) as running:
        _, jobs, client = await started(running)
        await fetch_all(jobs, client, store)
        running.requests.clear()
        await fetch_all(jobs, client, store)
        assert not running.asked("/images/")
    store.root.fs.invalidate_cache()
    root = store.root.path
    areas = [path.removeprefix(root).strip("/").split("/")[0] for path in store.root.fs.find(root)]
    assert len(areas) - areas.count("objects") - areas.count("leases") == 1, areas


async def test_a_rendering_kept_unseen_before_is_looked_at(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        job = jobs[0].model_copy(update={"rendered_width": 512})
        note(job, store.put(b"<html>error</html>"), store)
        running.faults.append(Fault(httpx.URL(job.url).path, 200, picture(512), "image/png", times=9))
        (fetched,) = await fetch_all([job], client, store)
    assert fetched.verified


async def test_an_index_entry_that_is_no_key_is_none(started, store):
    with faulty_wiki(wiki=small_wiki()) as running:
        _, jobs, client = await started(running)
        note(jobs[0], "../../../etc/passwd", store)
        assert recall(jobs[0], store) is None
        assert all(f.verified for f in await fetch_all(jobs[:1], client, store))


@pytest.mark.parametrize("sha1", ["../../x", "/etc/passwd", "AB" * 20, ""])
def test_a_job_of_no_sha1_cannot_be_made(sha1):
    with pytest.raises(ValidationError):
        FetchJob(sha1=sha1, url="http://127.0.0.1/a.png", size=1)
