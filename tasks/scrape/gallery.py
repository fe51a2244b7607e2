"""The files a MediaWiki page shows in its galleries, read from its HTML."""

from urllib.parse import unquote, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Boxes of <gallery> and category pages (MediaWiki), and of Fandom's own galleries. Logos and buttons are outside them.
BOXES = "li.gallerybox, div.wikia-gallery-item"
# Links to the page of the file itself; a caption may hold others.
FILE_LINKS = "a.image, a.mw-file-description, a.galleryfilename"


def file_names(html: str) -> list[str]:
    """Names as in titles, without "File:", in page order, each once."""
    return list(dict.fromkeys(name for box in LexborHTMLParser(html).css(BOXES) if (name := _name_in_box(box))))


def _name_in_box(box: LexborNode) -> str | None:
    for image in box.css("img"):
        # Lazy loading puts a placeholder into src and the address into data-src.
        address = image.attributes.get("data-src") or image.attributes.get("src") or ""
        if not address.startswith("data:") and (name := name_in_address(address)):
            return name
    for link in box.css(FILE_LINKS):  # a file without a thumbnail
        page = unquote(urlsplit(link.attributes.get("href") or "").path).rpartition("/")[2]
        return page.partition(":")[2].replace("_", " ") or None
    return None


def name_in_address(address: str) -> str | None:
    """The file's name in the address of an original or a thumbnail; None where it is no upload.

    `…/thumb/a/ab/Name.png/120px-Name.png`, `…/a/ab/Name.png` (MediaWiki), `…/a/ab/Name.png/revision/latest/…` (Fandom).
    """
    parts = [unquote(p) for p in urlsplit(address).path.split("/")]
    if "revision" in parts:
        parts = parts[: parts.index("revision")]
    elif "thumb" in parts:
        parts = parts[:-1]
    # Uploads lie two hash folders deep, such as a/ab; chrome icons (/skins/…, /resources/…) do not.
    if len(parts) < 3 or len(parts[-3]) != 1 or len(parts[-2]) != 2 or not parts[-2].startswith(parts[-3]):
        return None
    return parts[-1].replace("_", " ")
