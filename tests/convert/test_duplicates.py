"""Equal pictures are kept once, the same one whatever the order; near ones are only named."""

import itertools

from PIL import Image, ImageDraw

from tasks.common.records import Jpeg, Original
from tasks.convert.duplicates import dhash, drop_duplicates, near_duplicates
from tests.convert.test_convert import wiki_image


def jpeg(title: str, sha1: str, pixels: str) -> Jpeg:
    original = Original(image=wiki_image(title, sha1 * 40), key=sha1)
    return Jpeg(original=original, key=f"jpeg of {pixels}", width=80, height=80, frames=1, pixel_sha256=pixels)


def test_the_same_one_is_kept_in_every_order():
    jpegs = [jpeg("File:B.png", "b", "p"), jpeg("File:A.png", "a", "p"), jpeg("File:C.png", "c", "q")]
    for order in itertools.permutations(jpegs):
        kept, rejects = drop_duplicates(order)
        assert [item.original.image.title for item in kept] == ["File:A.png", "File:C.png"]
        assert [(r.title, r.sha1, r.stage, r.reason) for r in rejects] == [
            ("File:B.png", "b" * 40, "convert", "same pixels as File:A.png")
        ]


def face(mouth: int, size: int = 200) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    s = size / 200
    draw.ellipse((20 * s, 20 * s, 180 * s, 180 * s), fill="gold", outline="black", width=4)
    draw.ellipse((60 * s, 60 * s, 85 * s, 85 * s), fill="black")
    draw.rectangle((70 * s, mouth * s, 130 * s, (mouth + 15) * s), fill="darkred")
    return image


def test_a_resized_copy_is_near_and_another_picture_is_not():
    hashes = {
        "small": dhash(face(130, 120)),
        "large": dhash(face(130, 300)),
        "other": dhash(face(130).rotate(90)),
    }
    pairs = near_duplicates(hashes)
    assert [(a, b) for a, b, _ in pairs] == [("large", "small")]
    assert pairs[0][2] <= 3
