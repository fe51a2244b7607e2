"""Types of fields whose values come from outside: what does not fit is refused where it is read.

A sha1 or a store key is hex digits and nothing else, so that it may become a name in a folder; an address is one that
may be fetched; a text can be printed, written as UTF-8 and put into a table.
"""

import re
import unicodedata
from typing import Annotated

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_ADDRESS = 4096  # a MediaWiki name has 255 bytes, three characters each in an address, twice in a thumbnail's
LONGEST_TITLE = 400  # bytes of UTF-8: MediaWiki's own limit is 255, the namespace's name not counted
LONGEST_TEXT = 1000  # characters
# Unicode categories no title has: control characters, halves of surrogate pairs, line and paragraph separators.
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
# https://www.mediawiki.org/wiki/Manual:Page_title; the last two ranges turn the direction of the text around them.
NEVER_IN_TITLES = re.compile("[#<>\\[\\]|{}\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text if it can be printed and written in one line; raises ValueError else."""
    for character in text:
        if unicodedata.category(character) in UNPRINTABLE:
            raise ValueError(f"has the unprintable character U+{ord(character):04X}")
    return text


def one_line(text: object) -> object:
    """Text with every run of white space made one blank; anything else as it is, for the next check to refuse."""
    return " ".join(text.split()) if isinstance(text, str) else text


def for_message(text: object, longest: int = 200) -> str:
    """Anything from outside as it may stand in a message: one printable line, cut to so many characters."""
    safe = "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in UNPRINTABLE or "\u202a" <= c <= "\u202e" else c
        for c in str(text)[: longest + 1]
    )
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def _title(title: str) -> str:
    printable(title)
    if found := NEVER_IN_TITLES.search(title):
        raise ValueError(f"has a character that no title can have ({found[0]!a})")
    if len(title.encode()) > LONGEST_TITLE:
        raise ValueError(f"is longer than {LONGEST_TITLE} bytes")
    return title


def address(url: str) -> str:
    """The address if it is a whole http(s) one without a password; raises ValueError else."""
    printable(url)
    if len(url) > LONGEST_ADDRESS:
        raise ValueError(f"is longer than {LONGEST_ADDRESS} characters")
    try:
        parts = httpx.URL(url)
        scheme, host, named = parts.scheme, parts.host, bool(parts.userinfo)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"is no address ({error})") from None
    if scheme not in ("http", "https") or not host or (parts.port or 0) > 65535:
        raise ValueError("is not a whole http:// or https:// address")
    if named or " " in url or "\\" in url:
        raise ValueError("has a user name, a blank or a backslash in it")
    return url


def _escaped(text: object) -> object:
    """Lone surrogates as escapes: a text about a bad thing must not itself break what writes it."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


Sha1 = Annotated[str, StringConstraints(pattern=f"^{SHA1.pattern}$")]
Key = Annotated[str, StringConstraints(pattern=f"^{SHA256.pattern}$")]
Title = Annotated[str, StringConstraints(min_length=1), AfterValidator(_title)]
Address = Annotated[str, AfterValidator(address)]
# Free text of the wiki, such as a user's name or a licence; line breaks in it are blanks.
Text = Annotated[str, BeforeValidator(one_line), StringConstraints(max_length=LONGEST_TEXT), AfterValidator(printable)]
# Text about something that may be bad itself; never refused.
Report = Annotated[str, BeforeValidator(_escaped)]
Side = Annotated[int, Field(ge=0, le=1_000_000)]  # px
Bytes = Annotated[int, Field(ge=0, le=1 << 40)]
