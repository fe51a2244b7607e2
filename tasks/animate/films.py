"""Make a film's files and put them into the store."""

from pathlib import PurePosixPath

from PIL import Image

from tasks.animate.denoising import denoising_frames, denoising_strip
from tasks.animate.drift import contact_sheet, drift_frames
from tasks.animate.encode import durations, film, still
from tasks.animate.settings import AnimateSettings
from tasks.common.files import file_name
from tasks.common.records import Animation, Sample, StoredFile
from tasks.common.store import Store


def drift_film(prompt: str, samples: list[Sample], settings: AnimateSettings, store: Store) -> Animation:
    """`drift/<prompt>.gif`, `.webp` and a contact sheet `.png`. Samples of other prompts are left aside.

    Raises AnimateError when an epoch lacks a seed that another has.
    """
    frames = drift_frames(prompt, samples, settings, store)
    sheet = contact_sheet(prompt, samples, settings.sheet_tile, store)
    return _animation("drift", prompt, frames, sheet, settings, store)


def denoising_film(prompt: str, keys: list[str], settings: AnimateSettings, store: Store) -> Animation:
    """`denoising/<prompt>.gif`, `.webp` and a still strip `.png`. Raises AnimateError without any picture."""
    frames = denoising_frames(prompt, keys, settings, store)
    strip = denoising_strip(prompt, keys, settings, store)
    return _animation("denoising", prompt, frames, strip, settings, store)


def _animation(
    kind: str, prompt: str, frames: list[Image.Image], sheet: Image.Image, settings: AnimateSettings, store: Store
) -> Animation:
    # Denoising has many frames that differ little: shown at half the time each, it takes as long as it is interesting.
    frame_ms = settings.frame_ms if kind == "drift" else max(20, settings.frame_ms // 20 * 10)
    times = durations(len(frames), frame_ms, settings.hold_last_ms)
    encoded = {ending: film(frames, times, ending) for ending in dict.fromkeys(settings.formats)}
    encoded["png"] = still(sheet)
    name = PurePosixPath(kind) / file_name(prompt)
    files = tuple(
        StoredFile(path=f"{name}.{ending}", key=store.put(data), bytes=len(data)) for ending, data in encoded.items()
    )
    return Animation(kind=kind, prompt=prompt, frames=len(frames), files=files)
