"""Copies are found, also moved and compressed ones, and other drawings of the same wiki are not taken for copies."""

import io

import numpy as np
import pytest
from PIL import Image

from tasks.measure.likeness import composition_kept, copy_features, copy_threshold, nearest, thumbnails
from tests.measure.pictures import base_pictures, wiki_drawings

PLANTED, FALSE_ALARMS = 50, 0.05


def moved(picture: Image.Image, right: int, down: int) -> Image.Image:
    on_white = Image.new("RGB", picture.size, "white")
    on_white.paste(picture, (right, down))
    return on_white


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


ALTERED = {
    "as it is": lambda picture: picture,
    "compressed": lambda picture: compressed(picture, 50),
    "moved by 1": lambda picture: moved(picture, 1, 0),
    "moved by 2": lambda picture: moved(picture, -2, 2),
    "moved by 3 and compressed": lambda picture: compressed(moved(picture, 3, -3), 75),
    "brighter": lambda picture: picture.point([min(255, int(value * 0.8 + 51)) for value in range(256)] * 3),
}


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trained pictures; held-out ones that the threshold is learned from; and held-out ones it has never seen."""
    features = copy_features(wiki_drawings())
    return features[:240], features[240:310], features[310:]


@pytest.mark.slow
@pytest.mark.parametrize("how", ALTERED)
def test_planted_copies_are_found(sides, how):
    """At least 99 % of 50, and each as the picture that it is a copy of."""
    trained, held_out, _ = sides
    limit = copy_threshold(nearest(held_out, trained)[0], FALSE_ALARMS)
    planted = copy_features([ALTERED[how](picture) for picture in wiki_drawings()[:PLANTED]])
    likeness, index = nearest(planted, trained)
    assert (likeness > limit).mean() >= 0.99
    assert (index == np.arange(PLANTED)).mean() >= 0.98


@pytest.mark.slow
def test_held_out_pictures_are_not_taken_for_copies(sides):
    """At most 5 % of those that the threshold was learned from, and no more than chance allows of others."""
    trained, held_out, others = sides
    null = nearest(held_out, trained)[0]
    limit = copy_threshold(null, FALSE_ALARMS)
    assert (null > limit).mean() <= FALSE_ALARMS
    assert (nearest(others, trained)[0] > limit).mean() <= 0.12


@pytest.mark.slow
def test_what_the_base_drew_before_it_saw_the_wiki_is_no_copy(sides):
    trained, held_out, _ = sides
    limit = copy_threshold(nearest(held_out, trained)[0], FALSE_ALARMS)
    assert (nearest(copy_features(base_pictures()), trained)[0] > limit).mean() <= FALSE_ALARMS


def test_the_nearest_is_found_by_trying_every_shift():
    """Against the same in plain loops, on other pictures than drawings."""
    chance = np.random.default_rng(0)
    among = chance.uniform(0, 255, (3, 64, 64)).astype(np.float32)
    pictures = np.stack([np.roll(among[2], (2, -3), (0, 1)), chance.uniform(0, 255, (64, 64))]).astype(np.float32)
    likeness, index = nearest(pictures.reshape(2, -1), among.reshape(3, -1))
    for row in range(2):
        best = max(
            (np.corrcoef(pictures[row, 3 + y : 61 + y, 3 + x : 61 + x].ravel(), one[3:61, 3:61].ravel())[0, 1], which)
            for which, one in enumerate(among)
            for y in range(-3, 4)
            for x in range(-3, 4)
        )
        assert likeness[row] == pytest.approx(best[0], abs=1e-4)
        assert index[row] == best[1]
    assert likeness[0] > 0.999
    assert index[0] == 2


@pytest.mark.parametrize(("count", "most"), [(20, 1), (96, 4), (100, 5), (5, 0)])
def test_the_threshold_lets_few_of_the_null_through(count, most):
    null = np.random.default_rng(count).permutation(count) / count
    assert (null > copy_threshold(null, FALSE_ALARMS)).sum() <= most


def test_composition_is_blind_to_style_and_not_to_place():
    picture = wiki_drawings()[0]
    turned = picture.transpose(Image.Transpose.ROTATE_180)
    grey = Image.new("RGB", picture.size, "grey")
    same, tinted, other, blank = (
        float(composition_kept(thumbnails([one]), thumbnails([picture]))[0])
        for one in (picture, picture.point([value // 2 + 100 for value in range(256)] * 3), turned, grey)
    )
    assert same == pytest.approx(1, abs=1e-5)
    assert tinted > 0.99
    assert other < 0.9
    assert blank == 0
