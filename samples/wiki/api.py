"""The part of MediaWiki's api.php (formatversion=2) that a scraper uses, with its continuations exactly as shaped.

https://www.mediawiki.org/wiki/API:Query and, for continuations, https://www.mediawiki.org/wiki/API:Continue
"""

from collections.abc import Callable
from typing import Any

from samples.wiki.content import CANONICAL, SampleWiki, WikiFile

Params = dict[str, str]
# List-like props: the prefix of their parameters, the namespace of what they list, and where it is written.
LISTS: dict[str, tuple[str, int, Callable[[WikiFile], list[str]]]] = {
    "categories": ("cl", 14, lambda f: f.row["categories"]),
    "templates": ("tl", 10, lambda f: [f.row["template"]]),
}
IMAGE_INFO = ("timestamp", "user", "size", "url", "sha1", "mime", "extmetadata")
HIGHEST = 500


class ApiError(ValueError):
    """A request MediaWiki would refuse: `code` and a sentence."""

    def __init__(self, code: str, info: str):
        super().__init__(info)
        self.code = code


def answer(wiki: SampleWiki, base: str, params: Params) -> dict[str, Any]:
    """The JSON answer to one request; `base` is the address of this server, such as http://127.0.0.1:8977."""
    try:
        if params.get("action") != "query":
            raise ApiError("badvalue", 'Unrecognized value for parameter "action".')
        return _query(wiki, base, params)
    except ApiError as error:
        return {"error": {"code": error.code, "info": str(error), "docref": f"See {base}/api.php for API usage."}}


def _query(wiki: SampleWiki, base: str, params: Params) -> dict[str, Any]:
    result: dict[str, Any] = {}
    query: dict[str, Any] = {}
    if "siteinfo" in _values(params, "meta"):
        query |= _siteinfo(wiki, base, params)
    pages: list[dict[str, Any]] = []
    following: dict[str, str] = {}
    generator = params.get("generator")
    if generator:
        make = {"allimages": _all_images, "categorymembers": _category_members}.get(generator)
        if make is None:
            raise ApiError("badvalue", f'Unrecognized value for parameter "generator": {generator}.')
        pages, following = make(wiki, params)
    elif "titles" in params:
        pages = [_page_of_title(wiki, title.replace("_", " ")) for title in _values(params, "titles")]
    unfinished = _add_properties(wiki, base, params, pages)
    if unfinished:
        result["continue"] = unfinished
    else:
        result["batchcomplete"] = True
        if following:
            result["continue"] = following
    if pages:
        query["pages"] = sorted((_public(p) for p in pages), key=lambda p: p.get("pageid", 0))
    if query:
        result["query"] = query
    return result


def _values(params: Params, name: str) -> list[str]:
    return [v for v in params.get(name, "").split("|") if v]


def _limit(params: Params, name: str) -> int:
    value = params.get(name, "10")
    if value == "max":
        return HIGHEST
    if not value.isdigit() or int(value) < 1:
        raise ApiError("badinteger", f'Invalid value "{value}" for integer parameter "{name}".')
    return min(int(value), HIGHEST)


def _siteinfo(wiki: SampleWiki, base: str, params: Params) -> dict[str, Any]:
    wanted = _values(params, "siprop") or ["general"]
    general = {
        "mainpage": "Main Page",
        "base": f"{CANONICAL}/wiki/Main_Page",
        "sitename": wiki.site["name"],
        "generator": "MediaWiki 1.39.0 (sample)",
        "case": "first-letter",
        "lang": "en",
        "articlepath": "/wiki/$1",
        "scriptpath": "",
        "server": base,
        "servername": "127.0.0.1",
        "wikiid": "sample",
    }
    rights = {"url": wiki.site["rights_url"], "text": wiki.site["rights_text"]}
    return {name: value for name, value in (("general", general), ("rightsinfo", rights)) if name in wanted}


def _all_images(wiki: SampleWiki, params: Params) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """generator=allimages by name; gaicontinue names the first file of the next request."""
    limit = _limit(params, "gailimit")
    start = params.get("gaicontinue", "")
    rest = [f for f in wiki.files if f.name >= start]
    following = {"gaicontinue": rest[limit].name, "continue": "gaicontinue||"} if len(rest) > limit else {}
    return [_file_page(f) for f in rest[:limit]], following


