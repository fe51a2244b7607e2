"""When a file that failed is tried again, and when so many failed that the run must stop."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from tasks.common.records import Reject
from tasks.scrape.errors import ScrapeError
from tasks.scrape.failures import Failure, check_lost, due, failed, next_try, skipped

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def after(tries: int) -> Failure:
    return Failure(item="ab" * 20, tries=tries, last=NOW, reason="status 403: for /images/a/ab/A.png")


@pytest.mark.parametrize(("tries", "hours"), [(1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 24), (5000, 24)])
def test_the_next_run_tries_at_once_and_later_ones_after_doubling_pauses(tries, hours):
    pause = timedelta(hours=hours)
    assert due(after(tries), NOW + pause)
    if hours:
        assert not due(after(tries), NOW + pause - timedelta(seconds=1))


def test_a_clock_that_went_back_holds_nothing_up():
    assert due(after(7), NOW - timedelta(days=400))


def test_a_failure_counts_on_and_one_without_a_time_zone_is_refused():
    first = failed(None, "ab", "status 403", NOW)
    assert failed(first, "ab", "status 500", NOW) == Failure(item="ab", tries=2, last=NOW, reason="status 500")
    with pytest.raises(ValidationError, match="last"):
        failed(first, "ab", "status 403", datetime(2026, 5, 4))


def test_what_is_skipped_says_why_and_until_when():
    reason = skipped(after(3))
    assert reason.startswith("status 403: for /images/a/ab/A.png")
    assert "3 runs" in reason
    assert f"{next_try(after(3)):%Y-%m-%d %H:%M}" in reason


def lost(*reasons: str) -> list[Reject]:
    return [Reject(title=f"File:{i}.png", sha1="", stage="scrape", reason=r) for i, r in enumerate(reasons)]


@pytest.mark.parametrize(("listed", "count"), [(24, 0), (24, 6), (3, 2), (0, 0)])
def test_a_share_of_the_files_may_fail(quick, listed, count):
    check_lost(listed, lost(*["status 404"] * count), quick("http://127.0.0.1/api.php"))


@pytest.mark.parametrize(("listed", "count", "share"), [(24, 7, 0.25), (3, 3, 0.25), (1, 1, 0.25), (24, 3, 0.0)])
def test_more_than_that_stops_the_run_with_counts_and_the_commonest_reason(quick, listed, count, share):
    reasons = [f"wrong bytes: sha1 {i}" for i in range(count - 1)] + ["status 404: for /a"] * (count > 1)
    settings = quick("http://127.0.0.1/api.php", most_lost=share)
    with pytest.raises(ScrapeError, match=rf"^{count} of {listed} files") as caught:
        check_lost(listed, lost(*(reasons or ["wrong bytes: x"])), settings)
    said = str(caught.value)
    assert f"{max(1, count - 1)} because: wrong bytes" in said
    assert "most_lost" in said
    assert "\n" not in said


def test_all_may_fail_only_if_there_is_nothing_else(quick):
    check_lost(24, lost(*["status 404"] * 23), quick("http://127.0.0.1/api.php", most_lost=1))
    with pytest.raises(ScrapeError, match="24 of 24"):
        check_lost(24, lost(*["status 404"] * 24), quick("http://127.0.0.1/api.php", most_lost=1))
