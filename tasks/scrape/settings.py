"""The settings of the scrape stage."""

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field

from tasks.common.settings import StageSettings, working

SVG = "image/svg+xml"


class ScrapeSettings(StageSettings):
    """Which wiki, which of its files, by what right, and how gently."""

    api_url: str = Field(
        "",
        title="Wiki API",
        description="Address of the wiki's api.php, as on its Special:Version page. Empty: the bundled sample wiki.",
    )
    category: str = Field(
        "",
        title="Category",
        description='Take only the files of this category and its sub-categories, as "Category:Characters". '
        "Empty: every file of the wiki.",
    )
    gallery_url: str = Field(
        "",
        title="Gallery page",
        description="Take only the files which this page of the wiki shows in its galleries. Empty: no such limit.",
    )
    rights_basis: str = Field(
        "",
        title="Rights basis",
        description="One sentence: why you may use this wiki's pictures for training. It goes into the dataset card, "
        "and no wiki beyond this machine is read without it.",
        max_length=1000,
    )
    contact: str = working(
        "",
        title="Contact",
        description="E-mail or web address that goes into the User-Agent, so that the wiki's operators can reach you "
        "instead of blocking you.",
        max_length=200,
    )
    include_mimes: tuple[str, ...] = Field(
        ("image/png", "image/jpeg", "image/gif", "image/webp", SVG),
        title="File types",
        description="MIME types to take, by what the wiki's API says and not by file name: an error page can be called "
        ".jpg. SVG is taken as the PNG the wiki renders of it.",
        min_length=1,
    )
    svg_width: int = Field(
        512,
        title="SVG width",
        description="Width in px at which the wiki renders an SVG: what Stable Diffusion v1 trains on.",
        ge=64,
        le=2048,
    )
    max_pixels: int = Field(
        50_000_000,
        title="Most pixels",
        description="Files of more pixels (width × height, by the API) are refused before they are downloaded: "
        "drawings are far smaller, decompression bombs are not.",
        ge=4096,
        le=500_000_000,
    )
    max_bytes: int = Field(
        64 << 20,
        title="Most bytes",
        description="Bytes of one file: larger ones are refused, and no download is read further, whatever the wiki "
        "says of its size. Drawings have a few MB; the default is about what 16 megapixels without compression take.",
        ge=1024,
        le=1 << 30,
    )
    max_images: int = Field(
        0,
        title="Most images",
        description="Take only so many images, the first by hash, for a try-out: another run takes the same. 0: all.",
        ge=0,
    )
    most_lost: float = working(
        0.25,
        title="Most lost",
        description="Share of the files that may fail (missing, wrong bytes, refused) before the run stops: a few "
        "always do, but what is left of a wiki that is half down is not its style. They are tried again next run.",
        ge=0,
        le=1,
    )
    takedown: tuple[str, ...] = Field(
        (),
        title="Take-down list",
        description="File titles or sha1 hashes that must not be used. A title also takes down its copies under other "
        "titles.",
    )
    connections: int = working(
        2,
        title="Connections",
        description="Requests at one time to one host: two keep a small wiki pleasant for its readers.",
        ge=1,
        le=8,
    )
    timeout: float = working(
        30.0,
        title="Timeout",
        description="Seconds to wait for an answer: slow wikis render pages on demand.",
        gt=0,
        le=300,
    )
    attempts: int = working(
        6,
        title="Attempts",
        description="How often a request is tried while the wiki is busy: six, with doubling waits, last out a minute.",
        ge=1,
        le=20,
    )
    backoff: float = working(
        1.0,
        title="First wait",
        description="Seconds: a busy wiki is asked again after a random time up to this, doubled with each try, to 60.",
        gt=0,
        le=60,
    )


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
