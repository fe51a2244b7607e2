"""The whole wiki at one moment, from its API: every file is an image, an alias of one, or a reject with its reason.

The list is complete each time and sorted by name. Asking only for what is new by time would miss renames, restores and
deletions, and MediaWiki's list by time skips files that were uploaded in the same second.
https://www.mediawiki.org/wiki/API:Allimages, https://www.mediawiki.org/wiki/API:Imageinfo
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tasks.records import Inventory, Reject, WikiImage
from tasks.scrape import gallery
from tasks.scrape.errors import ScrapeError
from tasks.scrape.licence import evidence_of, licence_of
from tasks.scrape.polite import PoliteClient
from tasks.scrape.settings import SVG, ScrapeSettings, is_loopback

STAGE = "scrape"
Page = dict[str, Any]
PROPERTIES = {
    "prop": "imageinfo|categories|templates",
    "iiprop": "url|size|sha1|mime|timestamp|user|extmetadata",
    "cllimit": "max",
    "tllimit": "max",
}
TITLES_A_REQUEST = 50  # MediaWiki's limit for clients without special rights


async def take_inventory(
    settings: ScrapeSettings, client: PoliteClient, progress: Callable[[int], None] = lambda n: None
) -> Inventory:
    """List the wiki's files (all, or those of `category` or `gallery_url`), each once by sha1.

    Raises ScrapeError when the wiki may not or cannot be read or has no images to take.
    """
    check_allowed(settings)
    site = (await client.api(meta="siteinfo", siprop="general|rightsinfo")).get("query", {})
    if "general" not in site:
        raise ScrapeError(f"{settings.api_url} doesn't answer like a MediaWiki API; give the address of its api.php")
    pages = await _file_pages(settings, client, progress)
    missing: list[str] = []
    if settings.gallery_url:
        shown = await _shown_in_gallery(settings, client)
        missing = sorted(shown - pages.keys())
        pages = {title: page for title, page in pages.items() if title in shown}
    if not pages:
        where = settings.gallery_url or settings.category
        raise ScrapeError(
            f"wiki {settings.api_url} lists no images{f' in {where}' if where else ''}; check the address"
            f"{' and that name' if where else ', and that files were uploaded to this wiki itself'}"
        )
    await _ask_for_renderings(settings, client, pages)
    rights = site.get("rightsinfo", {})
    stated = " ".join(part for part in (rights.get("text", ""), rights.get("url", "")) if part)
    images, rejects = sort_out(pages, settings, rights.get("text", ""))
    rejects += [
        Reject(title=t, sha1="", stage=STAGE, reason="in the gallery, but no file of this wiki") for t in missing
    ]
    if not images:
        reason, _ = Counter(r.reason for r in rejects).most_common(1)[0]
        raise ScrapeError(
            f"wiki {settings.api_url} has no images to take: all {len(rejects)} files were set aside, most because: "
            f"{reason}; check the file types and the take-down list"
        )
    return Inventory(
        wiki=site["general"].get("base") or settings.api_url,
        site_name=site["general"].get("sitename", ""),
        rights=stated,
        listed=sum(1 + len(image.aliases) for image in images) + len(rejects),
        images=tuple(images),
        rejects=tuple(rejects),
    )


def check_allowed(settings: ScrapeSettings) -> None:
    """Raise ScrapeError unless the wiki is on this machine or the user has said by what right it is read."""
    if not settings.api_url:
        raise ScrapeError("no wiki is named; set api_url to the address of its api.php")
    for url in filter(None, (settings.api_url, settings.gallery_url)):
        if not is_loopback(url) and not settings.rights_basis.strip():
            raise ScrapeError(
                f"wiki {url} isn't on this machine; say in rights_basis, in one sentence, why you may use its pictures"
            )


async def _file_pages(
    settings: ScrapeSettings, client: PoliteClient, progress: Callable[[int], None]
) -> dict[str, Page]:
    """Title → merged page of every file, sorted by title; of the category and all below it, if one is set."""
    if not settings.category:
        generator = {"generator": "allimages", "gaisort": "name", "gailimit": "500"}
        pages = await _walk(client, generator | PROPERTIES, progress)
        return dict(sorted(pages.items()))
    root = settings.category.replace("_", " ")
    waiting = [root if root.startswith("Category:") else f"Category:{root}"]
    visited: set[str] = set()  # categories can contain each other
    found: dict[str, Page] = {}
    while waiting:
        category = waiting.pop()
        if category in visited:
            continue
        visited.add(category)
        generator = {"generator": "categorymembers", "gcmtitle": category, "gcmtype": "file|subcat", "gcmlimit": "500"}
        pages = await _walk(client, generator | PROPERTIES, progress)
        found |= {title: page for title, page in pages.items() if page.get("ns") == 6}
        waiting += sorted((title for title, page in pages.items() if page.get("ns") == 14), reverse=True)
    return dict(sorted(found.items()))


async def _walk(client: PoliteClient, params: dict[str, str], progress: Callable[[int], None]) -> dict[str, Page]:
    """Follow `continue` to its end, merging the parts of each page. https://www.mediawiki.org/wiki/API:Continue"""
    pages: dict[str, Page] = {}
    continuation: dict[str, str] = {}
    seen: set[str] = set()
    while True:
        answer = await client.api(**(params | continuation))
        before = len(pages)
        for page in answer.get("query", {}).get("pages", []):
            _merge(pages.setdefault(page["title"], {}), page)
        progress(len(pages) - before)
        continuation = answer.get("continue", {})
        if not continuation:
            return pages
        token = json.dumps(continuation, sort_keys=True)
        if token in seen:
            raise ScrapeError(
                f"wiki {client.settings.api_url} repeats itself (continuation {token}) and would never end; "
                "report it to the wiki's operators, or take one category"
            )
        seen.add(token)


