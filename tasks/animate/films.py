"""Make a film's files and put them into the store."""

from pathlib import PurePosixPath

from PIL import Image

from tasks.animate.denoising import denoising_frames, denoising_strip
from tasks.animate.encode import durations, film, still
from tasks.animate.settings import AnimateSettings
from tasks.animate.shots import contact_sheet, dial_shots, frames_of, training_shots
from tasks.common.files import file_name
from tasks.common.records import Animation, Between, Sample, StoredFile
from tasks.common.store import Store

SHEET_ROWS = 9  # of a dial film, whose frames differ little


def dial_film(prompt: str, between: list[Between], settings: AnimateSettings, store: Store) -> Animation:
    """`dial/<prompt>.gif` and the other formats, and a contact sheet `.png` of some of its frames.

    Pictures of other prompts are left aside. Raises AnimateError when a frame lacks a seed that another has.
    """
    shots = dial_shots(prompt, between)
    seeds = list(dict.fromkeys(picture.seed for picture in between if picture.prompt == prompt))
    rows = min(SHEET_ROWS, len(shots))
    some = [shots[i * (len(shots) - 1) // max(1, rows - 1)] for i in range(rows)]
    sheet = contact_sheet(prompt, some, seeds, settings.sheet_tile, store)
    return _animation("dial", prompt, frames_of(prompt, shots, settings, store), sheet, settings, store)


def training_film(
    prompt: str, samples: list[Sample], between: list[Between], settings: AnimateSettings, store: Store
) -> Animation:
    """`training/<prompt>.gif` and the other formats, and a contact sheet `.png` of the epochs; see `dial_film`."""
    shots, epochs = training_shots(prompt, samples, between), training_shots(prompt, samples, [])
    seeds = list(dict.fromkeys(sample.seed for sample in samples if sample.prompt == prompt))
    sheet = contact_sheet(prompt, epochs, seeds, settings.sheet_tile, store)
    return _animation("training", prompt, frames_of(prompt, shots, settings, store), sheet, settings, store)


def denoising_film(prompt: str, keys: list[str], settings: AnimateSettings, store: Store) -> Animation:
    """`denoising/<prompt>.gif`, `.webp` and a still strip `.png`. Raises AnimateError without any picture."""
    frames = denoising_frames(prompt, keys, settings, store)
    strip = denoising_strip(prompt, keys, settings, store)
    return _animation("denoising", prompt, frames, strip, settings, store)


def _animation(
    kind: str, prompt: str, frames: list[Image.Image], sheet: Image.Image, settings: AnimateSettings, store: Store
) -> Animation:
    times = durations(len(frames), _frame_ms(kind, settings), settings.hold_last_ms)
    encoded = {ending: film(frames, times, ending) for ending in dict.fromkeys(settings.formats)}
    encoded["png"] = still(sheet)
    name = PurePosixPath(kind) / file_name(prompt)
    files = tuple(
        StoredFile(path=f"{name}.{ending}", key=store.put(data), bytes=len(data)) for ending, data in encoded.items()
    )
    return Animation(kind=kind, prompt=prompt, frames=len(frames), files=files)


def _frame_ms(kind: str, settings: AnimateSettings) -> int:
    """How long each frame is shown: an epoch takes as long with frames between the epochs as without."""
    if kind == "dial":
        return settings.dial_ms
    # Denoising has many frames that differ little: shown at half the time each, it takes as long as it is interesting.
    share = 2 if kind == "denoising" else 1 + settings.tween
    return max(20, settings.frame_ms // (10 * share) * 10)
