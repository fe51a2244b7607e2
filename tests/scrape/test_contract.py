"""One contract, two wikis: the scraper must find the same in the sample wiki as in a real MediaWiki with its files."""

import os
from collections.abc import Iterator

import httpx
import pytest

from samples.wiki.content import SampleWiki
from samples.wiki.server import serve
from tasks.common.records import Inventory
from tasks.scrape import gallery
from tasks.scrape.errors import Busy
from tasks.scrape.inventory import take_inventory
from tasks.scrape.listing import PROPERTIES, Listing, walk
from tasks.scrape.polite import PoliteClient
from tasks.scrape.scrape import scrape
from tasks.scrape.settings import SVG
from tests.mediawiki.wiki import MediaWiki, Page, Upload, missing

pytestmark = pytest.mark.e2e
LOGO = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200">'
    '<rect width="300" height="200" fill="#ffd90f"/></svg>\n'
)


def excerpt() -> SampleWiki:
    """The sample wiki with every odd file and each ninth of the others, which keeps all formats."""
    wiki = SampleWiki()
    odd = {f.name for f in wiki.files_in("Category:Site files")}
    odd |= {"Koala.jpg", "Dragon_(broken_upload).jpg", "Ghost.png", "Zebra.png", "Piggy.gif", "Pig_face.gif"}
    odd |= {"Panda.png", "Panda_saved_again.png", "Fox.png", "Reynard.png"}
    formats = {(f.row["mime"], f.name.rsplit(".", 1)[1]): f.name for f in wiki.files}
    wiki.files = [f for i, f in enumerate(wiki.files) if i % 9 == 0 or f.name in odd | set(formats.values())]
    return wiki


def in_gallery(wiki: SampleWiki) -> list[str]:
    """The titles in the real wiki's gallery page: PNGs, for it has no thumbnails of WebP files to know them by."""
    return [f.title for f in wiki.files if f.row["mime"] == "image/png"][:5]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> MediaWiki:
    if lacking := missing():
        if os.environ.get("CI"):
            pytest.fail(f"{lacking} must be installed for the contract test")
        pytest.skip(f"{lacking} not installed")
    sample = excerpt()
    real = MediaWiki(tmp_path_factory.mktemp("mediawiki") / "wiki")
    real.write([Page("Template:CC-BY-SA-4.0", "This file is free to share.")])
    real.write(
        [Page(c, "\n".join(f"[[{p}]]" for p in parents) or "The root.") for c, parents in sample.parents.items()]
    )
    boxes = "\n".join(f"{title}|A caption with a [[link]]" for title in in_gallery(sample))
    gallery = f"<gallery>\n{boxes}\nFile:Nobody drew this.png\nFile:Wordmark.svg\n</gallery>\n"
    real.write([Page("Project:Gallery", gallery)])
    uploads = [
        Upload(
            f.title.removeprefix("File:"),
            sample.data(f),
            f"{f.row['description']}\n{{{{{f.row['template'].removeprefix('Template:')}}}}}\n"
            + "\n".join(f"[[{c}]]" for c in f.row["categories"]),
        )
        for f in sample.files
    ]
    real.upload([*uploads, Upload("Wordmark.svg", LOGO.encode(), "The wordmark."), Upload("Ñandú.gif", GIF, "A bird.")])
    real.run_jobs()
    return real


# The smallest GIF, under a name beyond ASCII.
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


@pytest.fixture(scope="module")
def mediawiki(installed) -> Iterator[str]:
    with installed.serve() as url:
        yield url


@pytest.fixture
def sample() -> Iterator[str]:
    with serve(wiki=excerpt()) as running:
        yield running.url


def comparable(inventory: Inventory) -> dict[str, dict]:
    """What must be equal: all but the address, the time and the uploader, which importing made new."""
    own = {"File:Wordmark.svg", "File:Ñandú.gif"}
    images = {i.title: i for i in inventory.images if i.title not in own}
    skip = {"url", "page_url", "timestamp", "uploader"}
    return {title: image.model_dump(exclude=skip) for title, image in images.items()}


