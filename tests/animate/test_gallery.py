"""The gallery as a reader gets it: one file, complete, readable without network or trust in file names."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from tasks.animate import gallery
from tasks.animate.gallery import MOST_REJECTS_SHOWN, build_gallery
from tasks.animate.page import (
    GalleryPage,
    Recommended,
)  # fmt: skip
from tasks.animate.share import share_sheet
from tasks.animate.shots import AnimateError
from tasks.common.curves import loss_curve_svg
from tasks.common.records import EpochLoss
from tasks.common.store import Store
from tests.animate.pages import PROMPTS, SEEDS, full_page, small_page


@pytest.fixture
def page(store, draw) -> GalleryPage:
    return small_page(store, draw)


@pytest.fixture
def judged(page, draw) -> GalleryPage:
    return full_page(page, draw)


def parsed(page: GalleryPage, store: Store) -> LexborHTMLParser:
    return LexborHTMLParser(build_gallery(page, store).decode())


def picture(html: LexborHTMLParser, number: object) -> np.ndarray:
    """The pixels of a picture by its number; the page's script reads it in the same way."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(html.css(f"#picture-{number}")[0].text()))).convert("RGB"))


def shots(html: LexborHTMLParser, box: str) -> dict[str, Any]:
    return json.loads(html.css(f"{box} script")[0].text())


def is_colour(pixels: np.ndarray, epoch: int, seed: int) -> bool:
    return bool(np.abs(pixels[16, 16].astype(int) - (20 * epoch, 60 * seed, 90)).max() < 8)


def test_every_picture_is_inside_the_file_and_nothing_is_fetched(judged, store):
    html = parsed(judged, store)
    addresses = [node.attributes[a] or "" for node in html.css("*") for a in ("src", "srcset") if a in node.attributes]
    assert len(addresses) == len(SEEDS) + 1  # the first pictures, which need no script, and the sheet
    assert all(address.startswith("data:image/") for address in addresses)
    used = {node.attributes["data-picture"] for node in html.css("[data-picture]")}
    used |= {
        str(n)
        for box in html.css("script[type='application/json']")
        for s in json.loads(box.text())["shots"]
        for n in s[3]
    }
    assert used == {(node.attributes["id"] or "")[8:] for node in html.css("script[type='text/plain']")}
    assert not html.css("link")
    assert "@import" not in build_gallery(judged, store).decode()


def test_each_epoch_of_each_prompt_can_be_stepped_to(page, store):
    """The pictures shown for an epoch are that epoch's: prompt by prompt, in each seed by seed."""
    html = parsed(page, store)
    data = shots(html, "#training-player")
    assert (data["prompts"], data["seeds"]) == (list(PROMPTS), list(SEEDS))
    assert [(label, epoch) for label, epoch, _, _ in data["shots"]] == [
        ("base model", 0),
        ("epoch 2", 2),
        ("epoch 4", 4),
    ]
    for _, epoch, _, numbers in data["shots"]:
        assert [is_colour(picture(html, n), epoch, seed) for n, seed in zip(numbers, SEEDS * 2, strict=True)] == [
            True
        ] * 4
    assert len(html.css("#training-player img[data-slot]")) == 4
    assert [node.text() for node in html.css("#training-player figcaption")] == ["seed 0", "seed 1"] * 2


def test_before_and_after_lie_over_each_other(page, judged, store):
    for shown, last in ((page, 4), (judged, 4)):
        html = parsed(shown, store)
        below, above = html.css(".wipe > div")[:2]
        for box, epoch in ((below, 0), (above, last)):
            numbers = [image.attributes["data-picture"] for image in box.css("img")]
            assert [is_colour(picture(html, n), epoch, seed) for n, seed in zip(numbers, SEEDS, strict=True)] == [
                True
            ] * 2


def test_the_straight_way_is_the_first_film_and_without_it_the_training(page, judged, store):
    html = parsed(judged, store)
    data = shots(html, "#film")
    assert [(label, strength) for label, _, strength, _ in data["shots"]] == [
        ("base model", 0),
        ("strength 0.50", 0.5),
        ("epoch 4", 1),
    ]
    assert is_colour(picture(html, data["shots"][1][3][1]), 5, 1)
    assert len(html.css("#ways .player")) == len(PROMPTS) - 1
    assert [label for label, *_ in shots(parsed(page, store), "#film")["shots"]] == ["base model", "epoch 2", "epoch 4"]


