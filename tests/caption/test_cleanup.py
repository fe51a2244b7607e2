"""What is said about a picture, made fit to train on."""

import pytest

from tasks.caption.cleanup import clean, flaw
from tasks.caption.records import Caption, to_rows
from tasks.common.records import Jpeg, Original
from tests.convert.test_convert import wiki_image


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  a man  sitting on\na couch ", "a man sitting on a couch"),
        ("a woman in a t - shirt", "a woman in a t-shirt"),
        ("a man wearing ray ban ray ban sunglasses", "a man wearing ray ban sunglasses"),
        ("a dog dog dog and a cat", "a dog and a cat"),
        ("a man and a man in a car", "a man and a man in a car"),
        ("a bart bartender", "a bart bartender"),
        ("a sign with the words ray ban on it", "a sign"),
        ('a sign with the words " open late " on it and a dog', "a sign and a dog"),
        ("a sign with the word 'moe ' s' in front of a bar", "a sign in front of a bar"),
        ("homer ' s house with the words ' for sale ' written on it", "homer ' s house"),
        ("a poster that says happy birthday", "a poster"),
        ("a man holding a paper and a sign saying ' no '", "a man holding a paper and a sign"),
        ("a boy saying goodbye to a dog", "a boy saying goodbye to a dog"),
        ("a girl reading a book", "a girl reading a book"),
        ("a man with the dog", "a man with the dog"),
        ("a crowd with the wordsmith", "a crowd with the wordsmith"),
        ("arafed image of a man in a suit", "image of a man in a suit"),
        ("a yellow cat.", "a yellow cat"),
        ("the words", "the words"),
        ("with the words ' hello '", ""),
        ("", ""),
    ],
)
def test_clean(raw, text):
    assert clean(raw) == text
    assert clean(clean(raw)) == text


def test_prompt_prefix_is_removed_once_and_in_any_case():
    assert clean("a drawing of a drawing of a cat", "A drawing of ") == "a drawing of a cat"
    assert clean("a cat", "a drawing of") == "a cat"


def test_flaws():
    assert flaw("") == "empty caption"
    assert flaw("cartoon") == "caption “cartoon” has fewer than two words"
    assert flaw("a cartoon") is None


def test_each_picture_becomes_a_row_or_a_reject():
    def jpeg(name: str) -> Jpeg:
        original = Original(image=wiki_image(f"File:{name}.png", name * 40), key=name)
        return Jpeg(original=original, key=name, width=80, height=80, frames=1, pixel_sha256=name)

    captions = [
        Caption(key="b", text="", raw="", reason="empty caption"),
        Caption(key="a", text="a cat", raw="a cat cat"),
    ]
    rows, rejects = to_rows([jpeg("a"), jpeg("b")], captions)
    assert [(row.jpeg.key, row.text, row.raw_text) for row in rows] == [("a", "a cat", "a cat cat")]
    assert [(r.title, r.stage, r.reason) for r in rejects] == [("File:b.png", "caption", "empty caption")]
