"""Fetch files, verify them, and keep their bytes in the store.

An original is verified by the sha1 the wiki's API gave; a rendering, which has none, by decoding it. What was verified
is remembered file by file, so that a run which was cut off fetches only what is missing; a failure is never final.
Stores of earlier versions have an object for each file instead (`fetched/<sha1>`, holding a store key): it is read.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
from PIL import Image

from tasks.common.fields import SHA256, for_message
from tasks.common.memory import Memory
from tasks.common.store import Store
from tasks.scrape.errors import Busy, Down, Resting, Unfit
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob

# Some hosts turn files into WebP for whoever names it here; */* alone does not.
ACCEPT = "image/png,image/jpeg,image/gif,image/svg+xml,*/*;q=0.5"
RENDERED_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_RENDERED_PIXELS = 64_000_000
NAMESPACE, INDEX = "fetched-v1", "fetched"
ODD_WIDTH = 2  # a wiki may render in its own standard widths: up to so many times wider or narrower than asked


def original_address(url: str) -> str:
    """The address of the uploaded bytes: Fandom's `…/Name.png/revision/latest` gives WebP unless told not to."""
    address = httpx.URL(url)
    return str(address.copy_merge_params({"format": "original"}) if "/revision/" in address.path else address)


async def fetch(job: FetchJob, client: PoliteClient) -> bytes:
    """The bytes of a file, verified: of an original those whose sha1 is the API's, of a rendering an image.

    Raises Unfit (no use to ask again in this run: 404, wrong bytes, forbidden) or Busy (not now).
    """
    client.hosts.allow([job.url])
    url = original_address(job.url)
    if job.rendered_width:
        data = await _get(url, client, client.settings.max_bytes, fresh=False)
        await asyncio.to_thread(verify_rendering, data, job.rendered_width)
        return data
    limit = min(job.size, client.settings.max_bytes)
    data = await _get(url, client, limit, fresh=False)
    if _sha1(data) == job.sha1:
        return data
    # A cache on the way may still hold the file's former version.
    data = await _get(url, client, limit, fresh=True)
    if _sha1(data) != job.sha1:
        raise Unfit(f"wrong bytes: their sha1 is {_sha1(data)}, but the wiki says {job.sha1}")
    return data


async def _get(url: str, client: PoliteClient, limit: int, fresh: bool) -> bytes:
    answer = await client.get(url, accept=ACCEPT, limit=limit, fresh=fresh)
    if answer.status != 200:
        raise Unfit(f"status {answer.status}: for {for_message(httpx.URL(url).path)}")
    return answer.body


def verify_rendering(data: bytes, width: int) -> None:
    """Raise Unfit unless the bytes decode to an image about `width` px wide."""
    try:
        with Image.open(io.BytesIO(data), formats=RENDERED_FORMATS) as image:
            came = image.width
            if came * image.height > MOST_RENDERED_PIXELS:
                raise ValueError(f"{came} × {image.height} px")
            image.load()
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise Unfit(f"no image: what the wiki rendered of the SVG does not decode ({for_message(error)})") from None
    if not width / ODD_WIDTH <= came <= width * ODD_WIDTH:
        raise Unfit(f"wrong size: the wiki rendered the SVG {came} px wide, asked for {width}")


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


async def fetch_each(
    jobs: Sequence[FetchJob], client: PoliteClient, store: Store
) -> AsyncIterator[tuple[FetchJob, Fetched]]:
    """Each job as it is done, with verified bytes or the reason of a failure. Files of an earlier version's index
    aren't asked for.

    A file that stays busy while the wiki answers otherwise is such a failure. Raises Down when the wiki doesn't, and
    Resting when it asks for a long rest, after all that could be had has come; the other files then don't come.
    """
    client.hosts.allow(job.url for job in jobs)
    ending: list[tuple[FetchJob, Down | Resting]] = []

    has_index = await asyncio.to_thread((store.root / INDEX).exists)

    async def one(job: FetchJob) -> tuple[FetchJob, Fetched | None]:
        key = await asyncio.to_thread(recall, job, store) if has_index else None
        if key is None:
            try:
                data = await fetch(job, client)
            except (Down, Resting) as error:
                ending.append((job, error))
                return job, None
            except Busy as error:
                return job, _not_now(job, error)
            except Unfit as error:
                return job, Fetched(sha1=job.sha1, reason=str(error))
            key = await asyncio.to_thread(store.put, data)
        return job, Fetched(sha1=job.sha1, key=key)

    running = [asyncio.ensure_future(one(job)) for job in jobs]
    try:
        for done in asyncio.as_completed(running):
            job, fetched = await done
            if fetched:
                yield job, fetched
    finally:
        for fetching in running:
            fetching.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if not ending:
        return
    first = next((error for _, error in ending if isinstance(error, Resting)), ending[0][1])
    # Many files that always fail look like a host that is down, and must not end this run and each one after it.
    if isinstance(first, Resting) or not await client.answers():
        left = f"{len(ending)} of {len(jobs)} files can't be had now, the rest is kept; run again (first: {first})"
        raise type(first)(left)
    for job, error in ending:
        yield job, _not_now(job, error)


def _not_now(job: FetchJob, error: Busy) -> Fetched:
    return Fetched(sha1=job.sha1, reason=f"not to be had now: {error}")


async def fetch_all(
    jobs: Sequence[FetchJob], client: PoliteClient, store: Store, progress: Callable[[int], None] = lambda n: None
) -> tuple[Fetched, ...]:
    """What `fetch_each` gives, all of it and in the jobs' order; raises what it raises. `progress` hears of each.

    For use without Prefect: what was verified is remembered, and not asked for again while the store has it.
    """
    memory = Memory(store, NAMESPACE, Fetched)
    remembered = {item: results[0] for item, results in memory.load().items()}
    known = {job.content(): remembered[job.content()] for job in jobs if job.content() in remembered}
    missing = store.missing(fetched.key for fetched in known.values() if fetched.key)
    came = {item: fetched for item, fetched in known.items() if fetched.key not in missing}
    left = [job for job in jobs if job.content() not in came]
    progress(len(jobs) - len(left))
    with memory.writing() as writer:
        async for job, fetched in fetch_each(left, client, store):
            came[job.content()] = fetched
            if fetched.verified:
                writer.add(job.content(), fetched)
            progress(1)
    memory.tidy()
    return tuple(came[job.content()] for job in jobs)


def recall(job: FetchJob, store: Store) -> str | None:
    """The store key of a file that an earlier version fetched, or None. A rendering is looked at again."""
    entry = store.root / INDEX / job.sha1[:2] / job.content()
    key = entry.read_text() if entry.exists() else ""
    if not SHA256.fullmatch(key) or not store.has(key):
        return None
    if job.rendered_width:
        try:
            verify_rendering(store.read(key), job.rendered_width)
        except Unfit:
            return None
    return key