def test_the_dial_has_every_epoch_at_every_strength_and_begins_at_the_recommended_point(judged, store):
    html = parsed(judged, store)
    data = shots(html, "#dial")
    assert (data["epochs"], data["strengths"]) == ([2, 4], [0, 0.5, 1, 1.25])
    assert [(e, s) for _, e, s, _ in data["shots"]] == [(e, s) for e in (2, 4) for s in (0, 0.5, 1, 1.25)]
    assert is_colour(picture(html, data["shots"][5][3][0]), 5, 0)
    assert [slider.attributes["value"] for slider in html.css("#dial input")] == ["1", "1"]
    gap = judged.model_copy(update={"dial": judged.dial[1:]})
    with pytest.raises(AnimateError, match=r"no picture of every seed for epoch 2, strength 0; draw it again"):
        build_gallery(gap, store)


def test_measures_are_curves_between_their_anchors_with_the_recommended_point(judged, store):
    html = parsed(judged, store)
    chart = html.css("#measures .panel")[0]
    height = {part: points(chart, f"style-distance-{part}")[0][1] for part in ("held-out", "base", "wiki")}
    assert height["held-out"] == height["base"] < height["wiki"]  # SVG counts downwards
    assert chart.css("#style-distance-held-out-band")
    assert chart.css("#style-distance-best")
    assert "Nearest to the wiki <of all>." in html.css(".verdict")[0].text()
    assert "epoch 4 at 0.5" in html.css(".facts")[0].text()
    row = [cell.text() for cell in html.css("#measures tbody tr")[1].css("th, td")]
    assert row[:4] == ["2", "0.5", "8 (7–9)", "0.2 (0.1–0.3)"]
    assert row[-2:] == ["0.1", "–"]
    ids = [node.attributes["id"] for node in html.css("[id]")]
    assert len(ids) == len(set(ids))


def test_nothing_recommended_is_said_in_words(judged, store):
    measured = judged.measured.model_copy(
        update={"recommended": Recommended(epoch=None, strength=None, because="All copy.")}
    )
    html = parsed(judged.model_copy(update={"measured": measured}), store)
    assert html.css(".verdict")[0].text() == "None is recommended. All copy."
    assert "recommended" not in html.css(".facts")[0].text()


def test_the_nearest_drawing_stands_beside_each_sample_with_its_credit(judged, store):
    html = parsed(judged, store)
    first, second = html.css("#nearest li")
    assert [
        is_colour(picture(html, image.attributes["data-picture"]), e, 1)
        for image, e in zip(second.css("img"), (5, 12), strict=True)
    ] == [True, True]
    assert "Thing <1> by Ann <b>, CC-BY-SA-4.0" in second.text()
    assert second.css("a")[0].attributes["href"] == "https://wiki.example/1"
    assert (len(first.css(".flag")), len(second.css(".flag"))) == (0, 1)


def test_the_wikis_own_drawings_come_early_and_the_dataset_is_credited(judged, store):
    html = parsed(judged, store)
    sections = [node.attributes["id"] for node in html.css("section")]
    assert sections[:3] == ["film", "wiki", "dial"]
    assert len(html.css("#wiki li")) == gallery.STRIP
    assert len(html.css("#dataset li")) == 14
    assert "14 of 99 drawings" in html.css("#dataset")[0].text()
    assert [link.attributes["href"] for link in html.css("nav a")] == [f"#{section}" for section in sections]


def test_every_picture_has_words_and_every_control_a_name(judged, store):
    html = parsed(judged, store)
    said = [image.attributes.get("alt") for image in html.css("img:not(dialog img)")]
    assert all((words or "").strip() for words in said)
    labelled = {node.attributes["for"] for node in html.css("label")}
    assert all(
        n.attributes.get("aria-label") or n.attributes.get("id") in labelled for n in html.css("input, svg[role]")
    )
    assert all(button.attributes.get("aria-label") for button in html.css(".play"))


def test_the_figures_credits_and_settings_are_on_the_page(page, store):
    html = parsed(page, store)
    row = [cell.text() for cell in html.css(".stages tbody tr")[0].css("th, td")]
    assert row == ["convert", "1,300", "1,234", "66", "40", "2", "1m 15s"]
    assert html.css("pre")[0].text() == '{"tile": 64}'
    assert [node.text(strip=True) for node in html.css(".credits li")] == ["Drawings: Toons, CC BY-SA 4.0", "A base"]
    assert html.css(".credits a")[0].attributes["href"] == "https://toons.example"
    assert "recommended: epoch 2" in html.css("figcaption.key")[0].text()
    assert "1,234 drawings of Toons taught A base model" in html.css(".lede")[0].text()
    assert "/models/base" not in html.css("header")[0].text()


