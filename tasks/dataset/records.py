"""What the dataset stage is told beside the rows."""

from tasks.common.errors import WikistyleError
from tasks.common.records import Record


class DatasetSource(Record):
    """Where the rows came from, for the card.

    The wiki's address, name and rights statement; the user's sentence on why the files may be used; how many files the
    wiki `listed`, and how many of these are `aliases`, other names of listed files; and how the captions were made.
    """

    wiki: str
    site_name: str
    rights: str
    rights_basis: str
    listed: int
    aliases: int
    caption: dict[str, str | int | float]


class DatasetError(WikistyleError):
    """The dataset can't be built or written; the message says why and what to do, in one line."""
