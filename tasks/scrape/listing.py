"""The list of a wiki's files, followed to its end, however the wiki cuts it into parts, and bounded if it has none.

https://www.mediawiki.org/wiki/API:Continue, https://www.mediawiki.org/wiki/API:Allimages
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tasks.common.fields import for_message
from tasks.common.records import Reject
from tasks.common.settings import digest
from tasks.scrape.answers import FilePage, parse_answer, parse_page
from tasks.scrape.errors import ScrapeError
from tasks.scrape.polite import PoliteClient

PROPERTIES = {
    "prop": "imageinfo|categories|templates",
    "iiprop": "url|size|sha1|mime|timestamp|user|extmetadata",
    "cllimit": "max",
    "tllimit": "max",
}
# Far above the largest fan wikis (300,000 files), far below what a wiki that invents files for ever would fill.
MOST_FILES = 1_000_000
MOST_REQUESTS = 20_000
# Requests in a row that bring no new page: 500 files with a hundred categories and templates each take 200.
MOST_WITHOUT_NEWS = 500


@dataclass
class Listing:
    """What was listed so far: pages by title, malformed entries by page number and title; and how many requests."""

    pages: dict[str, FilePage] = field(default_factory=dict)
    bad: dict[str, Reject] = field(default_factory=dict)
    requests: int = 0

    def add(self, entry: dict[str, Any]) -> None:
        """Take in a part of a page; one malformed part makes the whole page a reject."""
        part = parse_page(entry)
        if isinstance(part, Reject):
            self.bad.setdefault(f"{for_message(entry.get('pageid'), 40)} {part.title}", part)
        elif known := self.pages.get(part.title):
            self.pages[part.title] = known.joined(part)
        else:
            self.pages[part.title] = part

    def good(self) -> dict[str, FilePage]:
        """The pages of which every part was well formed, sorted by title."""
        bad = {reject.title for reject in self.bad.values()}
        return {title: page for title, page in sorted(self.pages.items()) if title not in bad}


async def list_files(client: PoliteClient, progress: Callable[[int], None]) -> Listing:
    """Every file of the wiki; with `category` in the settings those of that category and all below it.

    Raises ScrapeError when the wiki doesn't answer as promised or its list doesn't end.
    """
    listing = Listing()
    if not client.settings.category:
        generator = {"generator": "allimages", "gaisort": "name", "gailimit": "500"}
        await walk(client, generator | PROPERTIES, listing, progress)
        return listing
    root = client.settings.category.replace("_", " ")
    waiting = [root if root.startswith("Category:") else f"Category:{root}"]
    visited: set[str] = set()  # categories can contain each other
    while waiting:
        category = waiting.pop()
        if category in visited:
            continue
        visited.add(category)
        generator = {"generator": "categorymembers", "gcmtitle": category, "gcmtype": "file|subcat", "gcmlimit": "500"}
        inside = Listing(bad=listing.bad, requests=listing.requests)
        await walk(client, generator | PROPERTIES, inside, progress)
        listing.requests = inside.requests
        listing.pages |= {title: page for title, page in inside.pages.items() if page.ns == 6}
        waiting += sorted((title for title, page in inside.pages.items() if page.ns == 14), reverse=True)
        _check_bounds(client, listing)
    return listing


async def walk(client: PoliteClient, params: dict[str, str], listing: Listing, progress: Callable[[int], None]) -> None:
    """Follow `continue` to its end, adding every page to the listing."""
    continuation: dict[str, str] = {}
    seen: set[str] = set()
    without_news = 0
    while True:
        answer = parse_answer(await client.api(**(params | continuation)), client.settings.api_url, params)
        listing.requests += 1
        before = len(listing.pages)
        for entry in answer.query.pages:
            listing.add(entry)
        new = len(listing.pages) - before
        progress(new)
        continuation = {name: str(value) for name, value in answer.following.items()}
        if not continuation:
            return
        token = digest(continuation)
        if token in seen:
            raise _endless(client, f"repeats itself (continuation {for_message(continuation)})")
        seen.add(token)
        without_news = 0 if new else without_news + 1
        if without_news > MOST_WITHOUT_NEWS:
            raise _endless(client, f"gave {without_news} answers in a row without a new file")
        _check_bounds(client, listing)


def _check_bounds(client: PoliteClient, listing: Listing) -> None:
    if len(listing.pages) + len(listing.bad) > MOST_FILES or listing.requests > MOST_REQUESTS:
        raise _endless(
            client, f"listed {len(listing.pages)} files in {listing.requests} answers without coming to an end"
        )


def _endless(client: PoliteClient, what: str) -> ScrapeError:
    return ScrapeError(
        f"wiki {client.settings.api_url} {what} and would never end; "
        "report it to the wiki's operators, or take one category"
    )
