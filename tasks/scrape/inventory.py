"""The whole wiki at one moment, from its API: every file is an image, an alias of one, or a reject with its reason.

The list is complete each time and sorted by name. Asking only for what is new by time would miss renames, restores and
deletions, and MediaWiki's list by time skips files that were uploaded in the same second.
https://www.mediawiki.org/wiki/API:Allimages, https://www.mediawiki.org/wiki/API:Imageinfo
"""

from collections import Counter
from collections.abc import Callable, Iterable

from tasks.common.fields import for_message
from tasks.common.records import Inventory, Reject, WikiImage
from tasks.scrape import gallery
from tasks.scrape.answers import STAGE, FileInfo, FilePage, Query, parse_answer, parse_rendering
from tasks.scrape.errors import ScrapeError
from tasks.scrape.failures import check_lost
from tasks.scrape.licence import evidence_of, licence_of
from tasks.scrape.listing import Listing, list_files
from tasks.scrape.polite import PoliteClient
from tasks.scrape.settings import SVG, ScrapeSettings, is_loopback

NO_FILE = "the wiki has a page but no (public) file of this name"
TITLES_A_REQUEST = 50  # MediaWiki's limit for clients without special rights


async def take_inventory(
    settings: ScrapeSettings, client: PoliteClient, progress: Callable[[int], None] = lambda n: None
) -> Inventory:
    """List the wiki's files (all, or those of `category` or `gallery_url`), each once by sha1.

    Raises ScrapeError when the wiki may not or cannot be read, has no images to take, or lists too many files in a way
    its API never does.
    """
    check_allowed(settings)
    site = await _site(client)
    listing = await list_files(client, progress)
    in_gallery = await _in_gallery(settings, client) if settings.gallery_url else None
    pages, bad = _chosen(listing, in_gallery)
    if not pages and not bad:
        where = settings.gallery_url or settings.category
        raise ScrapeError(
            f"wiki {settings.api_url} lists no images{f' in {where}' if where else ''}; check the address"
            f"{' and that name' if where else ', and that files were uploaded to this wiki itself'}"
        )
    check_lost(len(pages) + len(bad), bad, settings)
    pages = await _with_renderings(settings, client, pages)
    images, rejects = sort_out(pages, settings, site.rightsinfo.text)
    rejects += bad
    rejects += [
        Reject(title=for_message(title), sha1="", stage=STAGE, reason="in the gallery, but no file of this wiki")
        for title in sorted((in_gallery or set()) - pages.keys() - {reject.title for reject in bad})
    ]
    if not images:
        reason, _ = Counter(r.reason for r in rejects).most_common(1)[0]
        raise ScrapeError(
            f"wiki {settings.api_url} has no images to take: all {len(rejects)} files were set aside, most because: "
            f"{reason}; check the file types and the take-down list"
        )
    assert site.general
    return Inventory(
        wiki=site.general.base,
        site_name=site.general.sitename,
        rights=" ".join(part for part in (site.rightsinfo.text, site.rightsinfo.url) if part),
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


async def _site(client: PoliteClient) -> Query:
    """What the wiki says of itself; its `general` facts are there."""
    wiki, asked = client.settings.api_url, {"meta": "siteinfo", "siprop": "general|rightsinfo"}
    site = parse_answer(await client.api(**asked), wiki, asked).query
    if not site.general:
        raise ScrapeError(f"{wiki} doesn't answer like a MediaWiki API; give the address of its api.php")
    client.hosts.allow([site.general.base])
    return site


def _chosen(listing: Listing, in_gallery: set[str] | None) -> tuple[dict[str, FilePage], list[Reject]]:
    """(pages, malformed entries), only those the gallery shows where there is one."""
    pages, bad = listing.good(), list(listing.bad.values())
    if in_gallery is None:
        return pages, bad
    pages = {title: page for title, page in pages.items() if title in in_gallery}
    return pages, [reject for reject in bad if reject.title in in_gallery]


async def _in_gallery(settings: ScrapeSettings, client: PoliteClient) -> set[str]:
    answer = await client.get(settings.gallery_url, accept="text/html")
    names = gallery.file_names(answer.body.decode(errors="replace")) if answer.status == 200 else []
    if not names:
        raise ScrapeError(f"page {settings.gallery_url} (status {answer.status}) shows no gallery; check gallery_url")
    return {f"File:{name}" for name in names}


async def _with_renderings(
    settings: ScrapeSettings, client: PoliteClient, pages: dict[str, FilePage]
) -> dict[str, FilePage]:
    """The pages, with `thumburl` in the info of every SVG. Only of those: asking makes the wiki render each one."""
    if SVG not in settings.include_mimes:
        return pages
    pages = dict(pages)
    titles = [title for title, page in pages.items() if page.info and page.info.mime == SVG]
    for start in range(0, len(titles), TITLES_A_REQUEST):
        asked = {
            "titles": "|".join(titles[start : start + TITLES_A_REQUEST]),
            "prop": "imageinfo",
            "iiprop": "url",
            "iiurlwidth": str(settings.svg_width),
        }
        # No continuation: for a single title it would walk through the file's old revisions.
        answer = parse_answer(await client.api(**asked), settings.api_url, asked)
        for rendering in filter(None, map(parse_rendering, answer.query.pages)):
            page = pages.get(rendering.title)
            if page and page.info:
                info = page.info.model_copy(update={"thumburl": rendering.imageinfo[0].thumburl})
                pages[rendering.title] = page.model_copy(update={"info": info})
    return pages


def sort_out(pages: dict[str, FilePage], settings: ScrapeSettings, rights: str) -> tuple[list[WikiImage], list[Reject]]:
    """(one image per sha1 with its other titles as aliases, rejects). With max_images, the first so many by sha1."""
    by_sha1: dict[str, list[WikiImage]] = {}
    rejects = []
    taken_down = _taken_down(pages, settings.takedown)
    for title, page in pages.items():
        info = page.info
        reason = _reason_against(info, settings, taken_down) if info else NO_FILE
        if info and not reason:
            by_sha1.setdefault(info.sha1, []).append(_image(page, info, rights))
        else:
            rejects.append(Reject(title=title, sha1=info.sha1 if info else "", stage=STAGE, reason=reason or NO_FILE))
    first = sorted(by_sha1)[: settings.max_images or None]
    images = [by_sha1[sha1][0].model_copy(update={"aliases": _titles(by_sha1[sha1][1:])}) for sha1 in first]
    return images, rejects


def _titles(images: Iterable[WikiImage]) -> tuple[str, ...]:
    return tuple(image.title for image in images)


def _taken_down(pages: dict[str, FilePage], takedown: tuple[str, ...]) -> set[str]:
    """The sha1s that must not be used: those on the list, and those of the titles on it, under whatever title."""
    listed = {entry.strip().replace("_", " ").removeprefix("File:").lower() for entry in takedown}
    by_title = {p.info.sha1 for t, p in pages.items() if p.info and t.removeprefix("File:").lower() in listed}
    return by_title | listed


def _reason_against(info: FileInfo, settings: ScrapeSettings, taken_down: set[str]) -> str | None:
    """Why a file is not taken, or None."""
    if info.sha1 in taken_down:
        return "on the take-down list"
    if info.mime not in settings.include_mimes:
        return f"{info.mime} is not among the file types to take"
    if info.mime == SVG:
        return None if info.thumburl else "SVG, and the wiki offers no PNG of it"
    if info.width * info.height > settings.max_pixels:
        return f"{info.width} × {info.height} px is more than {settings.max_pixels} pixels"
    if info.size > settings.max_bytes:
        return f"{info.size} bytes is more than max_bytes {settings.max_bytes}"
    return None


def _image(page: FilePage, info: FileInfo, rights: str) -> WikiImage:
    templates = [template.title for template in page.templates]
    categories = [category.title for category in page.categories]
    stated = info.extmetadata.licence.value
    return WikiImage(
        title=page.title,
        sha1=info.sha1,
        url=info.thumburl or info.url,
        page_url=info.descriptionurl,
        mime=info.mime,
        width=info.width,
        height=info.height,
        size=info.size,
        timestamp=info.timestamp,
        uploader=info.user,
        license=licence_of(templates, categories, stated, rights),
        license_evidence=evidence_of(templates, categories, stated, rights),
    )