def test_films_can_be_kept(page, store, monkeypatch):
    def kept() -> dict[str, str]:
        return {
            a.attributes["download"] or "": a.attributes["href"] or ""
            for a in parsed(page, store).css("#share .list a")
        }

    files = {file.path: store.read(file.key) for film in page.films for file in film.files}
    found = kept()
    assert len(found) == len(files) == 8
    inside = {n: href for n, href in found.items() if href.startswith("data:")}
    assert [n.rsplit(".", 1)[1] for n in inside] == ["gif", "gif"]  # the smallest of each film
    for film, href in inside.items():
        assert base64.b64decode(href.split("base64,")[1]) == files["training/" + film.removeprefix("training-")]
    assert found["training-a-cat.png"] == "../gifs/training/a-cat.png"
    monkeypatch.setattr(gallery, "FILMS_ROOM", 0)
    assert set(kept().values()) == {f"../gifs/{path}" for path in files}


def test_pictures_are_reduced_until_the_page_has_room_for_them(store, draw, page, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    samples = tuple(
        s.model_copy(update={"key": store.put(data.getvalue() + bytes([i]))}) for i, s in enumerate(page.samples)
    )
    large = page.model_copy(update={"samples": samples, "denoising": (), "films": ()})
    whole = build_gallery(large, store)
    assert picture(LexborHTMLParser(whole.decode()), 0).shape == (512, 512, 3)
    monkeypatch.setattr(gallery, "PICTURES_ROOM", 400_000)
    html = parsed(large, store)
    taken = sum(len(node.text()) for node in html.css("script[type='text/plain']"))
    assert 200_000 < taken <= 400_000


def test_the_sheet_to_share_shows_the_wiki_and_every_epoch(judged, store):
    sheet = np.asarray(Image.open(io.BytesIO(share_sheet(judged, store) or b""))).astype(int)
    assert sheet.shape[1] == 1200
    for colour in [(20 * e, 0, 90) for e in (0, 2, 4)] + [(240, 0, 90)]:
        assert (np.abs(sheet - colour).max(axis=2) < 12).mean() > 0.005
    assert share_sheet(judged, store) == share_sheet(judged, store)
    assert share_sheet(judged.model_copy(update={"samples": ()}), store) is None


def test_names_from_a_wiki_stay_words(judged, store):
    html = parsed(judged, store)
    kinds = [node.attributes.get("type") for node in html.css("script")]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json", "text/plain"}
    assert "File:<script>alert(1)</script>.png" in html.css(".words-table")[0].text()
    assert html.css("h1")[0].text() == "Drawing like <Toons>"


def test_a_long_list_of_rejects_is_cut_and_says_so(page, store):
    many = page.model_copy(update={"rejects": page.rejects * (MOST_REJECTS_SHOWN + 1000)})
    html = parsed(many, store)
    assert len(html.css(".words-table tbody tr")) == MOST_REJECTS_SHOWN
    assert "1,200 files set aside" in html.text()
    assert "… and 1,000 more." in html.text()


def test_the_same_page_is_the_same_bytes(judged, store):
    assert build_gallery(judged, store) == build_gallery(judged.model_copy(deep=True), store)


def test_a_run_that_made_little_still_has_a_page(store):
    page = GalleryPage(title="T", wiki_name="W", wiki_url="", base_model="B", samples=(), images_trained=1)
    html = parsed(page, store)
    assert html.css("h1")
    assert not html.css("main img, main svg")


def points(svg: Any, curve: str) -> list[tuple[float, float]]:
    """The corners of a curve of the drawing, in its own px."""
    path = svg.css(f"#{curve} path")[0].attributes["d"] or ""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)]


def test_the_loss_curve_goes_down_where_the_loss_does_and_marks_the_epoch():
    losses = tuple(
        EpochLoss(epoch=e, train_loss=None if e == 0 else v, heldout_loss=v + 0.1)
        for e, v in enumerate((0.5, 0.4, 0.3))
    )
    drawn = loss_curve_svg(losses, 1)
    assert drawn == loss_curve_svg(losses, 1)
    svg = LexborHTMLParser(drawn or "")
    held_out = points(svg, "held-out")
    assert (len(points(svg, "train")), len(held_out)) == (2, 3)
    assert [x for x, _ in held_out] == sorted(x for x, _ in held_out)
    assert held_out[0][1] < held_out[1][1] < held_out[2][1]  # SVG counts downwards
    assert points(svg, "marked")[0][0] == held_out[1][0]
    assert {"0.30", "0.40", "0.50", "0.60", "epoch", "loss"} <= {node.text(strip=True) for node in svg.css("text")}


def test_one_epoch_is_no_curve():
    assert loss_curve_svg((EpochLoss(epoch=0, train_loss=0.1, heldout_loss=None),), None) is None
    flat = tuple(EpochLoss(epoch=e, train_loss=0.1, heldout_loss=None) for e in range(2))
    level = LexborHTMLParser(loss_curve_svg(flat, None) or "")
    assert len({y for _, y in points(level, "train")}) == 1
