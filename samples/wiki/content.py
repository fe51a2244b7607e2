"""What the sample wiki holds: files, categories, and the addresses MediaWiki would give them."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

HERE = Path(__file__).parent
# MediaWiki names pages by $wgCanonicalServer wherever it is reached; so links in a dataset do not change with the port.
CANONICAL = "http://127.0.0.1:8977"


def underscored(title: str) -> str:
    """A title as it stands in addresses and database keys: "Pig face.png" → "Pig_face.png"."""
    return title.replace(" ", "_")


@dataclass(frozen=True)
class WikiFile:
    """One upload as wiki.json tells it, plus its page number (in upload order, as MediaWiki counts)."""

    page_id: int
    row: dict[str, Any]

    @property
    def title(self) -> str:
        return self.row["title"]

    @property
    def name(self) -> str:
        """The file's database key: "Pig_face.png"."""
        return underscored(self.title.removeprefix("File:"))

    @property
    def path(self) -> str:
        """The address path of the original, two levels of folders by the md5 of the name, as MediaWiki does."""
        digest = hashlib.md5(self.name.encode()).hexdigest()
        return f"/images/{digest[0]}/{digest[:2]}/{quote(self.name)}"

    def thumb(self, width: int) -> str:
        """The address path of a thumbnail, as MediaWiki writes it."""
        return f"{self.path.replace('/images/', '/images/thumb/', 1)}/{width}px-{quote(self.name)}"

    @property
    def page_url(self) -> str:
        return f"{CANONICAL}/wiki/{quote(underscored(self.title), safe='/:')}"


class SampleWiki:
    """The wiki at one of its two moments: after the first uploads, or after the second wave as well."""

    def __init__(self, second_wave: bool = False, folder: Path = HERE):
        data = json.loads((folder / "wiki.json").read_text())
        self.folder = folder / "files"
        self.site: dict[str, str] = data["site"]
        self.parents: dict[str, list[str]] = data["categories"]
        latest: dict[str, WikiFile] = {}
        for row in data["files"]:
            if row["wave"] == 1 or second_wave:  # a later row of the same title is a re-upload: same page, new file
                known = latest.get(row["title"])
                latest[row["title"]] = WikiFile(known.page_id if known else 100 + len(latest), row)
        self.files = sorted(latest.values(), key=lambda f: f.name)

    @cached_property
    def by_name(self) -> dict[str, WikiFile]:
        return {f.name: f for f in self.files}

    @cached_property
    def category_ids(self) -> dict[str, int]:
        return {name: 10 + i for i, name in enumerate(self.parents)}

    def files_in(self, category: str) -> list[WikiFile]:
        """The files filed directly under a category, by name."""
        return [f for f in self.files if category in f.row["categories"]]

    def subcategories(self, category: str) -> list[str]:
        """The categories filed directly under a category, by name."""
        return sorted(name for name, parents in self.parents.items() if category in parents)

    def data(self, file: WikiFile) -> bytes:
        """The bytes of a file."""
        return (self.folder / file.row["file"]).read_bytes()
