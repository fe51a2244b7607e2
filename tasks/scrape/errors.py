"""What can go wrong while reading a wiki; every message is one line that names the thing, the reason and a remedy."""

from tasks.common.errors import WikistyleError


class ScrapeError(WikistyleError):
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


class Down(Busy):
    """A host failed for many addresses in a row, without one success."""


class Unfit(ScrapeError):
    """One file cannot be had as the wiki is now: it is rejected with this reason, which begins with its kind."""
