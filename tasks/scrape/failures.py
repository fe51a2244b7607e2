"""Files that could not be had: when each is tried again, and when so many are lost that the run must stop.

A failure is never final: a wiki that was blocked, moved or half down heals, and its files must come back by themselves.
So a failure is remembered only to be gentle: the next run tries again at once, later ones after a pause.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from tasks.common.records import Record, Reject
from tasks.scrape.errors import ScrapeError
from tasks.scrape.settings import ScrapeSettings

FIRST_PAUSE = timedelta(hours=1)
# A day and no more: whoever mends the wiki and runs again tomorrow gets the files.
LONGEST_PAUSE = timedelta(days=1)
# Fewer lost files never stop a run, whatever their share: one of three is a bad file, not a bad wiki.
FEWEST_LOST = 3


class Failure(Record):
    """An item (`FetchJob.content()`) that could not be had `tries` runs in a row, the `last` time when and why."""

    item: str
    tries: int = Field(ge=1)
    last: AwareDatetime
    reason: str


def failed(before: Failure | None, item: str, reason: str, now: datetime) -> Failure:
    """The record of one more failure, after the one `before`, if any."""
    return Failure(item=item, tries=before.tries + 1 if before else 1, last=now, reason=reason)


def next_try(failure: Failure) -> datetime:
    """From when on the item is tried again: at once after one failure, then after 1 h, doubled with each, to a day."""
    if failure.tries < 2:
        return failure.last
    doublings = min(failure.tries - 2, 16)  # far beyond the longest pause, and no overflow
    return failure.last + min(LONGEST_PAUSE, FIRST_PAUSE * 2**doublings)


def due(failure: Failure, now: datetime) -> bool:
    """Whether a run at `now` (with time zone) tries the item again. A clock that went back never holds it up."""
    return now >= next_try(failure) or now < failure.last


def skipped(failure: Failure) -> str:
    """The reject's reason of an item that is not due: why it failed, how often, and when it is tried again."""
    again = f"{next_try(failure):%Y-%m-%d %H:%M %Z}"
    return f"{failure.reason} (failed in {failure.tries} runs, is tried again after {again})"


def check_lost(listed: int, failures: Sequence[Reject], settings: ScrapeSettings) -> None:
    """Raise ScrapeError when more than the share `most_lost` of the `listed` files failed (and three or more, or all).

    `failures` are the files that should have come and did not, those skipped until later among them; not the files
    that the settings leave out.
    """
    lost = len(failures)
    if not lost or (lost < listed and (lost < FEWEST_LOST or lost <= settings.most_lost * listed)):
        return
    # Reasons begin with what they have in common; the figures of the single file come after the colon.
    kind, count = Counter(reject.reason.partition(":")[0] for reject in failures).most_common(1)[0]
    example = next(reject for reject in failures if reject.reason.startswith(kind))
    raise ScrapeError(
        f"{lost} of {listed} files of {settings.api_url or 'the wiki'} could not be had, more than most_lost "
        f"{settings.most_lost:g}; {count} because: {example.reason} ({example.title}). What came is kept: "
        "look at the wiki and run again, or raise most_lost"
    )
