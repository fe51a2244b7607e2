"""The judge is judged, on real pictures: known mixes of styles in their order, copies told, the same not told apart."""

import hashlib

import pytest
from PIL import Image

from tasks.common.records import Sample
from tasks.common.rows import Row, read_rows
from tasks.common.store import Store
from tasks.measure.clip import Clip
from tasks.measure.drawing import keep_set
from tasks.measure.judge import Point, judge
from tasks.measure.records import Anchors, DrawnSet, Recommendation, Reference
from tasks.measure.reference import choose, make_reference, pairs, reference_of, title_prompt
from tasks.measure.rule import recommend
from tasks.measure.settings import MeasureSettings
from tests.measure.pictures import dataset_of, mixes, named_drawings, png, wiki_drawings
from tests.measure.test_likeness import compressed, moved
from tests.sample.tiny import snapshot

pytestmark = pytest.mark.slow

SETTINGS = MeasureSettings(composition_kept=0.0, agreement_kept=0.0, prompts="titles", subjects=99)
BASE, TUNED = 0.0, 1.0


def row(title: str, picture: Image.Image) -> Row:
    encoded = png(picture)
    return Row(
        hashlib.sha256(encoded).hexdigest(), encoded, "a thing", title=title, uploader="Ada", license="CC-BY-4.0"
    )


def reference_to(trained: list[str], clip: Clip, store: Store) -> tuple[Reference, list[str]]:
    """The drawings of these titles are trained, those that were drawn are held out; and the titles of the subjects."""
    drawings = named_drawings()
    kept_apart = [row(title, drawings[title]) for title in mixes()[BASE] if title in drawings]
    made = reference_of([row(title, drawings[title]) for title in trained], kept_apart, SETTINGS, clip, store)
    titles = {one.id: one.title for one in kept_apart}
    return made, [titles[subject] for subject in made.subjects]


def trained_titles() -> list[str]:
    return [title for title in named_drawings() if title not in mixes()[BASE]]


@pytest.fixture
def reference(store, clip) -> tuple[Reference, list[str]]:
    return reference_to(trained_titles(), clip, store)


@pytest.fixture
def keep(reference, clip, store):
    """What was drawn at a share of the way, as the set of an epoch."""

    def keep(epoch: int, share: float, strength: float = 1.0) -> DrawnSet:
        made, titles = reference
        pictures = [mixes()[share][title] for title in titles]
        return keep_set((epoch, strength), [pictures[i : i + 25] for i in range(0, 99, 25)], made, clip, store)

    return keep


def judged(reference: Reference, sets: list[DrawnSet], store: Store) -> tuple[list[Point], Anchors, Recommendation]:
    points, anchors = judge(reference, sets, [snapshot(store, one.epoch) for one in sets], store)
    return points, anchors, recommend(points, anchors, SETTINGS)


def test_known_mixes_of_base_and_tuned_weights_come_in_their_order(reference, keep, store):
    sets = [keep(number, share, min(1.0, number)) for number, share in enumerate(mixes())]
    points, anchors, _ = judged(reference[0], sets, store)
    distances = [point.measures.style_distance.value for point in points]
    assert distances == sorted(distances, reverse=True)
    ways = [point.measures.style_way for point in points]
    assert ways[0].value == ways[0].high == 0
    assert [way.low > 0 for way in ways] == [False, False, True, True, True]
    compositions = [point.measures.composition.value for point in points]
    assert compositions == sorted(compositions, reverse=True)
    assert compositions[0] == pytest.approx(1, abs=1e-5)
    agreements = [point.measures.prompt_agreement.value for point in points]
    assert anchors.drawings_agreement.value < agreements[-1] < agreements[0]
    assert all(point.measures.copies.low <= anchors.copies_null for point in points)


def test_a_training_that_learned_its_pictures_by_heart_is_found_out(store, clip):
    """20 pictures; epoch 14 draws in their style, the last draws them again, a little moved and compressed."""
    small, titles = reference_to(trained_titles()[:20], clip, store)
    learned = [named_drawings()[title] for title in trained_titles()[:20]]
    by_heart = [compressed(moved(learned[i % 20], i % 3 - 1, 1), 70) for i in range(len(titles))]
    sets = [
        keep_set((0, 0.0), [[mixes()[BASE][title] for title in titles]], small, clip, store),
        keep_set((14, 1.0), [[mixes()[TUNED][title] for title in titles]], small, clip, store),
        keep_set((400, 1.0), [by_heart], small, clip, store),
    ]
    points, anchors, found = judged(small, sets, store)
    assert points[2].measures.copies.value >= 0.99
    assert points[1].measures.copies.low <= anchors.copies_null
    assert found.epoch == 14
    assert found.because.endswith("and copies trained pictures (100% of its pictures).")


def test_two_snapshots_that_draw_the_same_cannot_be_told_apart(keep, reference, store):
    sets = [keep(0, BASE, 0.0), keep(2, TUNED), keep(4, TUNED)]
    assert sets[1].key == sets[2].key
    _, _, found = judged(reference[0], sets, store)
    assert (found.epoch, found.told_apart) == (2, False)
    assert "Whether epoch 4 is any nearer" in found.because
    assert "can't tell" in found.because


def test_a_snapshot_that_draws_as_the_base_does_is_not_recommended(keep, reference, store):
    _, _, found = judged(reference[0], [keep(0, BASE, 0.0), keep(2, BASE)], store)
    assert found.epoch is None
    assert found.because.startswith("Can't tell")


def test_pictures_of_the_same_subject_are_never_compared(reference, store, clip):
    """The wiki's own drawings, were they drawn by a model, are as near as can be: at 0, and not far below."""
    made, titles = reference
    own = keep_set((2, 1.0), [[named_drawings()[title] for title in titles]], made, clip, store)
    base = keep_set((0, 0.0), [[mixes()[BASE][title] for title in titles]], made, clip, store)
    points, _, _ = judged(made, [base, own], store)
    assert points[1].measures.style_distance.value == pytest.approx(0, abs=0.3)


def test_a_pair_says_whose_picture_is_nearest(reference, store):
    made, titles = reference
    copied = made.trained[7]
    new = store.put(png(mixes()[BASE][titles[0]]))
    samples = [
        Sample(prompt="new", seed=0, epoch=2, key=new),
        Sample(prompt="copied", seed=1, epoch=2, key=copied.key),
    ]
    first, second = pairs(samples, made, store)
    assert (first.prompt, first.copied, first.trained) == ("copied", True, copied)
    assert (copied.uploader, copied.license) == ("Ada", "CC-BY-4.0")
    assert first.likeness > 0.99 > second.likeness


def test_subjects_are_chosen_by_content(store):
    rows = read_rows(dataset_of(wiki_drawings()[:40], store), store)
    few = choose(rows, 10)
    assert choose(rows[::-1], 10) == few
    assert len({row.id for row in choose(rows[1:], 10)} & {row.id for row in few}) >= 9
    assert choose(rows, 100) == rows


def test_a_title_is_a_prompt_and_a_row_says_whose_it_is(store):
    row = read_rows(dataset_of(wiki_drawings()[:1], store), store)[0]
    assert title_prompt(row) == "a thing 0"
    assert (row.title, row.uploader, row.license) == ("File:Thing 0.png", "Ada 0", "CC-BY-SA-4.0")


def test_too_few_held_out_pictures_are_not_measured_against(store, clip):
    assert make_reference(dataset_of(wiki_drawings()[:30], store), 0.05, SETTINGS, clip, store) is None
