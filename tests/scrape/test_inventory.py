"""What the inventory takes, what it sets aside, and that every file of the wiki is accounted for."""

import json

import pytest

from samples.wiki.content import SampleWiki
from samples.wiki.server import serve
from tasks.common.records import Inventory
from tasks.scrape.answers import FilePage
from tasks.scrape.errors import ScrapeError
from tasks.scrape.inventory import sort_out, take_inventory
from tasks.scrape.polite import PoliteClient
from tests.scrape.faults import Fault, faulty_wiki, small_wiki


@pytest.fixture(scope="module")
def wiki():
    with serve() as running:
        yield running


@pytest.fixture
def inventory(wiki, quick):
    async def take(**changed) -> Inventory:
        settings = quick(changed.pop("api_url", wiki.api_url), **changed)
        async with PoliteClient(settings) as client:
            return await take_inventory(settings, client)

    return take


def titles(inventory: Inventory) -> set[str]:
    return {i.title for i in inventory.images} | {a for i in inventory.images for a in i.aliases}


async def test_every_file_is_an_image_an_alias_or_a_reject(inventory):
    everything = await inventory()
    aliases = sum(len(i.aliases) for i in everything.images)
    assert everything.listed == len(SampleWiki().files) == len(everything.images) + aliases + len(everything.rejects)
    assert len({i.sha1 for i in everything.images}) == len(everything.images)
    assert everything.site_name == "Doodlepedia, the sample wiki"
    (page,) = everything.rejects  # an error page that is called .jpg
    assert (page.title, page.stage) == ("File:Old logo.jpg", "scrape")
    assert "text/html" in page.reason


async def test_equal_files_are_one_image_under_the_first_title(inventory):
    pig = next(i for i in (await inventory()).images if i.title == "File:Pig face.gif")
    assert pig.aliases == ("File:Piggy.gif",)


async def test_an_image_says_where_it_is_from_and_under_which_licence(inventory):
    pig = next(i for i in (await inventory()).images if i.title == "File:Pig face.gif")
    assert pig.license == "CC-BY-SA-4.0"
    assert set(pig.license_evidence) == {"Template:CC-BY-SA-4.0", "Category:Animals", "rightsinfo: CC BY-SA 4.0"}
    assert pig.page_url.endswith("/wiki/File:Pig_face.gif")
    assert pig.uploader
    assert pig.timestamp.startswith("2024-01-0")


async def test_the_second_wave_is_nine_new_files_and_one_gone(inventory):
    first = {i.sha1 for i in (await inventory()).images}
    with serve(second_wave=True) as later:
        images = (await inventory(api_url=later.api_url)).images
    assert len({i.sha1 for i in images} - first) == 9
    assert first <= {i.sha1 for i in images}  # the old fox lives on as Reynard
    fox = next(i for i in images if i.title == "File:Fox.png")
    assert fox.sha1 not in first


async def test_a_category_holds_its_subcategories(inventory):
    animals = titles(await inventory(category="Animals"))
    assert {"File:Pig face", "File:Owl"} <= {t.rsplit(".", 1)[0] for t in animals}  # Owl by way of Birds
    assert not any("pizza" in t.lower() for t in animals)


async def test_categories_that_hold_each_other_are_each_visited_once(inventory):
    circular = SampleWiki()
    circular.parents["Category:Drawings"] = ["Category:Birds"]
    with faulty_wiki(wiki=circular) as wiki:
        birds = titles(await inventory(api_url=wiki.api_url, category="Category:Birds"))
    assert titles(await inventory(category="Category:Drawings")) == birds
    assert len(wiki.asked("generator=categorymembers")) == len(circular.parents) - 1  # all but Site files


async def test_a_gallery_page_limits_to_what_it_shows(inventory, wiki):
    shown = await inventory(gallery_url=f"{wiki.url}/wiki/Category:Birds")
    assert titles(shown) == titles(await inventory(category="Category:Birds"))


@pytest.mark.parametrize("entry", ["File:Pig face.gif", "pig_face.gif", "Piggy.gif", "sha1"])
async def test_a_takedown_reaches_every_copy(inventory, entry):
    pig = next(i for i in (await inventory()).images if i.title == "File:Pig face.gif")
    after = await inventory(takedown=(pig.sha1 if entry == "sha1" else entry,))
    gone = {r.title for r in after.rejects if r.reason == "on the take-down list"}
    assert gone == {"File:Pig face.gif", "File:Piggy.gif"}
    assert pig.sha1 not in {i.sha1 for i in after.images}
    assert after.listed == len(SampleWiki().files)


