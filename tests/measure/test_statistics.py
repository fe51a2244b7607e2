"""The figures against sums written out, and their intervals against many trials whose truth is known."""

import itertools
import math

import numpy as np
import pytest

from tasks.measure.statistics import distance_terms, floor_figure, mean_figure, pair_figure, share_figure, way_figure

SUBJECTS = 48


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def world(generator: np.random.Generator, subjects: int, style: float, seeds: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A wiki's drawings and a model's of the same subjects, which lie `style` apart in one direction of 8."""
    content = generator.normal(size=(subjects, 8)) * 0.6
    real = content + generator.normal(size=(subjects, 8)) * 0.3
    drawn = content[:, None] + generator.normal(size=(subjects, seeds, 8)) * 0.3
    drawn[..., 0] += style
    return unit(real), unit(drawn)


def written_out(real: np.ndarray, drawn: np.ndarray) -> float:
    """The squared MMD between subjects as its definition says, one pair of pictures at a time, times 1000."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / 2)

    total, n, seeds = 0.0, len(real), drawn.shape[1]
    for i, j in itertools.permutations(range(n), 2):
        total += k(real[i], real[j])
        for a in range(seeds):
            total -= (k(real[i], drawn[j, a]) + k(real[j], drawn[i, a])) / seeds
            for b in range(seeds):
                total += k(drawn[i, a], drawn[j, b]) / seeds**2
    return 1000 * total / (n * (n - 1))


@pytest.mark.parametrize(("subjects", "seeds"), [(3, 1), (9, 1), (7, 3)])
def test_the_style_distance_is_what_its_definition_says(subjects, seeds):
    real, drawn = world(np.random.default_rng(subjects), subjects, 0.7, seeds)
    found = pair_figure(distance_terms(real, drawn))
    assert found.value == pytest.approx(written_out(real, drawn), rel=1e-6)


def test_the_jackknife_is_the_spread_of_the_figure_without_each_subject():
    real, drawn = world(np.random.default_rng(5), 12, 0.7)
    kept = [[j for j in range(12) if j != i] for i in range(12)]
    left_out = np.array([written_out(real[k], drawn[k]) for k in kept])
    error = math.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    found = pair_figure(distance_terms(real, drawn))
    assert found.high - found.value == pytest.approx(1.6449 * error, rel=1e-4)
    assert found.value - found.low == pytest.approx(1.6449 * error, rel=1e-4)


def test_embeddings_of_another_length_are_refused():
    real, drawn = world(np.random.default_rng(0), 9, 0.7)
    with pytest.raises(ValueError, match="length 1"):
        distance_terms(real * 10, drawn * 10)


def true_distance(style: float) -> float:
    """By very many subjects, of whom no two are the same on both sides."""
    generator = np.random.default_rng(99)
    parts = [pair_figure(distance_terms(*world(generator, 1500, style))).value for _ in range(4)]
    return float(np.mean(parts))


@pytest.mark.slow
@pytest.mark.parametrize("style", [0.5, 1.0])
def test_the_interval_holds_the_true_distance_in_nine_trials_of_ten(style):
    """The estimate is unbiased, too."""
    generator, truth = np.random.default_rng(1), true_distance(style)
    trials = [pair_figure(distance_terms(*world(generator, SUBJECTS, style))) for _ in range(600)]
    assert 0.85 <= np.mean([one.low <= truth <= one.high for one in trials]) <= 0.95
    values = [one.value for one in trials]
    assert np.mean(values) == pytest.approx(truth, abs=3 * float(np.std(values)) / math.sqrt(600) + 0.02 * truth)


@pytest.mark.slow
def test_the_interval_of_a_difference_holds_it_in_nine_trials_of_ten():
    """Two snapshots that draw the same subjects from the same noise."""

    def pair(subjects: int, generator: np.random.Generator):
        real, one = world(generator, subjects, 0.0)
        shifted = [one.copy() for _ in range(2)]
        for drawn, style in zip(shifted, (1.0, 0.6), strict=True):
            drawn[..., 0] += style
        far, near = (distance_terms(real, unit(drawn)) for drawn in shifted)
        return pair_figure(far - near), pair_figure(far), pair_figure(near)

    truth = float(np.mean([pair(1500, np.random.default_rng(s))[0].value for s in range(90, 94)]))
    generator = np.random.default_rng(2)
    trials = [pair(SUBJECTS, generator) for _ in range(600)]
    assert 0.85 <= np.mean([one.low <= truth <= one.high for one, _, _ in trials]) <= 0.95
    paired = np.mean([one.high - one.low for one, _, _ in trials])
    apart = np.mean([math.hypot(far.high - far.low, near.high - near.low) for _, far, near in trials])
    assert paired < 0.7 * apart, "pairing is what makes so few subjects enough"


@pytest.mark.slow
def test_the_same_style_is_at_no_distance():
    generator = np.random.default_rng(4)
    values = [pair_figure(distance_terms(*world(generator, 24, 0.0))).value for _ in range(400)]
    assert np.mean(values) == pytest.approx(0, abs=3 * float(np.std(values)) / 20)


def test_means_have_the_interval_of_their_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    found = mean_figure(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(1.6449 * values.std(ddof=1) / math.sqrt(50), rel=1e-4)


def test_of_one_subject_nothing_is_known():
    assert mean_figure(np.array([0.5])).low == -math.inf
    assert pair_figure(distance_terms(*world(np.random.default_rng(0), 2, 0.5))).high == math.inf


@pytest.mark.parametrize(("count", "of"), [(0, 96), (5, 96), (50, 96), (96, 96)])
def test_a_share_has_wilsons_interval(count, of):
    """The two shares from which the count found lies 1.645 of their own standard deviations away."""
    found = share_figure(count, of)
    assert found.value == count / of
    for end in (found.low, found.high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(count / of - end) / math.sqrt(end * (1 - end) / of) == pytest.approx(1.6449, rel=1e-3)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_two_halves_of_the_same_drawings_are_at_no_distance_but_chance():
    real, _ = world(np.random.default_rng(6), 60, 0.0)
    found = floor_figure(real, 100, 0)
    assert found == floor_figure(real, 100, 0)
    assert found.low < 0 < found.high
    assert abs(found.value) < (found.high - found.low) / 5


def test_the_way_is_a_share_of_the_bases_distance_and_its_interval_pairs_both():
    generator = np.random.default_rng(7)
    real, far = world(generator, 12, 1.0)
    near = unit(far - np.eye(8)[0] * 0.4)
    base, terms = distance_terms(real, far), distance_terms(real, near)
    found = way_figure(base, terms)
    assert found.value == pytest.approx(1 - written_out(real, near) / written_out(real, far))
    kept = [[j for j in range(12) if j != i] for i in range(12)]
    left_out = np.array([1 - written_out(real[k], near[k]) / written_out(real[k], far[k]) for k in kept])
    error = math.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.high - found.value == pytest.approx(1.6449 * error, rel=1e-4)
    assert way_figure(base, base).value == way_figure(base, base).high == 0
