"""The files a MediaWiki page shows in its galleries, read from its HTML."""

from urllib.parse import unquote, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Boxes of <gallery> and category pages (MediaWiki), and of Fandom's own galleries. Logos and buttons are outside them.
BOXES = "li.gallerybox, div.wikia-gallery-item"


def file_names(html: str) -> list[str]:
    """Names as in titles, without "File:", in page order, each once."""
    boxes = LexborHTMLParser(html).css(BOXES)
    names = [name for box in boxes for image in box.css("img") if (name := _name_of(image))]
    return list(dict.fromkeys(names))


def _name_of(image: LexborNode) -> str | None:
    # Lazy loading puts a placeholder into src and the address into data-src.
    address = image.attributes.get("data-src") or image.attributes.get("src") or ""
    return None if address.startswith("data:") else name_in_address(address)


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
