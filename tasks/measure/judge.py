"""From drawn sets to figures: each with its interval, and read between the base and the wiki's own drawings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.measure.likeness import composition_kept
from tasks.measure.records import Anchors, DrawnSet, Figure, Measures, Reference
from tasks.measure.reference import tensors_of
from tasks.measure.statistics import distance_terms, floor_figure, mean_figure, pair_figure, share_figure, way_figure

SPLITS = 200  # halvings of the held-out drawings for the floor


@dataclass(frozen=True)
class Point:
    """One epoch at one strength: its figures, and what two points are compared by, pair of subjects by pair.

    `terms` [n, n] are those of the style distance.
    """

    measures: Measures
    terms: np.ndarray

    @property
    def name(self) -> str:
        """As a person says it."""
        of = "" if self.measures.strength in (0, 1) else f" at strength {self.measures.strength:g}"
        return f"epoch {self.measures.epoch}{of}" if self.measures.strength else "the base"


def style_difference(one: Point, other: Point) -> Figure:
    """How much farther `one` is from the wiki than `other`, of the same subjects and noise."""
    return pair_figure(one.terms - other.terms)


def judge(
    reference: Reference, drawn: Sequence[DrawnSet], snapshots: Sequence[Snapshot], store: Store
) -> tuple[list[Point], Anchors]:
    """The points of the drawn sets, the first of which is the base's, and what they are read between."""
    wiki = tensors_of(reference.key, store)
    sets = [tensors_of(one.key, store) for one in drawn]
    base = sets[0]["thumbnails"]
    by_epoch = {snapshot.epoch: snapshot for snapshot in snapshots}
    base_terms = distance_terms(wiki["held_out"], sets[0]["embeddings"])
    points = [
        _point(one, tensors, wiki, (base, base_terms), by_epoch.get(one.epoch), reference)
        for one, tensors in zip(drawn, sets, strict=True)
    ]
    first = points[0].measures
    anchors = Anchors(
        base_style=first.style_distance,
        base_agreement=first.prompt_agreement,
        style_floor=floor_figure(wiki["held_out"], SPLITS, 0),
        drawings_agreement=mean_figure((wiki["held_out"] * wiki["captions"]).sum(axis=1)),
        copies_null=reference.copy_null,
        subjects=len(reference.subjects),
        pictures=int(sets[0]["likeness"].size),
    )
    return points, anchors


def _point(
    drawn: DrawnSet, tensors: dict[str, np.ndarray], wiki: dict[str, np.ndarray],
    base: tuple[np.ndarray, np.ndarray],    snapshot: Snapshot | None, reference: Reference,
) -> Point:  # fmt: skip
    terms = distance_terms(wiki["held_out"], tensors["embeddings"])
    agreement = (tensors["embeddings"] * wiki["captions"][:, None]).sum(axis=2).mean(axis=1)
    composition = composition_kept(tensors["thumbnails"], base[0]).mean(axis=1)
    copied = tensors["likeness"] > reference.copy_likeness
    own = snapshot if drawn.strength in (0.0, 1.0) else None
    measures = Measures(
        epoch=drawn.epoch,
        strength=drawn.strength,
        style_distance=pair_figure(terms),
        style_way=way_figure(base[1], terms),
        prompt_agreement=mean_figure(agreement),
        composition=mean_figure(composition),
        copies=share_figure(int(copied.sum()), copied.size),
        heldout_loss=own and own.heldout_loss,
        probe_loss=own and own.probe_loss,
        decoder_psnr=own and own.decoder_psnr,
    )
    return Point(measures, terms)
