"""The rule: keep enough of the base, copy nothing, come nearest in style; of the equally near take the earliest."""

import numpy as np
import pytest

from tasks.measure.judge import Point
from tasks.measure.records import Anchors, Figure, Measures
from tasks.measure.rule import agreement_limit, faults, promising, recommend
from tasks.measure.settings import MeasureSettings
from tasks.measure.statistics import pair_figure, way_figure
from tests.sample.tiny import snapshot

SUBJECTS = 40
SETTINGS = MeasureSettings(composition_kept=0.7, agreement_kept=0.5)


def around(value: float, half: float = 0.02) -> Figure:
    return Figure(value=value, low=value - half, high=value + half)


def noise(seed: int) -> np.ndarray:
    """What pairs of subjects differ by, of mean 0."""
    terms = np.random.default_rng(seed).normal(scale=0.5, size=(SUBJECTS, SUBJECTS))
    terms = terms + terms.T
    np.fill_diagonal(terms, 0)
    total = terms.sum() / (SUBJECTS * (SUBJECTS - 1))
    terms -= total
    np.fill_diagonal(terms, 0)
    return terms


def point(
    epoch: int, style: float, strength: float = 1.0, composition: float = 0.8, agreement: float = 0.45,
    copies: Figure | None = None, seed: int = 0,
) -> Point:  # fmt: skip
    """A point at exactly this style distance; two of the same `seed` have the same terms but for it."""
    terms = noise(seed) + style
    np.fill_diagonal(terms, 0)
    measures = Measures(
        epoch=epoch, strength=strength, style_distance=pair_figure(terms),
        style_way=way_figure(noise(9) + 16.0 * (1 - np.eye(SUBJECTS)), terms), prompt_agreement=around(agreement),
        composition=around(composition), copies=copies or Figure(value=0.0, low=0.0, high=0.03),
        heldout_loss=None, probe_loss=None, decoder_psnr=None,
    )  # fmt: skip
    return Point(measures, terms)


BASE = point(0, 16.0, strength=0.0, composition=1.0, agreement=0.5, seed=9)
ANCHORS = Anchors(
    base_style=BASE.measures.style_distance, base_agreement=around(0.5), style_floor=around(0.0, 2.0),
    drawings_agreement=around(0.3), copies_null=0.05, subjects=SUBJECTS, pictures=SUBJECTS,
)  # fmt: skip


def recommended(*points: Point):
    return recommend([BASE, *points], ANCHORS, SETTINGS)


def test_the_nearest_in_style_is_recommended_and_the_reason_says_how_near():
    found = recommended(point(2, 9.0, seed=1), point(4, 3.0, seed=2), point(6, 8.0, seed=3))
    assert (found.epoch, found.strength, found.told_apart) == (4, 1.0, True)
    assert found.because.startswith("Epoch 4 has gone 81% of the way from the base's style to the wiki's")
    assert "No other point that qualifies is as near" in found.because
    assert "\n" not in found.because


def test_of_those_that_cannot_be_told_apart_the_earliest_is_taken_and_it_is_said():
    found = recommended(point(2, 9.0, seed=1), point(4, 3.05, seed=2), point(6, 3.0, seed=3), point(8, 3.02, seed=4))
    assert (found.epoch, found.told_apart) == (4, False)
    assert "Whether epoch 6 or epoch 8 are any nearer, 40 subjects can't tell" in found.because


def test_of_two_snapshots_that_are_the_same_it_cannot_tell():
    """As two epochs with the very same weights: the difference is 0, and so is its interval."""
    found = recommended(point(4, 3.0, seed=1), point(6, 3.0, seed=1))
    assert (found.epoch, found.told_apart) == (4, False)
    assert "can't tell" in found.because


def test_a_difference_too_small_for_either_interval_is_told_by_pairing():
    """The same subjects and noise: where all pairs agree, a tenth of either interval is enough."""
    first, second = point(4, 3.05, seed=1), point(6, 3.0, seed=1)
    figures = first.measures.style_distance, second.measures.style_distance
    assert figures[0].low < figures[1].high
    assert recommended(first, second).epoch == 6


def test_a_point_that_is_not_shown_to_lose_the_composition_stays():
    """Its interval reaches what is to be kept."""
    assert recommended(point(4, 3.0, composition=0.69)).epoch == 4
    found = recommended(point(2, 9.0, seed=1), point(4, 3.0, composition=0.67, seed=2))
    assert found.epoch == 2
    assert "Epoch 4, the last, keeps too little of the composition (0.67)." in found.because


def test_agreement_is_kept_down_to_a_share_of_the_way():
    assert agreement_limit(ANCHORS, SETTINGS) == pytest.approx(0.4)
    assert faults(point(4, 3.0, agreement=0.39).measures, ANCHORS, SETTINGS) == []
    assert faults(point(4, 3.0, agreement=0.37).measures, ANCHORS, SETTINGS) == [
        "follows its prompts too little (0.370)"
    ]


def test_where_the_wikis_drawings_agree_better_the_bases_agreement_is_kept():
    better = ANCHORS.model_copy(update={"drawings_agreement": around(0.6)})
    assert agreement_limit(better, SETTINGS) == 0.5


def test_a_point_that_copies_is_not_recommended():
    """More of its pictures than of the held-out ones, and shown."""
    copying = Figure(value=0.3, low=0.2, high=0.4)
    maybe = Figure(value=0.08, low=0.04, high=0.15)
    found = recommended(point(2, 9.0, seed=1), point(4, 3.0, copies=copying, seed=2))
    assert found.epoch == 2
    assert "Epoch 4, the last, copies trained pictures (30% of its pictures)." in found.because
    assert recommended(point(2, 9.0, seed=1), point(4, 3.0, copies=maybe, seed=2)).epoch == 4


def test_when_nothing_qualifies_none_is_recommended():
    found = recommended(point(2, 9.0, composition=0.5), point(4, 3.0, agreement=0.31))
    assert (found.epoch, found.strength) == (None, None)
    assert found.because == (
        "No point can be recommended: epoch 2 keeps too little of the composition (0.50); "
        "epoch 4 follows its prompts too little (0.310)."
    )


def test_a_style_that_is_not_shown_to_have_moved_is_not_recommended():
    found = recommended(point(2, 16.0, seed=1), point(4, 15.98, seed=2))
    assert found.epoch is None
    assert found.because.startswith("Can't tell: the style of epoch 4 is not shown to be nearer to the wiki")


def test_strengths_are_points_like_any_other():
    found = recommended(point(4, 3.0, composition=0.6, seed=1), point(4, 4.0, strength=0.8, seed=2))
    assert (found.epoch, found.strength) == (4, 0.8)
    assert found.because.startswith("Epoch 4 at strength 0.8 has gone 75% of the way")


def test_more_points_are_worth_measuring_of_the_nearest(store):
    snapshots = [snapshot(store, epoch) for epoch in (0, 2, 4, 6)]
    points = [BASE, point(2, 9.0), point(4, 3.0), point(6, 4.0)]
    assert [one.epoch for one in promising(points, snapshots, SETTINGS)] == [4, 6]
    assert promising(points, snapshots, SETTINGS.model_copy(update={"strengths_of": 0})) == []
