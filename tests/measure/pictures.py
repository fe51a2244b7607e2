"""Real pictures to measure: the sample wiki's drawings, and what the shipped base model once drew."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CLIP = SAMPLES / "models" / "clip"
SIDE = 64


@cache
def wiki_drawings() -> tuple[Image.Image, ...]:
    """380 or so drawings on white, 64 px square, in an order of chance that is always the same."""
    found = []
    for path in sorted((SAMPLES / "wiki" / "files").iterdir()):
        try:
            with Image.open(path) as opened:
                whole = opened.convert("RGBA")
        except OSError:
            continue
        flat = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
        if min(flat.size) >= SIDE:
            found.append(flat.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return tuple(found[i] for i in np.random.default_rng(0).permutation(len(found)))


@cache
def base_pictures() -> tuple[Image.Image, ...]:
    """200 pictures drawn by the shipped base: 50 things, four seeds of each, from its card's contact sheet."""
    sheet = Image.open(SAMPLES / "models" / "base" / "contact-sheet.png").convert("RGB")
    corners = [(x, y) for y in range(0, sheet.height, SIDE) for x in range(0, sheet.width, SIDE)]
    return tuple(sheet.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners)
