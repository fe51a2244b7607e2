"""What a reader does with the gallery page in a browser: at a desk, on a telephone, by keyboard, without motion."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tasks.animate.gallery import build_gallery
from tasks.common.store import Store
from tests.animate.pages import drawn_into, full_page, small_page

pytestmark = pytest.mark.e2e
WIDTHS = {1280: 900, 390: 844}  # px, and the heights that go with them
BELOW_THE_MENU = """section => {
  const last = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;  // it can't come higher
  return last || section.getBoundingClientRect().top >= document.querySelector("nav").offsetHeight;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gallery")
    store = Store(str(folder / "store"))
    draw = drawn_into(store)
    page = full_page(small_page(store, draw), draw).model_copy(update={"frame_ms": 1200, "hold_last_ms": 600})
    (folder / "index.html").write_bytes(build_gallery(page, store))
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page at a width; fails the test afterwards when the page said anything on its console."""
    pages, said = [], []

    def one(width: int = 1280, **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]}, **options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        pages.append(page)
        return page

    yield one
    for page in pages:
        page.close()
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_whole_page_fits_its_width_and_all_its_pictures_appear(opened, width, scheme, tmp_path: Path):
    page = opened(width, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    for image in page.locator("main img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_attribute("src", re.compile("^(blob|data):"))
        assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_menu_stays_in_sight_and_leads_to_every_section(opened, width):
    page = opened(width, reduced_motion="reduce")
    links = page.locator("nav a")
    assert links.count() == page.locator("section").count()
    for link in links.all():
        link.press("Enter")
        section = page.locator(link.get_attribute("href") or "")
        expect(section).to_be_in_viewport()
        expect(page.locator("nav")).to_be_in_viewport(ratio=1)
        assert section.evaluate(BELOW_THE_MENU)


def test_a_film_plays_by_itself_and_a_key_pauses_it(opened):
    page = opened()
    film = page.locator("#film .player")
    seen = {0: False, 1: False, 2: False}
    for shot in seen:
        expect(film).to_have_attribute("data-shown", str(shot))
    button = film.get_by_role("button", name="Pause “a cat”")
    button.press("Space")
    expect(film.get_by_role("button", name="Play “a cat”")).to_be_focused()
    held = film.locator("input").input_value()
    page.wait_for_timeout(1000)  # several frames
    assert film.locator("input").input_value() == held
    film.locator(".play").press("Space")
    expect(film.locator("input")).not_to_have_value(held)


def test_sliders_move_by_keyboard_and_the_pictures_follow(opened):
    page = opened()
    epochs = page.locator("#training input")
    epochs.scroll_into_view_if_needed()
    first = page.locator("#training img").first
    expect(first).to_have_attribute("alt", "“a cat”, seed 0, epoch 4")
    before = first.get_attribute("src")
    epochs.dispatch_event("input")  # what is shown already is asked for again
    epochs.press("ArrowLeft")
    expect(page.locator("#training output")).to_have_text("epoch 2")
    expect(epochs).to_have_attribute("aria-valuetext", "epoch 2")
    expect(first).to_have_attribute("alt", "“a cat”, seed 0, epoch 2")
    assert first.get_attribute("src") != before

    said, pictured = page.locator("#dial output"), page.locator("#dial img").first
    expect(said).to_have_text("epoch 4, strength 0.5")
    page.get_by_role("slider", name="Strength").press("End")
    expect(said).to_have_text("epoch 4, strength 1.25")
    page.get_by_role("slider", name="Epoch", exact=True).press("Home")
    expect(said).to_have_text("epoch 2, strength 1.25")
    expect(pictured).to_have_attribute("alt", "“a cat”, seed 0, epoch 2, strength 1.25")

    wipe = page.locator("[data-wipe]").first
    wipe.press("Home")
    assert page.locator(".wipe").first.evaluate("wipe => wipe.style.getPropertyValue('--at')") == "0%"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_is_enlarged_with_what_it_was_drawn_from_to_copy(opened, width):
    page = opened(width)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tile = page.locator("#training .tile").nth(1)
    tile.scroll_into_view_if_needed()
    expect(tile.locator("img")).to_have_attribute("src", re.compile("^blob:"))
    tile.press("Enter")
    dialog = page.get_by_role("dialog", name="“a cat”, seed 1, epoch 4")
    expect(dialog).to_be_visible()
    expect(dialog.locator("img")).to_be_visible()
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "prompt: a cat\nseed: 1\nepoch: 4\nstrength: 1"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(tile).to_be_focused()
    tile.press("Enter")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_without_motion_films_stand_at_their_end_until_they_are_asked_to_play(opened):
    page = opened(reduced_motion="reduce")
    for player in page.locator(".player").all():
        player.scroll_into_view_if_needed()
        expect(player).to_have_attribute("data-shown", "2")
    assert page.locator(".playing").count() == 0
    film = page.locator("#film .player")
    film.locator(".play").press("Enter")
    expect(film).to_have_attribute("data-shown", "1")


def test_a_prompts_seeds_are_laid_out_across_the_epochs(opened):
    page = opened()
    page.locator("#seeds summary").nth(1).press("Enter")
    matrix = page.get_by_role("region", name="“a <red> car” by seed and epoch")
    assert matrix.locator("thead th").all_text_contents() == ["base model", "epoch 2", "epoch 4"]
    assert matrix.locator("tbody th").all_text_contents() == ["seed 0", "seed 1"]
    last = matrix.locator(".tile").last
    expect(last.locator("img")).to_have_js_property("naturalWidth", 32)
    last.click()
    expect(page.locator("dialog pre")).to_have_text("prompt: a <red> car\nseed: 1\nepoch: 4\nstrength: 1")


def test_a_film_and_the_sheet_are_kept_as_files(opened):
    page = opened()
    page.locator("#share summary").click()
    film, sheet = page.locator("#share .list a[href^=data]").first, page.locator("#share .button")
    for link, start in ((film, b"GIF8"), (sheet, b"\xff\xd8")):
        with page.expect_download() as download:
            link.click()
        assert download.value.path().read_bytes().startswith(start)
