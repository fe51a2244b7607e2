"""The committed sample wiki: what it says about its files is true, and it holds what a wiki holds."""

import hashlib
import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from samples.wiki import encodings
from samples.wiki.build import FILES, measure
from samples.wiki.content import SampleWiki


@pytest.fixture(scope="module")
def wiki() -> SampleWiki:
    return SampleWiki(second_wave=True)


def image_of(wiki: SampleWiki, name: str) -> Image.Image:
    return Image.open(io.BytesIO(wiki.data(wiki.by_name[name])))


@pytest.mark.parametrize("second_wave", [False, True])
def test_every_row_is_true_of_its_file(second_wave):
    wiki = SampleWiki(second_wave)
    assert len(wiki.files) == (398 if second_wave else 389)
    for file in wiki.files:
        data = wiki.data(file)
        assert (hashlib.sha1(data).hexdigest(), len(data)) == (file.row["sha1"], file.row["size"]), file.title
        assert measure(data) == (file.row["width"], file.row["height"], file.row["mime"]), file.title
        assert set(file.row["categories"]) <= set(wiki.parents)
        assert "OpenMoji" in file.row["description"] or file.name == "Old_logo.jpg"


def test_no_file_lies_about_unlisted_and_all_fit_in_five_megabytes():
    kept = {f.row["file"] for wave in (False, True) for f in SampleWiki(wave).files}
    there = {str(p.relative_to(FILES)) for p in FILES.rglob("*") if p.is_file()}
    assert there == kept
    assert sum((FILES / name).stat().st_size for name in there) < 5_000_000


def test_the_formats_of_a_wiki_are_there(wiki):
    found = Counter()
    for file in wiki.files:
        if file.row["mime"] == "text/html":
            continue
        image = image_of(wiki, file.name)
        found[image.format, image.mode] += 1
        found["animated"] += getattr(image, "n_frames", 1) > 1
        found["sideways"] += image.getexif().get(0x0112) == 6
        found["progressive"] += bool(image.info.get("progressive"))
        found["misnamed"] += file.name.endswith(".jpg") and image.format != "JPEG"
    for kind, least in {
        ("PNG", "RGBA"): 200, ("PNG", "P"): 20, ("PNG", "LA"): 1, ("PNG", "I;16"): 1, ("GIF", "P"): 15,
        ("WEBP", "RGBA"): 20, ("JPEG", "RGB"): 40, ("JPEG", "CMYK"): 3, "animated": 3, "sideways": 3,
        "progressive": 15, "misnamed": 1,
    }.items():  # fmt: skip
        assert found[kind] >= least, kind


def test_the_odd_ones(wiki):
    assert image_of(wiki, "Icon_rocket.png").size == (16, 16)
    width, height = image_of(wiki, "Site_banner.png").size
    assert width > 20 * height
    with pytest.raises(OSError, match="truncated"):
        image_of(wiki, "Dragon_(broken_upload).jpg").load()
    panda, again = (image_of(wiki, name) for name in ("Panda.png", "Panda_saved_again.png"))
    assert panda.tobytes() == again.tobytes()
    assert wiki.by_name["Panda.png"].row["sha1"] != wiki.by_name["Panda_saved_again.png"].row["sha1"]


def test_what_a_demonstration_asks_for_is_there(wiki):
    stems = {f.name.rsplit(".", 1)[0] for f in wiki.files}
    wanted = "Woman_superhero Man_mage Woman_vampire Man_astronaut Robot Pig_face Cat_face Dog_face Fox Panda Pizza"
    assert set(wanted.split()) | {"Hamburger", "Castle", "Rocket"} <= stems


def drawing() -> Image.Image:
    """Two rectangles, one half clear, on nothing: no symmetry, so that turning it shows."""
    image = Image.new("RGBA", (120, 80))
    image.paste((220, 30, 40, 255), (5, 5, 50, 60))
    image.paste((20, 30, 200, 128), (60, 10, 110, 30))
    return image


ENCODERS = [
    encodings.png, encodings.png_again, encodings.png_hidden_colour, encodings.png_palette, encodings.gif,
    encodings.gif_animated, encodings.webp, encodings.jpeg, encodings.jpeg_progressive, encodings.jpeg_with_profile,
    encodings.jpeg_cmyk, encodings.jpeg_sideways,
]  # fmt: skip


@pytest.mark.parametrize("encode", ENCODERS, ids=lambda e: e.__name__)
def test_every_encoding_shows_the_drawing_and_comes_out_the_same_each_time(encode):
    data = encode(drawing())
    assert data == encode(drawing())
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    shown = shown.convert("RGB") if shown.mode == "CMYK" else encodings.on_white(shown.convert("RGBA"))
    # A palette's transparency is all or nothing, so the half clear bar may turn opaque on white: it is the same there.
    difference = ImageChops.difference(shown, encodings.on_white(drawing())).resize((12, 8), Image.Resampling.BOX)
    assert np.asarray(difference).max() < 40


@pytest.mark.parametrize("encode", [encodings.png_hidden_colour, encodings.png_palette, encodings.gif])
def test_hidden_colours_are_really_there(encode):
    """Dropping the transparency instead of compositing must show: that is what these files are for."""
    image = Image.open(io.BytesIO(encode(drawing())))
    image.info.pop("transparency", None)
    assert image.convert("RGB").getpixel((119, 79)) == encodings.HIDDEN
