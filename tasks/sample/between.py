"""Pictures from weights between two snapshots: evenly spread for a dial film, or a few for a film of the training.

Nothing of the weights is kept: they are made from the two snapshots whenever a picture is drawn.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from tasks.common.records import Between, Sample
from tasks.common.store import Store
from tasks.diffusion.between import Ends, put_between
from tasks.diffusion.draw import decode, denoise, encode, png
from tasks.diffusion.parameters import Picture, parameters
from tasks.diffusion.pipeline import LoadedPipeline, set_solver
from tasks.sample.settings import SampleSettings


@dataclass(frozen=True)
class Way:
    """Two snapshots' weights in a pipeline, the epochs they are of, and where the pictures go."""

    loaded: LoadedPipeline
    ends: Ends
    since: int
    epoch: int
    store: Store


@dataclass(frozen=True)
class Frame:
    """What is drawn at one strength: one record for each seed, and their pixels [seeds, height, width, 3]."""

    strength: float
    pictures: tuple[Between, ...]
    pixels: np.ndarray


def draw_dial(way: Way, ends: tuple[Sequence[Sample], Sequence[Sample]], settings: SampleSettings) -> list[Between]:
    """`settings.dial_frames` frames, each of all seeds, from the first snapshot's own samples to the second's.

    `ends`: samples of one prompt, the same seeds in the same order. Raises ModelError for a broken model.
    """
    prompt, seeds = ends[0][0].prompt, [sample.seed for sample in ends[0]]

    def draw(strength: float) -> Frame:
        drawn = _draw(way, strength, [(prompt, seed) for seed in seeds], settings)
        return Frame(strength, tuple(record for record, _ in drawn), _stack([picture for _, picture in drawn]))

    first, last = (_frame_of(samples, float(at), way) for at, samples in enumerate(ends))
    frames = spread(first, last, settings.dial_frames, draw)
    return [picture for frame in frames for picture in frame.pictures]


def spread(first: Frame, last: Frame, count: int, draw: Callable[[float], Frame]) -> list[Frame]:
    """`count` frames, each step of which changes the picture about as much as any other.

    The step that changes most is halved until there are as many. Of two halves the larger is at least half of the
    whole (the change is a distance), which was the largest of all: so half of the steps are at least half as large
    as the largest, but for what the halving of halves adds. Deterministic: of equal steps the widest, then the first.
    """
    frames = [first, last]
    while len(frames) < count:
        steps = [(change(a, b), b.strength - a.strength) for a, b in pairwise(frames)]
        at = max(range(len(steps)), key=lambda i: (steps[i], -i))
        frames.insert(at + 1, draw((frames[at].strength + frames[at + 1].strength) / 2))
    return frames


def change(one: Frame, other: Frame) -> float:
    """Mean absolute difference of two frames' pixels, in levels of 255."""
    return float(np.abs(one.pixels.astype(np.int16) - other.pixels.astype(np.int16)).mean())


def draw_tweens(way: Way, count: int, settings: SampleSettings) -> list[Between]:
    """Every prompt and seed at `count` strengths evenly between the two snapshots, without the snapshots' own."""
    wanted = [(prompt, seed) for prompt in settings.prompts for seed in settings.seeds]
    return [
        record for number in range(1, count + 1) for record, _ in _draw(way, number / (count + 1), wanted, settings)
    ]


def _draw(
    way: Way, strength: float, wanted: list[tuple[str, int]], settings: SampleSettings
) -> list[tuple[Between, Image.Image]]:
    """Draw (prompt, seed) pairs at one strength, and put them into the store."""
    loaded, drawn = way.loaded, []
    put_between(loaded, way.ends, strength)
    set_solver(loaded.pipe, settings.scheduler)
    embeddings = encode(loaded.pipe, [*(prompt for prompt, _ in wanted), settings.negative_prompt])
    for at in range(0, len(wanted), settings.batch_size):
        batch = wanted[at : at + settings.batch_size]
        for (prompt, seed), latents in zip(batch, denoise(loaded.pipe, batch, embeddings, settings), strict=True):
            what = f'"{prompt}", seed {seed}, {strength:g} of the way to epoch {way.epoch}'
            picture = decode(loaded.pipe, latents, what)
            said = Picture(prompt, seed, way.epoch, strength, way.since)
            key = way.store.put(png(picture, parameters(said, picture.size, loaded, settings)))
            record = Between(
                prompt=prompt, seed=seed, since=way.since, epoch=way.epoch, strength=strength, key=key
            )  # fmt: skip
            drawn.append((record, picture))
    return drawn


def _frame_of(samples: Sequence[Sample], strength: float, way: Way) -> Frame:
    """A snapshot's own samples as an end of the way."""
    records = tuple(
        Between(prompt=s.prompt, seed=s.seed, since=way.since, epoch=way.epoch, strength=strength, key=s.key)
        for s in samples
    )
    return Frame(strength, records, _stack([Image.open(io.BytesIO(way.store.read(sample.key))) for sample in samples]))


def _stack(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
