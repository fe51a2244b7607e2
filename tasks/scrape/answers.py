"""What the wiki's API says, parsed strictly at the door; nothing else of it goes further.

A whole answer that isn't what the API promises is one ScrapeError; an entry of a list that isn't is a reject with its
reason, and the others go on. Fields we don't use are ignored.
https://www.mediawiki.org/wiki/API:Query, https://www.mediawiki.org/wiki/API:Imageinfo
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from tasks.common.fields import SHA1, Address, Bytes, Sha1, Side, Text, Title, for_message
from tasks.common.records import Reject
from tasks.scrape.errors import ScrapeError

M = TypeVar("M", bound="Said")
STAGE = "scrape"
MALFORMED = "the wiki's entry is malformed"
OURS = {"action", "format", "formatversion", "maxlag"}  # parameters of every request
MOST_ENTRIES = 5000  # of one list in one answer: MediaWiki's own limit, for bots


class Said(BaseModel):
    """Strict: a number in quotes is no number."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class General(Said):
    """siteinfo's general facts: `base` is the address of the main page."""

    base: Address
    sitename: Text


class Rights(Said):
    """siteinfo's rightsinfo: the licence of the whole wiki, in words and as an address."""

    text: Text = ""
    url: Text = ""


class Query(Said):
    """The query part of an answer; `pages` are entries still to be parsed, each by itself."""

    general: General | None = None
    rightsinfo: Rights = Rights()
    pages: list[dict[str, Any]] = Field(default=[], max_length=MOST_ENTRIES)


Parameter = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,40}$")]
Value = Annotated[str, StringConstraints(max_length=4000)] | int


class Answer(Said):
    """One answer; `following` are the parameters that ask for the next part, empty at the end."""

    query: Query = Query.model_validate({})
    following: dict[Parameter, Value] = Field(default={}, alias="continue", max_length=20)


class Named(Said):
    """A category or template of a page."""

    title: Title


class Statement(Said):
    """A value of extmetadata."""

    value: Text = ""


def _object(said: object) -> object:
    """PHP writes an empty object as an empty list."""
    return {} if said == [] else said


class Metadata(Said):
    """What the extension CommonsMetadata adds."""

    licence: Statement = Field(default=Statement(), alias="LicenseShortName")


class FileInfo(Said):
    """The newest revision of a file. `size` bytes, `width` and `height` px (0 where there are none)."""

    sha1: Sha1
    url: Address
    descriptionurl: Address
    mime: Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,100}/[\w.+*-]{1,100}$")]
    width: Side
    height: Side
    size: Bytes
    timestamp: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    user: Text = ""
    extmetadata: Annotated[Metadata, BeforeValidator(_object)] = Metadata.model_validate({})
    thumburl: Address | None = None  # of a rendered SVG, added later


def _newest(revisions: object) -> object:
    """The first of a list, and None where the file is missing or hidden from the public."""
    if not isinstance(revisions, list):
        raise ValueError("is no list")
    first = revisions[0] if revisions else None
    hidden = isinstance(first, dict) and ("filemissing" in first or "filehidden" in first)
    return None if hidden else first


class FilePage(Said):
    """A page of a file (namespace 6) or a category (14), as far as one answer tells."""

    title: Title
    ns: int
    info: Annotated[FileInfo | None, BeforeValidator(_newest)] = Field(default=None, alias="imageinfo")
    categories: list[Named] = Field(default=[], max_length=MOST_ENTRIES)
    templates: list[Named] = Field(default=[], max_length=MOST_ENTRIES)

    def joined(self, later: "FilePage") -> "FilePage":
        """With a later part: lists of categories and templates come in parts, of imageinfo the first is the newest."""
        return self.model_copy(
            update={
                "info": self.info or later.info,
                "categories": self.categories + later.categories,
                "templates": self.templates + later.templates,
            }
        )


class Thumb(Said):
    """Where the wiki renders an SVG."""

    thumburl: Address


class Rendering(Said):
    """The page of an SVG, asked for its rendering."""

    title: Title
    imageinfo: list[Thumb] = Field(min_length=1)


def parse_answer(content: dict[str, Any], wiki: str, asked: dict[str, str]) -> Answer:
    """The answer to a query with the parameters `asked`. Raises ScrapeError when it isn't one."""
    try:
        answer = Answer.model_validate(content)
        if again := answer.following.keys() & (asked.keys() | OURS):
            raise ValueError(f"continue: would change what was asked ({', '.join(sorted(again))})")
    except ValueError as error:
        raise ScrapeError(
            f"wiki {wiki} doesn't answer as MediaWiki's API promises ({_first(error)}); "
            "check that api_url is its api.php, or report it to the wiki's operators"
        ) from None
    return answer


def parse_page(entry: dict[str, Any]) -> FilePage | Reject:
    """An entry of a list of files, or the reject it becomes."""
    page = _parsed(FilePage, entry)
    return page if isinstance(page, FilePage) else malformed(entry, page)


def parse_rendering(entry: dict[str, Any]) -> Rendering | None:
    """Where an SVG is rendered, or None when the wiki doesn't say so."""
    rendering = _parsed(Rendering, entry)
    return rendering if isinstance(rendering, Rendering) else None


def malformed(entry: dict[str, Any], reason: str) -> Reject:
    """The reject of an entry that can't be what the API promises, under its title as far as that can be shown."""
    info = entry.get("imageinfo")
    sha1 = info[0].get("sha1") if isinstance(info, list) and info and isinstance(info[0], dict) else None
    known = sha1 if isinstance(sha1, str) and SHA1.fullmatch(sha1) else ""
    title = for_message(entry.get("title") or "(an entry without a title)")
    return Reject(title=title, sha1=known, stage=STAGE, reason=f"{MALFORMED}: {reason}")


def _parsed(model: type[M], entry: dict[str, Any]) -> M | str:
    """The entry as a model, or why it isn't one."""
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        return _first(error)


def _first(error: ValueError) -> str:
    """The first thing that is wrong, in one short line: where, why, and what was said there."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, str)) or "answer"
    said = "" if isinstance(first["input"], (dict, list)) else f", and not {for_message(repr(first['input']), 80)}"
    return f"{for_message(where, 80)}: {first['msg'].removeprefix('Value error, ')}{said}"
