"""What the scrape stage hands from its inventory to its downloads and back."""

from tasks.records import Record


class FetchJob(Record):
    """One file to fetch: its sha1 (hex), address and size in bytes.

    `rendered_width` is 0 for an original; else the address is a PNG of so many px that the wiki renders of an SVG,
    whose bytes nothing vouches for.
    """

    sha1: str
    url: str
    size: int
    rendered_width: int = 0

    def content(self) -> str:
        """What is fetched, wherever it lies: the key of caches, free of titles and addresses."""
        return f"{self.sha1}-{self.rendered_width}px" if self.rendered_width else self.sha1


class Fetched(Record):
    """What came of a job: the `key` of its bytes in the store, or the `reason` why they cannot be had."""

    sha1: str
    key: str | None = None
    reason: str | None = None