async def test_both_wikis_hold_the_same(mediawiki, sample, quick, store):
    settings = quick(f"{mediawiki}/api.php")
    real, originals, lost = await scrape(settings, store)
    async with PoliteClient(quick(f"{sample}/api.php")) as client:
        small = await take_inventory(client.settings, client)
    assert comparable(real) == comparable(small)
    assert real.rejects == small.rejects
    assert [r.title for r in real.rejects] == ["File:Old logo.jpg"]
    assert real.rights == small.rights
    assert real.listed == small.listed + 2
    # Every byte the real wiki handed out was verified by hash, the odd name among them.
    assert not lost
    assert len(originals) == len(real.images)
    assert "File:Ñandú.gif" in {o.image.title for o in originals}
    pig = next(i for i in real.images if "pig" in i.title.lower())
    assert pig.license == "CC-BY-SA-4.0"
    assert "Category:Animals" in pig.license_evidence
    assert pig.page_url.startswith(mediawiki)


@pytest.mark.parametrize("category", ["Category:Animals", "Category:Drawings", "Food"])
async def test_categories_hold_the_same(mediawiki, sample, quick, category):
    found = []
    for url in (mediawiki, sample):
        async with PoliteClient(quick(f"{url}/api.php", category=category)) as client:
            found.append(comparable(await take_inventory(client.settings, client)))
    assert found[0] == found[1]
    assert len(found[0]) > 3


async def test_category_pages_show_the_same_files(mediawiki, sample):
    """The sample's HTML must be MediaWiki's, or reading its galleries would prove nothing."""
    for category in ("Category:Faces", "Category:Site_files"):
        pages = [httpx.get(f"{url}/wiki/{category}", timeout=30).text for url in (mediawiki, sample)]
        real, small = (gallery.file_names(page) for page in pages)
        assert sorted(real) == sorted(small)
        assert len(real) >= 3


async def test_continuations_have_the_same_shape_and_end(mediawiki, sample, quick):
    """With tiny limits every kind of continuation occurs; following them must give what one request gives."""
    tiny = PROPERTIES | {"generator": "allimages", "gailimit": "7", "cllimit": "3", "tllimit": "2"}
    shapes = []
    for url in (mediawiki, sample):
        async with PoliteClient(quick(f"{url}/api.php")) as client:
            whole, parts = Listing(), Listing()
            await walk(client, PROPERTIES | {"generator": "allimages", "gailimit": "500"}, whole, lambda n: None)
            await walk(client, tiny, parts, lambda n: None)
            assert parts.good() == whole.good()
            assert not whole.bad
            shape = []
            continuation: dict[str, str] = {}
            for _ in range(6):
                continuation = (await client.api(**(tiny | continuation)))["continue"]
                shape.append({name: v if name == "continue" else v.count("|") for name, v in continuation.items()})
            shapes.append(shape)
    assert shapes[0] == shapes[1]


async def test_a_lagged_wiki_is_busy_and_not_wrong(mediawiki, quick):
    async with PoliteClient(quick(f"{mediawiki}/api.php", attempts=1)) as client:
        with pytest.raises(Busy, match="maxlag"):
            await client.api(meta="siteinfo", maxlag="-2")  # a wiki of one database has a lag of -1


async def test_an_svg_is_taken_as_the_png_the_wiki_renders(mediawiki, quick, store):
    settings = quick(f"{mediawiki}/api.php", include_mimes=(SVG,), svg_width=320)
    _, originals, _ = await scrape(settings, store)
    (original,) = originals
    assert original.image.title == "File:Wordmark.svg"
    png = store.read(original.key)
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 320


async def test_fandoms_originals_and_lazy_galleries(installed, quick, store):
    with installed.serve(WIKI_LIKE_FANDOM="1") as url:
        settings = quick(f"{url}/api.php", gallery_url=f"{url}/wiki/Project:Gallery")
        inventory, originals, lost = await scrape(settings, store)
    assert not lost  # without format=original every one would be WebP and fail its hash
    assert all("/revision/latest" in i.url for i in inventory.images if i.mime != SVG)
    assert len(originals) == 6
    taken = {i.title for i in inventory.images} | {a for i in inventory.images for a in i.aliases}
    assert taken == {*in_gallery(excerpt()), "File:Wordmark.svg"}


async def test_a_reupload_is_the_only_new_thing(installed, mediawiki, quick):
    async with PoliteClient(quick(f"{mediawiki}/api.php")) as client:
        before = await take_inventory(client.settings, client)
        again = SampleWiki(second_wave=True)
        fox = again.by_name["Fox.png"]
        installed.upload([Upload("Fox.png", again.data(fox), "")], "20240301000000")
        after = await take_inventory(client.settings, client)
        # Single titles are where MediaWiki walks into old revisions: only the newest may count.
        assert {i.sha1 for i in after.images} - {i.sha1 for i in before.images} == {fox.row["sha1"]}
