"""One picture coming out of noise, as film frames."""

from PIL import Image

from tasks.animate.layout import Heading, frame
from tasks.animate.settings import AnimateSettings
from tasks.animate.shots import AnimateError, open_picture
from tasks.common.store import Store


def denoising_frames(prompt: str, keys: list[str], settings: AnimateSettings, store: Store) -> list[Image.Image]:
    """One RGB frame for each key, twice as large as a drift film's pictures. Raises AnimateError without any key."""
    if not keys:
        raise AnimateError(f'there is no denoising picture of "{prompt}"; run the sample stage again')
    last = max(1, len(keys) - 1)
    names = ["noise", *[f"{round(100 * i / last)} %" for i in range(1, last)], "picture"]
    return [
        frame([open_picture(store, key)], Heading(names[i], i / last), prompt, 2 * settings.tile, 1)
        for i, key in enumerate(keys)
    ]


def denoising_strip(prompt: str, keys: list[str], settings: AnimateSettings, store: Store) -> Image.Image:
    """A still of the same film: at most eight of its pictures side by side, noise at the left."""
    most = min(8, len(keys))
    chosen = [keys[round(i * (len(keys) - 1) / max(1, most - 1))] for i in range(most)]
    pictures = [open_picture(store, key) for key in chosen]
    return frame(pictures, Heading("from noise to picture", 1), prompt, settings.sheet_tile, most)
