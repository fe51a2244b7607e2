"""What can go wrong while reading a wiki; every message is one line that names the thing, the reason and a remedy."""

from tasks.scrape.records import Fetched


class ScrapeError(RuntimeError):
    """The wiki cannot be read as asked; trying again will not help."""


class Busy(ScrapeError):
    """The wiki cannot answer now. `wait`: seconds to wait before asking again; None: not in this run."""

    def __init__(self, message: str, wait: float | None = None):
        super().__init__(message)
        self.wait = wait


class Unreachable(Busy):
    """No connection to the wiki."""


class Resting(Busy):
    """The wiki asks to be left alone for longer than a run waits."""


class Incomplete(Busy):
    """Nearly all files of a batch came, some could not be had now: `fetched` has them all, those with their reason."""

    def __init__(self, message: str, fetched: tuple[Fetched, ...]):
        super().__init__(message)
        self.fetched = fetched


class Unfit(ScrapeError):
    """One file cannot be had and never will: it is rejected with this reason."""
