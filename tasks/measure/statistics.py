"""Figures of a few dozen subjects with 90 % intervals: distances between two sets of pictures, means, shares.

The unit is the subject: one drawing of the wiki, and what a model draws from its caption with each seed. Whatever is
measured is a mean over subjects or over pairs of two different subjects, so leaving out one subject at a time says how
far it would move with other subjects (the jackknife; for U-statistics Arvesen 1969). Drawing subjects with replacement,
as a bootstrap does, would compare pictures with themselves, and the distance would come out too large.
"""

import math
from statistics import NormalDist

import numpy as np

from tasks.measure.records import Figure

CONFIDENCE = 0.90
DEVIATIONS = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)  # 1.645 standard errors to either side
SCALE = 1000.0  # the distances are read times 1000, as in Jayasumana et al. 2024


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """exp(-|x - y|² / 2) of unit vectors [n, d] and [m, d]: [n, m]. Raises ValueError for vectors of other length.

    With normalised embeddings one width (1) goes with every CLIP: distances lie between 0 and 2 whatever the model.
    """
    for vectors in (a, b):
        if not np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-3):
            raise ValueError("embeddings must have length 1")
    return np.exp(a @ b.T - 1)


def distance_terms(real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """h(i, j) of every two subjects, [n, n] times 1000, whose mean over i ≠ j is the squared MMD (Gretton et al. 2012).

    `real` [n, d] are the wiki's drawings, `drawn` [n, seeds, d] the model's of the same subjects. A drawing is never
    compared with one of its own subject: they are alike whatever the style, and the distance would come out too small.
    """
    n, seeds, d = drawn.shape
    flat = drawn.reshape(n * seeds, d)
    own = kernel(flat, flat).reshape(n, seeds, n, seeds).mean(axis=(1, 3))
    cross = kernel(real, flat).reshape(n, n, seeds).mean(axis=2)
    terms = SCALE * (kernel(real, real) + own - cross - cross.T)
    np.fill_diagonal(terms, 0)
    return terms


def pair_figure(terms: np.ndarray) -> Figure:
    """Mean of h(i, j) over i ≠ j, [n, n] with a diagonal of zeros, and its interval. Needs three subjects."""
    n = len(terms)
    if n < 3:
        return Figure(value=float(terms.sum() / (n * (n - 1))) if n == 2 else math.nan, low=-math.inf, high=math.inf)
    return _jackknife(_pair_mean(terms), _pairs_left_out(terms))


def way_figure(base: np.ndarray, terms: np.ndarray) -> Figure:
    """How far from the base (0) to no distance at all (1): 1 - distance ÷ the base's, of the same subjects [n, n].

    0 where the base is at no distance: there is no way to go.
    """
    if _pair_mean(base) <= 0 or (_pairs_left_out(base) <= 0).any():
        return Figure(value=0.0, low=0.0, high=0.0)
    value = 1 - _pair_mean(terms) / _pair_mean(base)
    return _jackknife(value, 1 - _pairs_left_out(terms) / _pairs_left_out(base))


def _pair_mean(terms: np.ndarray) -> float:
    return float(terms.sum() / (len(terms) * (len(terms) - 1)))


def _pairs_left_out(terms: np.ndarray) -> np.ndarray:
    """The mean without each subject, [n]."""
    n = len(terms)
    return (terms.sum() - 2 * terms.sum(axis=1)) / ((n - 1) * (n - 2))


def mean_figure(values: np.ndarray) -> Figure:
    """Mean of one value a subject, [n], and its interval (Student's error is the jackknife's). Needs two subjects."""
    n = len(values)
    if n < 2:
        return Figure(value=float(values.mean()) if n else math.nan, low=-math.inf, high=math.inf)
    return _jackknife(float(values.mean()), (values.sum() - values) / (n - 1))


def _jackknife(value: float, left_out: np.ndarray) -> Figure:
    n = len(left_out)
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    return Figure(value=value, low=value - DEVIATIONS * error, high=value + DEVIATIONS * error)


def share_figure(count: int, of: int) -> Figure:
    """count ÷ of, and Wilson's interval (Wilson 1927), which is right for shares near 0, too."""
    share, z2 = count / of, DEVIATIONS**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = DEVIATIONS / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return Figure(value=share, low=min(share, max(0.0, middle - half)), high=max(share, min(1.0, middle + half)))


def floor_figure(real: np.ndarray, splits: int, seed: int) -> Figure:
    """The distance between two random halves of the wiki's own drawings [n, d], over seeded splits.

    The value is the mean of the splits, near 0, because nothing separates the halves; `low` and `high` hold 90 % of
    the splits: what chance alone makes of as many pictures as a half has.
    """
    generator, half = np.random.default_rng(seed), len(real) // 2
    distances = []
    for _ in range(splits):
        order = generator.permutation(len(real))
        terms = distance_terms(real[order[:half]], real[order[half : 2 * half]][:, None])
        distances.append(terms.sum() / (half * (half - 1)))
    low, high = np.quantile(distances, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Figure(value=float(np.mean(distances)), low=float(low), high=float(high))
