"""Equal pictures are kept once, the same one whatever the order."""

import itertools

from tasks.common.records import Jpeg, Original
from tasks.convert.duplicates import drop_duplicates
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
