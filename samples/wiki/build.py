"""Build the sample wiki's files and wiki.json from the npm package openmoji: `python -m samples.wiki.build`.

Everything follows from names by hashing, so the same packages give the same bytes.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from samples.models.drawings import fetch_packages, rasterise
from samples.models.things import Thing, load_things
from samples.wiki import encodings

HERE = Path(__file__).parent
FILES = HERE / "files"
KEPT = 380
LICENCE_TEMPLATE = "Template:CC-BY-SA-4.0"
UPLOADERS = ("Inkpot", "Margin Doodler", "Sketchbook Sam", "Tuesday Cartoons")
FIRST_UPLOAD = datetime(2024, 1, 1, 9, 0, tzinfo=UTC)
SECOND_WAVE = datetime(2024, 3, 9, 18, 0, tzinfo=UTC)

# Drawings a demonstration asks for by name; the rest is an even share of every sub-group.
FEATURED_SUBGROUPS = {"person-fantasy", "person-role", "person", "face-costume"}
FEATURED = {
    "pig face", "pig", "cat face", "cat", "dog face", "dog", "fox", "panda", "lion", "tiger face", "rabbit face",
    "cow face", "horse", "unicorn", "bear", "koala", "monkey face", "mouse face", "frog", "owl", "penguin", "duck",
    "dragon", "octopus", "turtle", "butterfly", "snail", "zebra", "pizza", "hamburger", "hot dog", "doughnut",
    "birthday cake", "ice cream", "red apple", "banana", "strawberry", "watermelon", "rocket", "house", "castle",
    "automobile", "guitar", "teddy bear", "crown", "sunflower", "cactus", "grinning face", "nerd face",
    "smiling face with sunglasses", "cowboy hat face", "loudly crying face", "angry face", "sleeping face",
}  # fmt: skip

CATEGORIES = {
    "Category:Drawings": (),
    "Category:Faces": ("Category:Drawings",),
    "Category:Cat faces": ("Category:Faces", "Category:Animals"),
    "Category:People": ("Category:Drawings",),
    "Category:Fantasy people": ("Category:People",),
    "Category:Animals": ("Category:Drawings",),
    "Category:Birds": ("Category:Animals",),
    "Category:Sea animals": ("Category:Animals",),
    "Category:Plants": ("Category:Drawings",),
    "Category:Food": ("Category:Drawings",),
    "Category:Drinks": ("Category:Food",),
    "Category:Objects": ("Category:Drawings",),
    "Category:Places and vehicles": ("Category:Drawings",),
    "Category:Site files": (),
}

# How many drawings take each format, in the order of their names' hashes; all others are PNG with alpha.
FORMATS: list[tuple[int, str, Callable[[Image.Image], bytes]]] = [
    (34, "png", encodings.png_palette),
    (20, "gif", encodings.gif),
    (4, "gif", encodings.gif_animated),
    (34, "webp", encodings.webp),
    (22, "jpg", encodings.jpeg),
    (20, "jpg", encodings.jpeg_progressive),
    (3, "jpg", encodings.jpeg_with_profile),
    (5, "jpg", encodings.jpeg_cmyk),
    (5, "jpg", encodings.jpeg_sideways),
    (3, "png", encodings.png_hidden_colour),
]
FIXED_FORMATS = {
    "ghost": ("png", encodings.png_grey_alpha),
    "zebra": ("png", encodings.png_grey_16),
    "koala": ("jpg", encodings.png),  # a PNG that somebody named .jpg
    "panda": ("png", encodings.png),  # saved again with other bytes below
    "fox": ("png", encodings.png),  # uploaded again in the second wave
}
ALIASES = {"pig face": "Piggy", "fox": "Reynard", "pizza": "Slice of pizza", "robot": "Tin man"}
MIMES = {"PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "JPEG": "image/jpeg"}
ERROR_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>the upload server is busy</body></html>\n"


@dataclass(frozen=True)
class Upload:
    """One file of the wiki: its bytes, and what its page says."""

    name: str
    data: bytes
    description: str
    categories: tuple[str, ...]
    wave: int = 1


def number_of(text: str, purpose: str) -> int:
    """A 64-bit number fixed by a text and what it is for."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{text}".encode()).digest()[:8], "big")


