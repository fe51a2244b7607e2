"""The gallery as a reader gets it: one file, complete, readable without network, motion or trust in file names."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from selectolax.lexbor import LexborHTMLParser, LexborNode

from tasks.animate.films import denoising_film, training_film
from tasks.animate.gallery import MOST_REJECTS_SHOWN, build_gallery, duration
from tasks.animate.page import Credit, GalleryPage, StageRow
from tasks.animate.settings import AnimateSettings
from tasks.common.curves import loss_curve_svg
from tasks.common.records import EpochLoss, Reject
from tasks.common.store import Store

SETTINGS = AnimateSettings(tile=64, sheet_tile=32)
PROMPTS, EPOCHS, SEEDS = ("a cat", "a <red> car"), (0, 2, 4), (0, 1)


@pytest.fixture
def page(store, draw) -> GalleryPage:
    samples = [draw(prompt, seed, epoch) for prompt in PROMPTS for epoch in EPOCHS for seed in SEEDS]
    return GalleryPage(
        title="Drawing like <Toons>",
        wiki_name="Toons",
        wiki_url="https://wiki.example",
        base_model="A base model",
        drift=tuple(training_film(prompt, samples, [], SETTINGS, store) for prompt in PROMPTS),
        denoising=denoising_film("a cat", [sample.key for sample in samples[:3]], SETTINGS, store),
        samples=tuple(samples),
        losses=tuple(EpochLoss(epoch=e, train_loss=0.2 / (e + 1), heldout_loss=0.3 / (e + 1)) for e in range(5)),
        recommended_epoch=2,
        images_trained=1234,
        stages=(StageRow(stage="convert", came_in=1300, out=1234, rejected=66, ran=40, cached=2, seconds=75.2),),
        rejects=(Reject(title="File:<script>alert(1)</script>.png", sha1="0" * 40, stage="convert", reason="torn"),),
        settings_json='{"tile": 64}',
        credits=(Credit(text="Drawings: Toons, CC BY-SA 4.0", url="https://toons.example"), Credit(text="A base")),
    )


def parsed(page: GalleryPage, store: Store) -> LexborHTMLParser:
    return LexborHTMLParser(build_gallery(page, store).decode())


def pixels(image: LexborNode) -> np.ndarray:
    data = base64.b64decode((image.attributes["src"] or "").split("base64,")[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_every_picture_is_inside_the_file_and_nothing_is_fetched(page, store):
    html = parsed(page, store)
    addresses = [
        node.attributes[name] for node in html.css("*") for name in ("src", "srcset") if name in node.attributes
    ]
    assert len(addresses) > len(PROMPTS) * len(EPOCHS)
    assert all((address or "").startswith("data:image/") for address in addresses)
    assert not html.css("link")
    assert "@import" not in build_gallery(page, store).decode()


def test_each_epoch_of_each_prompt_can_be_stepped_to(page, store):
    """The pictures shown for an epoch are that epoch's, seeds from left to right."""
    images = parsed(page, store).css("img[data-epoch]")
    shown = [(image.attributes["alt"], image.attributes["data-epoch"]) for image in images]
    assert shown == [
        (f"“{prompt}”, {label}", label) for prompt in PROMPTS for label in ("base model", "epoch 2", "epoch 4")
    ]
    for image, epoch in zip(images, EPOCHS * 2, strict=True):
        strip = pixels(image)
        for seed in SEEDS:
            assert np.abs(strip[16, seed * 32 + 16] - np.array((20 * epoch, 60 * seed, 90))).max() < 8
    visible = [image.attributes["data-epoch"] for image in images if "hidden" not in image.attributes]
    assert visible == ["epoch 4", "epoch 4"]


def test_before_and_after_lie_over_each_other(page, store):
    pair = parsed(page, store).css(".wipe")[0]
    before, after = pair.css("img")
    assert np.abs(pixels(before)[16, 16] - np.array((0, 0, 90))).max() < 8
    assert np.abs(pixels(after)[16, 16] - np.array((80, 0, 90))).max() < 8


def test_every_picture_has_words_and_every_film_a_still(page, store):
    html = parsed(page, store)
    assert all((image.attributes.get("alt") or "").strip() for image in html.css("img"))
    assert all(node.attributes.get("aria-label") for node in html.css("input, svg"))
    films = html.css("picture")
    assert len(films) == 3
    for film in films:
        source = film.css("source")[0]
        assert source.attributes["media"] == "(prefers-reduced-motion: reduce)"
        data = base64.b64decode((source.attributes["srcset"] or "").split("base64,")[1])
        assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 1


def test_the_figures_credits_and_settings_are_on_the_page(page, store):
    html = parsed(page, store)
    row = [cell.text() for cell in html.css("tbody tr")[0].css("th, td")]
    assert row == ["convert", "1,300", "1,234", "66", "40", "2", "1m 15s"]
    assert html.css("pre")[0].text() == '{"tile": 64}'
    assert [node.text(strip=True) for node in html.css(".credits li")] == ["Drawings: Toons, CC BY-SA 4.0", "A base"]
    assert html.css(".credits a")[0].attributes["href"] == "https://toons.example"
    assert "recommended: epoch 2" in html.css("figcaption.key")[0].text()


def test_names_from_a_wiki_stay_words(page, store):
    html = parsed(page, store)
    assert len(html.css("script")) == 1
    assert "File:<script>alert(1)</script>.png" in html.css(".words-table")[0].text()
    assert html.css("h1")[0].text() == "Drawing like <Toons>"


def test_a_long_list_of_rejects_is_cut_and_says_so(page, store):
    many = page.model_copy(update={"rejects": page.rejects * (MOST_REJECTS_SHOWN + 1000)})
    html = parsed(many, store)
    assert len(html.css(".words-table tbody tr")) == MOST_REJECTS_SHOWN
    assert "1,200 files set aside" in html.text()
    assert "… and 1,000 more." in html.text()


def test_the_same_page_is_the_same_bytes(page, store):
    assert build_gallery(page, store) == build_gallery(page.model_copy(deep=True), store)


def test_a_run_that_made_little_still_has_a_page(page, store):
    nothing = {"drift": (), "denoising": None, "samples": (), "losses": (), "recommended_epoch": None, "rejects": ()}
    html = parsed(page.model_copy(update=nothing), store)
    assert html.css("h1")
    assert not html.css("img, svg")


def points(svg: LexborHTMLParser, curve: str) -> list[tuple[float, float]]:
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


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.44, "0.4 s"), (41.2, "41 s"), (59.7, "1m 00s"), (185, "3m 05s"), (7859, "2h 10m")]
)
def test_times_are_said_as_a_person_would(seconds, said):
    assert duration(seconds) == said