async def test_too_many_pixels_are_refused_by_the_api_s_figures(inventory):
    small = await inventory(max_pixels=300 * 300)
    assert all(i.width * i.height <= 90_000 for i in small.images)
    assert any("more than 90000 pixels" in r.reason for r in small.rejects)
    assert small.listed == len(SampleWiki().files)


async def test_a_tryout_takes_the_same_images_each_time(inventory):
    some = await inventory(max_images=10)
    assert len(some.images) == 10
    assert some == await inventory(max_images=10)
    assert {i.sha1 for i in some.images} == set(sorted(i.sha1 for i in (await inventory()).images)[:10])
    assert some.listed == 10 + sum(len(i.aliases) for i in some.images) + len(some.rejects)


async def test_only_the_file_types_asked_for(inventory):
    webps = await inventory(include_mimes=("image/webp",))
    assert {i.mime for i in webps.images} == {"image/webp"}
    assert len(webps.images) > 20


@pytest.mark.parametrize("field", ["api_url", "gallery_url"])
async def test_a_foreign_wiki_needs_a_rights_basis_and_is_not_asked_before(inventory, field):
    with pytest.raises(ScrapeError, match=r"wiki http://wiki\.example/\S+ isn't on this machine; say in rights_basis"):
        await inventory(**{field: "http://wiki.example/api.php"})


async def test_a_repeating_continuation_ends_with_an_error(inventory):
    page = {"ns": 6, "title": "File:A.png", "imageinfo": []}
    same = {"continue": {"gaicontinue": "A.png", "continue": "gaicontinue||"}, "query": {"pages": [page]}}
    fault = Fault("generator=allimages", 200, json.dumps(same).encode(), "application/json", times=99)
    with faulty_wiki(fault) as wiki, pytest.raises(ScrapeError, match=r"repeats itself .*A\.png"):
        await inventory(api_url=wiki.api_url)
    assert len(wiki.asked("generator=allimages")) == 2


async def test_an_empty_wiki_and_an_empty_category_say_so(inventory):
    with (
        faulty_wiki(wiki=small_wiki(0)) as wiki,
        pytest.raises(ScrapeError, match="lists no images; check the address"),
    ):
        await inventory(api_url=wiki.api_url)
    with pytest.raises(ScrapeError, match="lists no images in Category:Nobodies; check"):
        await inventory(category="Category:Nobodies")


async def test_a_wiki_with_nothing_to_take_names_the_commonest_reason(inventory):
    with pytest.raises(ScrapeError, match=r"all 389 files were set aside.*image/png is not among"):
        await inventory(include_mimes=("image/tiff",))


async def test_a_request_the_wiki_refuses_is_one_line(inventory):
    refused = {"error": {"code": "readapidenied", "info": "You need read permission to use this module."}}
    fault = Fault("/api.php", 200, json.dumps(refused).encode(), "application/json")
    with faulty_wiki(fault) as wiki, pytest.raises(ScrapeError, match=r"refused a request \(readapidenied: You need"):
        await inventory(api_url=wiki.api_url)


def test_a_page_without_a_public_file_and_an_svg_nobody_renders_are_rejects(quick):
    address = "http://127.0.0.1/a.svg"
    svg = {
        "url": address, "descriptionurl": address, "sha1": "aa" * 20, "mime": "image/svg+xml", "width": 0, "height": 0,
        "size": 5, "timestamp": "2024-01-01T00:00:00Z",
    }  # fmt: skip
    entries = [
        {"ns": 6, "title": "File:Hidden.png", "imageinfo": [{"filehidden": True, "mime": "image/png"}]},
        {"ns": 6, "title": "File:Gone.png"},
        {"ns": 6, "title": "File:A.svg", "imageinfo": [svg]},
    ]
    pages = {entry["title"]: FilePage.model_validate(entry) for entry in entries}
    images, rejects = sort_out(pages, quick("http://127.0.0.1/api.php"), "")
    assert images == []
    assert [r.reason.split(",")[0] for r in rejects] == [
        "the wiki has a page but no (public) file of this name",
        "the wiki has a page but no (public) file of this name",
        "SVG",
    ]
