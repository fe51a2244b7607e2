"""What the scrape stage hands from its inventory to its downloads and back."""

from typing import Self

from pydantic import Field, model_validator

from tasks.common.fields import Address, Bytes, Key, Report, Sha1
from tasks.common.records import Record


class FetchJob(Record):
    """One file to fetch: its sha1 (hex), address and size in bytes.

    `rendered_width` is 0 for an original; else the address is a PNG of so many px that the wiki renders of an SVG,
    whose bytes nothing vouches for.
    """

    sha1: Sha1
    url: Address
    size: Bytes
    rendered_width: int = Field(default=0, ge=0)

    def content(self) -> str:
        """What is fetched, wherever it lies: the key of caches, free of titles and addresses."""
        return f"{self.sha1}-{self.rendered_width}px" if self.rendered_width else self.sha1


class Fetched(Record):
    """What came of a job: the `key` of its verified bytes in the store, or the `reason` why it failed this time.

    Verified is an original with the sha1 that the API gave, and a rendering that decodes and is about as wide as asked.
    A failure is never final, whatever its reason.
    """

    sha1: Sha1
    key: Key | None = None
    reason: Report | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.key) == bool(self.reason):
            raise ValueError("what was fetched has either a key or a reason")
        return self

    @property
    def verified(self) -> bool:
        """Whether the bytes are there and right: the only outcome that may be remembered."""
        return self.key is not None
