"""Fetch files, verify them against the sha1 the wiki's API gave, and keep them under a durable index.

The index (`fetched/<sha1>` in the store's root, holding a store key) is written file by file, so that a run which was
cut off fetches only what is missing.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from tasks.files import write_atomically
from tasks.scrape.errors import Busy, Incomplete, Resting, Unfit
from tasks.scrape.polite import PoliteClient
from tasks.scrape.records import Fetched, FetchJob
from tasks.store import Store

# Some hosts turn files into WebP for whoever names it here; */* alone does not.
ACCEPT = "image/png,image/jpeg,image/gif,image/svg+xml,*/*;q=0.5"
# The share of a batch that may be left for a later run: one file the wiki always fails on must not stop every run, but
# half a wiki missing for an hour must not become a dataset.
TOLERATED = 0.05
MOST_RENDERED = 64 << 20  # bytes of a rendered SVG, whose size nobody tells


def original_address(url: str) -> str:
    """The address of the uploaded bytes: Fandom's `…/Name.png/revision/latest` gives WebP unless told not to."""
    address = httpx.URL(url)
    return str(address.copy_merge_params({"format": "original"}) if "/revision/" in address.path else address)


async def fetch(job: FetchJob, client: PoliteClient) -> bytes:
    """The bytes of a file; of an original, those whose sha1 is the API's.

    Raises Unfit (never to be had: 404, wrong bytes, forbidden) or Busy (not now).
    """
    url = original_address(job.url)
    limit = MOST_RENDERED if job.rendered_width else job.size
    data = await _get(url, client, limit, fresh=False)
    if job.rendered_width or _sha1(data) == job.sha1:
        return data
    # A cache on the way may still hold the file's former version.
    data = await _get(url, client, limit, fresh=True)
    if _sha1(data) != job.sha1:
        raise Unfit(f"its bytes have sha1 {_sha1(data)}, but the wiki says {job.sha1}")
    return data


async def _get(url: str, client: PoliteClient, limit: int, fresh: bool) -> bytes:
    answer = await client.get(url, accept=ACCEPT, limit=limit, fresh=fresh)
    if answer.status != 200:
        raise Unfit(f"status {answer.status} for {httpx.URL(url).path}")
    return answer.body


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


async def fetch_all(
    jobs: Sequence[FetchJob], client: PoliteClient, store: Store, progress: Callable[[int], None] = lambda n: None
) -> tuple[Fetched, ...]:
    """What came of each job, in order. Files fetched before are not fetched again.

    Raises Incomplete (few) or Busy (more; Resting when the wiki asks for a long rest), after all that could be had is
    kept, when files could not be had for now.
    """
    busy: list[Busy] = []

    async def one(job: FetchJob) -> Fetched:
        key = recall(job, store)
        if key is None:
            try:
                data = await fetch(job, client)
            except Unfit as error:
                progress(1)
                return Fetched(sha1=job.sha1, reason=str(error))
            except Busy as error:
                busy.append(error)
                return Fetched(sha1=job.sha1, reason=f"not to be had now: {error}")
            key = await asyncio.to_thread(keep, job, data, store)
        progress(1)
        return Fetched(sha1=job.sha1, key=key)

    fetched = tuple(await asyncio.gather(*(one(job) for job in jobs)))
    if busy:
        message = f"{len(busy)} of {len(jobs)} files can't be had now, the rest is kept; run again (first: {busy[0]})"
        few = len(busy) <= max(1, TOLERATED * len(jobs)) < len(jobs)
        if few:
            raise Incomplete(message, fetched)
        raise Resting(message) if any(isinstance(error, Resting) for error in busy) else Busy(message)
    return fetched


def recall(job: FetchJob, store: Store) -> str | None:
    """The store key of a file fetched before, or None."""
    entry = _entry(job, store)
    if not entry.exists():
        return None
    key = entry.read_text()
    return key if store.has(key) else None


def keep(job: FetchJob, data: bytes, store: Store) -> str:
    """Store the bytes, then note that this file is there; returns the key."""
    key = store.put(data)
    entry = _entry(job, store)
    if store.is_local:
        write_atomically(Path(str(entry)), key.encode())
    else:
        entry.write_text(key)
    return key


def _entry(job: FetchJob, store: Store):
    return store.root / "fetched" / job.sha1[:2] / job.content()
