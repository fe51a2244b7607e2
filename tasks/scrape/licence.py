"""The licence of a wiki's file, from what its page says: MediaWiki itself has no field for it."""

import re
from collections.abc import Iterable

# Names of templates and categories that state a licence or the lack of one, as wikis commonly call them.
NAMES = re.compile(
    r"\b(cc[- ]?(by|0|zero|sa|nc|nd)|creative commons|public domain|pd\b|pd-|gfdl|gpl|lgpl|mit\b|ofl\b|apache|"
    r"fair[ _-]?use|non[- ]?free|copyright(ed)?|licen[sc]e|permission|all rights reserved|free ?art|attribution)",
    re.IGNORECASE,
)


def licence_of(templates: Iterable[str], categories: Iterable[str], stated: str, rights: str) -> str:
    """The licence in words: the API's own statement, else a template's, else a category's, else the whole site's.

    `stated` is extmetadata's LicenseShortName (only with an extension), `rights` the text of rightsinfo; both may be
    empty. Returns "unknown" when nobody says anything.
    """
    for name in (*templates, *categories):
        if not stated and NAMES.search(_bare(name)):
            return _bare(name)
    return stated or rights or "unknown"


def evidence_of(templates: Iterable[str], categories: Iterable[str], stated: str, rights: str) -> tuple[str, ...]:
    """Everything the licence could be read from, kept for whoever has to judge it later."""
    said = ([f"extmetadata: {stated}"] if stated else []) + ([f"rightsinfo: {rights}"] if rights else [])
    return (*sorted(templates), *sorted(categories), *said)


def _bare(title: str) -> str:
    return title.partition(":")[2] or title
