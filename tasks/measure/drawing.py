"""The set that is measured: every caption drawn with every seed, the same noise for every epoch and strength."""

from collections.abc import Iterable, Iterator

import numpy as np
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.numpy import save

from tasks.common.seeds import seed_for
from tasks.common.store import Store
from tasks.diffusion.draw import decode, denoise, encode
from tasks.diffusion.pipeline import set_solver
from tasks.measure.clip import Clip, embed_pictures
from tasks.measure.likeness import copy_features, nearest, thumbnails
from tasks.measure.records import DrawnSet, Reference
from tasks.measure.reference import tensors_of
from tasks.measure.settings import MeasureSettings


def draw_set(
    pipe: StableDiffusionPipeline,
    point: tuple[int, float],
    reference: Reference,
    settings: MeasureSettings,
    clip: Clip,
    store: Store,
) -> DrawnSet:
    """Draw the reference's captions with the weights that are in the pipeline, those of `point` (epoch, strength).

    Raises ModelError for a broken model.
    """
    pictures = _pictures(pipe, reference, settings, f"epoch {point[0]}, strength {point[1]:g}")
    return keep_set(point, pictures, reference, clip, store)


def keep_set(
    point: tuple[int, float], pictures: Iterable[list[Image.Image]], reference: Reference, clip: Clip, store: Store
) -> DrawnSet:  # fmt: skip
    """What is measured of batches of pictures, subjects first and each subject's seeds together; they are not kept."""
    parts: list[tuple[np.ndarray, ...]] = []
    trained = tensors_of(reference.key, store)["trained"]
    for batch in pictures:
        parts.append((embed_pictures(clip, batch), thumbnails(batch), *nearest(copy_features(batch), trained)))
    arrays = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    shaped = [array.reshape(len(reference.captions), -1, *array.shape[1:]) for array in arrays]
    names = ("embeddings", "thumbnails", "likeness", "nearest")
    return DrawnSet(epoch=point[0], strength=point[1], key=store.put(save(dict(zip(names, shaped, strict=True)))))


def _pictures(
    pipe: StableDiffusionPipeline, reference: Reference, settings: MeasureSettings, what: str
) -> Iterator[list[Image.Image]]:
    """In batches, subjects first. A subject's noise is its own: it stays the same when another one is added."""
    set_solver(pipe, settings.scheduler)
    embeddings = encode(pipe, [*reference.captions, settings.negative_prompt])
    wanted = [
        (caption, seed_for(seed, "measure", subject))
        for subject, caption in zip(reference.subjects, reference.captions, strict=True)
        for seed in settings.seeds
    ]
    for start in range(0, len(wanted), settings.batch_size):
        batch = wanted[start : start + settings.batch_size]
        latents = denoise(pipe, batch, embeddings, settings)
        yield [decode(pipe, one, f'"{caption}", {what}') for (caption, _), one in zip(batch, latents, strict=True)]
