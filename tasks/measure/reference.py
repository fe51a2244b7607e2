"""The wiki's side of every comparison: its held-out pictures, their captions, and the pictures trained on."""

import io
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save

from tasks.common.records import DatasetRef, Sample
from tasks.common.rows import Row, decode, read_rows, split
from tasks.common.settings import digest
from tasks.common.store import Store
from tasks.measure.clip import Clip, embed_pictures, embed_texts
from tasks.measure.likeness import COPY_SIDE, copy_features, copy_threshold, nearest
from tasks.measure.records import Credit, NearestPair, Reference
from tasks.measure.settings import MeasureSettings

FALSE_ALARMS = 0.05  # of held-out pictures may count as copies
FEWEST = 8  # held-out pictures; an interval of fewer says nothing


def make_reference(
    dataset: DatasetRef | str, held_out: float, settings: MeasureSettings, clip: Clip, store: Store
) -> Reference | None:
    """Embed the held-out pictures and captions, and learn how near held-out pictures lie to trained ones.

    `held_out` is the share that the training left out. None when there are fewer than 8 of them. Raises DatasetError
    when the dataset can't be read.
    """
    trained, kept_apart = split(read_rows(dataset, store), held_out)
    if len(kept_apart) < FEWEST:
        return None
    return reference_of(trained, kept_apart, settings, clip, store)


def reference_of(
    trained: list[Row], kept_apart: list[Row], settings: MeasureSettings, clip: Clip, store: Store
) -> Reference:  # fmt: skip
    """`make_reference` of rows that are read and split."""
    subjects = choose(kept_apart, settings.subjects)
    prompts = [title_prompt(row) if settings.prompts == "titles" else row.text for row in subjects]
    side = clip.model.config.vision_config.image_size
    among = copy_features(_squares(trained, COPY_SIDE))
    null, _ = nearest(copy_features(_squares(kept_apart, COPY_SIDE)), among)
    limit = copy_threshold(null, FALSE_ALARMS)
    tensors = {
        "held_out": embed_pictures(clip, _squares(subjects, side)),
        "captions": embed_texts(clip, prompts),
        "trained": among,
    }
    return Reference(
        key=store.put(save(tensors)),
        subjects=tuple(row.id for row in subjects),
        captions=tuple(prompts),
        trained=tuple(_credit(row, store) for row in trained),
        copy_likeness=limit,
        copy_null=float((null > limit).mean()),
    )


def choose(rows: list[Row], most: int) -> list[Row]:
    """At most this many rows, by a hash of their content: one row more or less changes one subject."""
    return sorted(sorted(rows, key=lambda row: digest(["subject", row.id]))[:most], key=lambda row: row.id)


def title_prompt(row: Row) -> str:
    """What the wiki calls a picture, as a prompt: "File:Pig face.png" → "a pig face". Its caption where it has none."""
    name = PurePosixPath(row.title.removeprefix("File:")).stem.replace("_", " ").strip().lower()
    if not name:
        return row.text
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def tensors_of(key: str, store: Store) -> dict[str, np.ndarray]:
    """The arrays of a Reference or a DrawnSet."""
    return load_file(store.path(key))


def _squares(rows: list[Row], side: int) -> list[Image.Image]:
    return [Image.fromarray(decode(row, side)) for row in rows]


def _credit(row: Row, store: Store) -> Credit:
    """Its bytes are put into the store: those of a dataset on the hub are not there yet."""
    return Credit(
        key=store.put(row.image), title=row.title, uploader=row.uploader, license=row.license, page_url=row.page_url
    )


def pairs(samples: Sequence[Sample], reference: Reference, store: Store) -> list[NearestPair]:
    """Each sample with the trained picture nearest to it, the nearest pair first."""
    pictures = [Image.open(io.BytesIO(store.read(sample.key))) for sample in samples]
    likeness, index = nearest(copy_features(pictures), tensors_of(reference.key, store)["trained"])
    found = [
        NearestPair(
            sample=sample.key, prompt=sample.prompt, seed=sample.seed, epoch=sample.epoch,
            trained=reference.trained[which], likeness=float(near), copied=bool(near > reference.copy_likeness),
        )
        for sample, near, which in zip(samples, likeness, index, strict=True)
    ]  # fmt: skip
    return sorted(found, key=lambda pair: -pair.likeness)