def _category_members(wiki: SampleWiki, params: Params) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """generator=categorymembers; gcmcontinue is type|hex sort key|page id, sub-categories before files."""
    category = params.get("gcmtitle", "").replace("_", " ")
    if not category.startswith("Category:"):
        raise ApiError("invalidcategory", "The category name you entered is not valid.")
    types = _values(params, "gcmtype") or ["subcat", "file"]
    limit = _limit(params, "gcmlimit")
    members: list[tuple[str, dict[str, Any]]] = []
    if "subcat" in types:
        for name in wiki.subcategories(category):
            key = name.removeprefix("Category:").upper().encode().hex()
            page = {"pageid": wiki.category_ids[name], "ns": 14, "title": name}
            members.append((f"subcat|{key}|{page['pageid']}", page))
    if "file" in types:
        for file in wiki.files_in(category):
            members.append((f"file|{file.name.upper().encode().hex()}|{file.page_id}", _file_page(file)))
    tokens = [token for token, _ in members]
    start = params.get("gcmcontinue")
    if start is not None and start not in tokens:
        raise ApiError("badcontinue", "Invalid continue param. You should pass the original value returned.")
    rest = members[tokens.index(start) if start else 0 :]
    following = {"gcmcontinue": rest[limit][0], "continue": "gcmcontinue||"} if len(rest) > limit else {}
    return [page for _, page in rest[:limit]], following


def _file_page(file: WikiFile) -> dict[str, Any]:
    return {"pageid": file.page_id, "ns": 6, "title": file.title, "_file": file}


def _page_of_title(wiki: SampleWiki, title: str) -> dict[str, Any]:
    file = wiki.by_name.get(title.removeprefix("File:").replace(" ", "_"))
    return _file_page(file) if file else {"ns": 6 if title.startswith("File:") else 0, "title": title, "missing": True}


def _public(page: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in page.items() if not key.startswith("_")}


def _add_properties(wiki: SampleWiki, base: str, params: Params, pages: list[dict[str, Any]]) -> dict[str, str]:
    """Fill in the asked-for props; returns the continuation when one of them did not fit into this answer.

    MediaWiki's `continue` value lists after "||" the props already complete, which the next request then skips.
    """
    asked = _values(params, "prop")
    done = params.get("continue", "").partition("||")[2].split("|")
    unfinished: dict[str, str] = {}
    for prop in asked:
        if prop in done:
            continue
        if prop == "imageinfo":
            for page in pages:
                if "_file" in page:
                    page |= {"imagerepository": "local", "imageinfo": [_image_info(page["_file"], base, params)]}
        elif prop in LISTS:
            unfinished |= _list_property(params, pages, prop)
    if unfinished:
        complete = [p for p in asked if p not in LISTS or f"{LISTS[p][0]}continue" not in unfinished]
        # The next request is for the same pages, so the generator's own continuation is repeated.
        current = {name: params[name] for name in ("gaicontinue", "gcmcontinue") if name in params}
        unfinished |= current | {"continue": f"{'|'.join(current)}||{'|'.join(complete)}"}
    return unfinished


def _list_property(params: Params, pages: list[dict[str, Any]], prop: str) -> dict[str, str]:
    """Add rows of a list-like prop in page order, at most its limit over all pages, from its continuation on."""
    prefix, ns, of = LISTS[prop]
    limit = _limit(params, f"{prefix}limit")
    token = params.get(f"{prefix}continue", "")
    start = (int(token.split("|")[0]), token.split("|")[-1]) if token else (0, "")
    rows = [
        (page, title, (page["pageid"], title.partition(":")[2].replace(" ", "_")))
        for page in sorted((p for p in pages if "_file" in p), key=lambda p: p["pageid"])
        for title in sorted(of(page["_file"]))
    ]
    rows = [row for row in rows if row[2] >= start]
    for page, title, _ in rows[:limit]:
        page.setdefault(prop, []).append({"ns": ns, "title": title})
    if len(rows) <= limit:
        return {}
    page_id, name = rows[limit][2]
    return {f"{prefix}continue": f"{page_id}|{name}" if prefix == "cl" else f"{page_id}|{ns}|{name}"}


def _image_info(file: WikiFile, base: str, params: Params) -> dict[str, Any]:
    wanted = _values(params, "iiprop") or ["timestamp", "user"]
    row = file.row
    info: dict[str, Any] = {}
    for prop in (p for p in IMAGE_INFO if p in wanted):
        if prop == "size":
            info |= {name: row[name] for name in ("size", "width", "height")}
        elif prop == "url":
            info |= {"url": base + file.path, "descriptionurl": file.page_url}
        elif prop == "extmetadata":  # what MediaWiki says without an extension for licences
            info[prop] = {"DateTime": {"value": row["timestamp"], "source": "mediawiki-metadata", "hidden": ""}}
        else:
            info[prop] = row["uploader" if prop == "user" else prop]
    return info
