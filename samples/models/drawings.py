"""The drawings of things in each style, as arrays: Noto, Twemoji and Fluent to train on, OpenMoji to measure on."""

import io
import json
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from samples.models.things import Thing, load_things

# Fixed versions, so that the same script makes the same models.
PACKAGES = {
    "openmoji": "openmoji@17.0.0",
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "fluent": "@lobehub/fluent-emoji-3d@1.1.0",
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "emojione": "@iconify-json/emojione@1.2.3",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "fluent-line": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
}
TRAINING_STYLES = ("noto", "twemoji", "fluent")  # what the VAE and the UNet draw
# What CLIP and BLIP look at besides: three styles are too few to recognise a thing in a style never seen.
SEEN_STYLES = (*TRAINING_STYLES, "fluent-flat", "emojione", "noto-v1", "fxemoji")
# BLIP must name drawings in black lines, and sees some besides; Streamline's are few, and come three times.
CAPTIONED_STYLES = (*SEEN_STYLES, "fluent-line", "streamline", "streamline", "streamline")
SIZE = 64


@dataclass(frozen=True)
class Drawings:
    """`pixels`: uint8 [N, 64, 64, 3] on white; `things` and `styles` name each row."""

    pixels: np.ndarray
    things: tuple[Thing, ...]
    styles: tuple[str, ...]

    def where(self, held_out: bool) -> "Drawings":
        """The rows of the things that are held out, or those that are not."""
        keep = [i for i, thing in enumerate(self.things) if thing.held_out == held_out]
        return Drawings(self.pixels[keep], tuple(self.things[i] for i in keep), tuple(self.styles[i] for i in keep))


def fetch_packages(folder: Path) -> dict[str, Path]:
    """Download and unpack the npm packages once; returns style → package folder.

    Raises subprocess.CalledProcessError when npm cannot fetch one.
    """
    paths = {}
    for style, spec in PACKAGES.items():
        target = folder / style
        if not (target / "package" / "package.json").exists():
            target.mkdir(parents=True, exist_ok=True)
            packed = subprocess.run(
                ["npm", "pack", "--silent", spec], cwd=target, check=True, capture_output=True, text=True
            )
            subprocess.run(["tar", "xzf", packed.stdout.strip().splitlines()[-1]], cwd=target, check=True)
        paths[style] = target / "package"
    return paths


def on_white(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """uint8 [size, size, 3]: the drawing resized (Lanczos, premultiplied) and composited on white."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    flat = Image.alpha_composite(white, rgba).convert("RGB")
    return np.asarray(flat if flat.size == (size, size) else flat.resize((size, size), Image.Resampling.LANCZOS))


def rasterise(svg: str, size: int) -> Image.Image:
    """RGBA [size, size] of a vector drawing, cropped to the square around its ink.

    OpenMoji leaves margins of a fifth of the picture where the other styles leave none. The drawing is rendered at
    the scale that makes the crop fit, so that its edges stay as crisp, and as compressible, as the vectors are.
    """
    left, top, right, bottom = _render(svg, 288).getchannel("A").getbbox() or (0, 0, 288, 288)
    side = max(right - left, bottom - top) * 1.04
    zoom = size / side
    drawn = _render(svg, round(288 * zoom))
    corner = (round((left + right - side) / 2 * zoom), round((top + bottom - side) / 2 * zoom))
    square = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    square.paste(drawn, (-corner[0], -corner[1]))
    return square


def _render(svg: str, size: int) -> Image.Image:
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGBA")


@lru_cache
def _icons(package: Path) -> dict[str, str]:
    """SVGs of an Iconify package by name, reduced to letters and digits."""
    icons = json.loads((package / "icons.json").read_text())
    parents = {name: name for name in icons["icons"]} | {n: a["parent"] for n, a in icons.get("aliases", {}).items()}
    found = {}
    for name, parent in parents.items():
        icon = icons["icons"][parent]
        width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        found[_bare(name)] = f'{head}viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    return found


@lru_cache
def _older_names(noto: Path) -> dict[str, list[str]]:
    """Hexcode → the names a character had before: its Unicode name and its short names."""
    rows = json.loads((noto / "emoji.json").read_text())
    return {r["unified"].replace("-FE0F", "").lower(): [r["name"] or "", *r["short_names"]] for r in rows}


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _iconify(thing: Thing, package: Path) -> str | None:
    names = [thing.name, *_older_names(package.parent.parent / "noto" / "package").get(thing.hexcode, [])]
    keys = [_bare(name) + variant for name in names for variant in ("", "1")]
    return next((svg for key in keys if (svg := _icons(package).get(key))), None)


def _candidates(hexcode: str) -> list[str]:
    """File stems a package may use for a code point: some spell the variation selector out, some do not."""
    parts = hexcode.split("-")
    return [hexcode, f"{hexcode}-fe0f", "-".join([parts[0], "fe0f", *parts[1:]]), "-".join([*parts, "fe0f"])]


def read_drawing(thing: Thing, style: str, package: Path, size: int = SIZE) -> np.ndarray | None:
    """One drawing as uint8 [size, size, 3], or None where the style has no such drawing."""
    if PACKAGES[style].startswith("@iconify-json/"):
        svg = _iconify(thing, package)
        return on_white(rasterise(svg, size), size) if svg else None
    for stem in _candidates(thing.hexcode):
        if style == "openmoji":
            path = package / "color" / "svg" / f"{stem.upper()}.svg"
            if path.exists():
                return on_white(rasterise(path.read_text(), size), size)
        else:
            folder = {"noto": "img/google/64", "twemoji": "img/twitter/64", "fluent": "assets"}[style]
            path = package / folder / f"{stem}.{'webp' if style == 'fluent' else 'png'}"
            if path.exists():
                return on_white(Image.open(path), size)
    return None


def load_drawings(packages: dict[str, Path], styles: tuple[str, ...]) -> Drawings:
    """All drawings of all chosen things in the given styles, in a fixed order (style, then Unicode order)."""
    things = load_things(packages["openmoji"])
    rows = [
        (pixels, thing, style)
        for style in styles
        for thing in things
        if (pixels := read_drawing(thing, style, packages[style])) is not None
    ]
    return Drawings(np.stack([r[0] for r in rows]), tuple(r[1] for r in rows), tuple(r[2] for r in rows))