def choose(things: list[Thing]) -> tuple[list[Thing], list[Thing]]:
    """(the things of the first wave, the others): the featured ones, and an even share of every sub-group."""
    featured = {t for t in things if t.name in FEATURED or t.subgroup in FEATURED_SUBGROUPS}
    rest = [t for t in things if t not in featured]
    by_group: dict[str, list[Thing]] = {}
    for thing in sorted(rest, key=lambda t: number_of(t.name, "choose")):
        by_group.setdefault(thing.subgroup, []).append(thing)
    # Rank inside the own sub-group as a share of it: cutting by that takes the same share of each.
    share = {t: (i + 0.5) / len(group) for group in by_group.values() for i, t in enumerate(group)}
    ranked = sorted(rest, key=lambda t: (share[t], t.name))
    kept = featured | set(ranked[: KEPT - len(featured)])
    return [t for t in things if t in kept], [t for t in things if t not in kept]


@cache
def drawing_paths(openmoji: Path) -> dict[str, Path]:
    """Hexcode without variation selectors, lower case → the drawing's SVG."""
    return {p.stem.replace("-FE0F", "").lower(): p for p in sorted((openmoji / "color" / "svg").glob("*.svg"))}


def draw(thing: Thing, openmoji: Path, purpose: str = "size") -> Image.Image:
    """The drawing as RGBA, 200–420 px a side, one in six on a wider or taller canvas, as uploads come."""
    side = 200 + number_of(thing.name, purpose) % 56 * 4
    svg = drawing_paths(openmoji)[thing.hexcode]
    drawing = rasterise(svg.read_text(), side)
    shape = number_of(thing.name, "shape") % 12
    if shape > 1:
        return drawing
    longer = min(420, side * 5 // 4)
    canvas = Image.new("RGBA", (longer, side) if shape else (side, longer))
    canvas.paste(drawing, ((canvas.width - side) // 2, (canvas.height - side) // 2))
    return canvas


def category_of(thing: Thing) -> str:
    """The one category a drawing is filed under."""
    special = {
        "cat-face": "Category:Cat faces",
        "person-fantasy": "Category:Fantasy people",
        "animal-bird": "Category:Birds",
        "animal-marine": "Category:Sea animals",
        "plant-flower": "Category:Plants",
        "plant-other": "Category:Plants",
        "drink": "Category:Drinks",
        "face-costume": "Category:Faces",
    }
    groups = {
        "smileys-emotion": "Category:Faces",
        "people-body": "Category:People",
        "animals-nature": "Category:Animals",
        "food-drink": "Category:Food",
        "travel-places": "Category:Places and vehicles",
    }
    return special.get(thing.subgroup) or groups.get(thing.group, "Category:Objects")


def formats_for(things: list[Thing]) -> dict[str, tuple[str, Callable[[Image.Image], bytes]]]:
    """Thing name → (extension, encoder)."""
    formats = {t.name: ("png", encodings.png) for t in things}
    ordered = sorted((t for t in things if t.name not in FIXED_FORMATS), key=lambda t: number_of(t.name, "format"))
    start = 0
    for count, extension, encode in FORMATS:
        formats |= {t.name: (extension, encode) for t in ordered[start : start + count]}
        start += count
    return formats | {name: fixed for name, fixed in FIXED_FORMATS.items() if name in formats}


def uploads(openmoji: Path) -> list[Upload]:
    """Every upload of both waves, in order of time."""
    authors = {r["hexcode"].replace("-FE0F", "").lower(): r["openmoji_author"] for r in _rows(openmoji)}
    things = load_things(openmoji)
    first, others = choose(things)
    formats = formats_for(first)

    def page(thing: Thing, name: str, data: bytes, wave: int = 1) -> Upload:
        words = f"{thing.caption[0].upper()}{thing.caption[1:]}. Drawn by {authors[thing.hexcode]} for OpenMoji."
        return Upload(name, data, words, (category_of(thing),), wave)

    drawn = {t.name: draw(t, openmoji) for t in first}
    found = {t.name: t for t in things}
    by_hash = sorted(first, key=lambda t: number_of(t.name, "upload order"))
    result = []
    for thing in by_hash:
        extension, encode = formats[thing.name]
        result.append(page(thing, f"{title_case(thing.name)}.{extension}", encode(drawn[thing.name])))
    first_data = {u.name.rsplit(".", 1)[0]: u for u in result}
    for name, alias in ALIASES.items():
        original = first_data[title_case(name)]
        result.append(page(found[name], f"{alias}.{original.name.rsplit('.', 1)[1]}", original.data))
    result += _odd_ones(found, drawn, page)
    result += _second_wave(others, found, first_data["Robot"], openmoji, page)
    return result


def _odd_ones(found: dict[str, Thing], drawn: dict[str, Image.Image], page: Callable[..., Upload]) -> list[Upload]:
    """What every wiki collects beside its pictures: copies, broken uploads, icons, banners."""
    site = ("Category:Site files",)
    icon = drawn["rocket"].resize((16, 16), Image.Resampling.LANCZOS)
    row = [drawn[name] for name in ("pig face", "robot", "fox", "pizza", "unicorn", "rocket", "owl", "castle")]
    return [
        page(found["panda"], "Panda saved again.png", encodings.png_again(drawn["panda"])),
        page(found["dragon"], "Dragon (broken upload).jpg", encodings.jpeg_truncated(drawn["dragon"])),
        Upload("Old logo.jpg", ERROR_PAGE, "The logo of the old site.", site),
        Upload("Icon rocket.png", encodings.png(icon), "Icon for the navigation box, after OpenMoji.", site),
        Upload("Site banner.png", encodings.banner(row), "The banner of the front page, after OpenMoji.", site),
    ]


def _second_wave(
    others: list[Thing], found: dict[str, Thing], known: Upload, openmoji: Path, page: Callable[..., Upload]
) -> list[Upload]:
    """Ten later uploads: eight new drawings, a known file under a new title, and a re-upload of the fox."""
    new = sorted(others, key=lambda t: number_of(t.name, "second wave"))[:8]
    result = [page(t, f"{title_case(t.name)}.png", encodings.png(draw(t, openmoji)), 2) for t in new]
    result.append(page(found["robot"], f"Robot, front view.{known.name.rsplit('.', 1)[1]}", known.data, 2))
    larger = draw(found["fox"], openmoji, "second size")
    return [*result, page(found["fox"], "Fox.png", encodings.png(larger), 2)]


def title_case(name: str) -> str:
    """A file's name as MediaWiki writes it: first letter upper case, no characters a title cannot hold."""
    clean = name.replace("#", "").replace("/", "-")
    return clean[0].upper() + clean[1:]


def _rows(openmoji: Path) -> list[dict[str, Any]]:
    return json.loads((openmoji / "data" / "openmoji.json").read_text())


def measure(data: bytes) -> tuple[int, int, str]:
    """(width, height, mime) as MediaWiki finds them: by content, after EXIF orientation; 0 × 0 for no image."""
    if data.startswith(b"<html"):
        return 0, 0, "text/html"
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    if image.getexif().get(0x0112) in (5, 6, 7, 8):
        width, height = height, width
    return width, height, MIMES[image.format or ""]


def describe(upload: Upload, index: int) -> dict[str, Any]:
    """The row of wiki.json for one upload, without its file."""
    width, height, mime = measure(upload.data)
    # Every fifth upload shares its time with the one before, as on a wiki where a bot uploads many files a second.
    base = FIRST_UPLOAD if upload.wave == 1 else SECOND_WAVE
    time = base + timedelta(minutes=7 * (index - (index % 5 == 4)))
    return {
        "title": f"File:{upload.name}",
        "uploader": UPLOADERS[number_of(upload.name, "uploader") % len(UPLOADERS)],
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "description": upload.description,
        "categories": list(upload.categories),
        "template": LICENCE_TEMPLATE,
        "sha1": hashlib.sha1(upload.data).hexdigest(),
        "size": len(upload.data),
        "width": width,
        "height": height,
        "mime": mime,
        "wave": upload.wave,
    }


def build(openmoji: Path, files: Path) -> dict[str, Any]:
    """Write all files into the folder `files` (emptied first) and return the content of wiki.json."""
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    rows, written = [], {}
    for index, upload in enumerate(uploads(openmoji)):
        row = describe(upload, index)
        stem = upload.name.replace(" ", "_")
        # Equal bytes are kept once; a re-upload must not replace the first wave's file.
        path = written.setdefault(row["sha1"], stem if upload.wave == 1 else f"second_wave/{stem}")
        (files / path).parent.mkdir(exist_ok=True)
        (files / path).write_bytes(upload.data)
        rows.append(row | {"file": path})
    site = {
        "name": "Doodlepedia, the sample wiki",
        "rights_text": "CC BY-SA 4.0",
        "rights_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "credit": "All drawings by the OpenMoji project, https://openmoji.org",
    }
    return {"site": site, "categories": {k: list(v) for k, v in CATEGORIES.items()}, "files": rows}


def main() -> None:
    """Build into this folder and say what came out."""
    openmoji = fetch_packages(Path(".work/npm"))["openmoji"]
    wiki = build(openmoji, FILES)
    (HERE / "wiki.json").write_text(json.dumps(wiki, indent=1, ensure_ascii=False) + "\n")
    total = sum(f.stat().st_size for f in FILES.rglob("*") if f.is_file())
    print(f"{len(wiki['files'])} uploads, {total / 1e6:.2f} MB in {FILES}")


if __name__ == "__main__":
    main()