def _merge(page: Page, part: Page) -> None:
    """Lists of categories and templates come in parts; of imageinfo the first is the newest revision."""
    for name, value in part.items():
        if name in ("categories", "templates"):
            page.setdefault(name, []).extend(value)
        else:
            page.setdefault(name, value)


async def _shown_in_gallery(settings: ScrapeSettings, client: PoliteClient) -> set[str]:
    answer = await client.get(settings.gallery_url, accept="text/html")
    names = gallery.file_names(answer.body.decode(errors="replace")) if answer.status == 200 else []
    if not names:
        raise ScrapeError(f"page {settings.gallery_url} (status {answer.status}) shows no gallery; check gallery_url")
    return {f"File:{name}" for name in names}


async def _ask_for_renderings(settings: ScrapeSettings, client: PoliteClient, pages: dict[str, Page]) -> None:
    """Add `thumburl` to the imageinfo of every SVG. Only of those: asking makes the wiki render each one."""
    if SVG not in settings.include_mimes:
        return
    titles = [title for title, page in pages.items() if _info(page).get("mime") == SVG]
    for start in range(0, len(titles), TITLES_A_REQUEST):
        some = "|".join(titles[start : start + TITLES_A_REQUEST])
        # No continuation: for a single title it would walk through the file's old revisions.
        answer = await client.api(titles=some, prop="imageinfo", iiprop="url", iiurlwidth=str(settings.svg_width))
        for page in answer.get("query", {}).get("pages", []):
            _info(pages[page["title"]])["thumburl"] = _info(page).get("thumburl", "")


def _info(page: Page) -> dict[str, Any]:
    return (page.get("imageinfo") or [{}])[0]


def sort_out(pages: dict[str, Page], settings: ScrapeSettings, rights: str) -> tuple[list[WikiImage], list[Reject]]:
    """(one image per sha1 with its other titles as aliases, rejects). With max_images, the first so many by sha1."""
    by_sha1: dict[str, list[WikiImage]] = {}
    rejects = []
    taken_down = _taken_down(pages, settings.takedown)
    for title, page in pages.items():
        info = _info(page)
        reason = _reason_against(info, settings, taken_down)
        if reason:
            rejects.append(Reject(title=title, sha1=info.get("sha1", ""), stage=STAGE, reason=reason))
        else:
            by_sha1.setdefault(info["sha1"], []).append(_image(title, page, rights))
    first = sorted(by_sha1)[: settings.max_images or None]
    images = [by_sha1[sha1][0].model_copy(update={"aliases": _titles(by_sha1[sha1][1:])}) for sha1 in first]
    return images, rejects


def _titles(images: Iterable[WikiImage]) -> tuple[str, ...]:
    return tuple(image.title for image in images)


def _taken_down(pages: dict[str, Page], takedown: tuple[str, ...]) -> set[str]:
    """The sha1s that must not be used: those on the list, and those of the titles on it, under whatever title."""
    listed = {entry.strip().replace("_", " ").removeprefix("File:").lower() for entry in takedown}
    by_title = {_info(p).get("sha1", "") for t, p in pages.items() if t.removeprefix("File:").lower() in listed}
    return by_title | listed


def _reason_against(info: dict[str, Any], settings: ScrapeSettings, taken_down: set[str]) -> str | None:
    """Why a file is not taken, or None."""
    if not info.get("sha1") or not info.get("url"):
        return "the wiki has a page but no (public) file of this name"
    if info["sha1"] in taken_down:
        return "on the take-down list"
    if info.get("mime") not in settings.include_mimes:
        return f"{info.get('mime', 'no file type')} is not among the file types to take"
    pixels = info.get("width", 0) * info.get("height", 0)
    if info["mime"] == SVG:
        return None if info.get("thumburl") else "SVG, and the wiki offers no PNG of it"
    if pixels > settings.max_pixels:
        return f"{info['width']} × {info['height']} px is more than {settings.max_pixels} pixels"
    return None


def _image(title: str, page: Page, rights: str) -> WikiImage:
    info = _info(page)
    templates = [t["title"] for t in page.get("templates", [])]
    categories = [c["title"] for c in page.get("categories", [])]
    stated = str((info.get("extmetadata") or {}).get("LicenseShortName", {}).get("value", ""))
    return WikiImage(
        title=title,
        sha1=info["sha1"],
        url=info.get("thumburl") or info["url"],
        page_url=info.get("descriptionurl", ""),
        mime=info["mime"],
        width=info.get("width", 0),
        height=info.get("height", 0),
        size=info.get("size", 0),
        timestamp=info.get("timestamp", ""),
        uploader=info.get("user", ""),
        license=licence_of(templates, categories, stated, rights),
        license_evidence=evidence_of(templates, categories, stated, rights),
    )
