"""The gallery: one HTML file that opens from disk, with every picture inside it."""

import io
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from tasks.animate.encode import MIME, WEBP_QUALITY
from tasks.animate.labels import epoch_label
from tasks.animate.page import GalleryPage
from tasks.animate.shots import by_epoch, open_picture
from tasks.common.curves import loss_curve_svg
from tasks.common.pictures import data_uri
from tasks.common.records import Animation, Sample
from tasks.common.store import Store

MOST_REJECTS_SHOWN = 200
MOVING = ("avif", "webp", "gif")  # the first that there is: the smallest
STRIP_TILE = 256  # px: what a phone or a quarter of a page can show


@dataclass(frozen=True)
class Embedded:
    """A picture as a data: address, with its size in px."""

    src: str
    width: int
    height: int


@dataclass(frozen=True)
class Film:
    """One film of the page: moving, still, and the sheet of every frame."""

    prompt: str
    moving: Embedded
    still: Embedded
    sheet: Embedded


@dataclass(frozen=True)
class Strip:
    """The seeds of one prompt at one epoch, side by side."""

    epoch: int
    label: str
    picture: Embedded


def build_gallery(page: GalleryPage, store: Store) -> bytes:
    """UTF-8 HTML: no other file, no address needed, the same bytes for the same page.

    Raises StoreError when a picture is gone, AnimateError when an epoch lacks a seed.
    """
    prompts = [animation.prompt for animation in page.drift]
    dial = {animation.prompt: animation for animation in page.dial}
    strips = {prompt: prompt_strips(prompt, list(page.samples), store) for prompt in prompts}
    epochs = sorted({sample.epoch for sample in page.samples})
    html = _template().render(
        page=page,
        films=[
            drift(animation, dial.get(animation.prompt), strips[animation.prompt], store) for animation in page.drift
        ],
        denoising=denoising(page.denoising, store) if page.denoising else None,
        strips=strips,
        epochs=[epoch_label(epoch) for epoch in epochs],
        seeds=len({sample.seed for sample in page.samples}),
        curve=loss_curve_svg(page.losses, page.recommended_epoch),
        recommended=None if page.recommended_epoch is None else epoch_label(page.recommended_epoch),
        rejects=page.rejects[:MOST_REJECTS_SHOWN],
    )
    return html.encode()


def drift(animation: Animation, dial: Animation | None, strips: list[Strip], store: Store) -> Film:
    """The film of the straight way, or else of the training, and as its still the last epoch: what there is to see,
    without the motion. The sheet is the training's."""
    sheet = embed_file(animation, ("png",), store)
    return Film(
        animation.prompt, embed_file(dial or animation, ("avif", "webp", "gif"), store), strips[-1].picture, sheet
    )


def denoising(animation: Animation, store: Store) -> Film:
    """The film, and its strip as still and sheet."""
    strip = embed_file(animation, ("png",), store)
    return Film(animation.prompt, embed_file(animation, MOVING, store), strip, strip)


def prompt_strips(prompt: str, samples: list[Sample], store: Store) -> list[Strip]:
    """One strip for each epoch, ascending. Tiny pictures stay as they are, large ones are reduced."""
    strips = []
    for epoch, row in by_epoch(prompt, samples).items():
        pictures = [open_picture(store, sample.key) for sample in row]
        for picture in pictures:
            picture.thumbnail((STRIP_TILE, STRIP_TILE), Image.Resampling.LANCZOS)
        width, height = pictures[0].size
        strip = Image.new("RGB", (width * len(pictures), height))
        for i, picture in enumerate(pictures):
            strip.paste(picture, (i * width, 0))
        strips.append(Strip(epoch, epoch_label(epoch), embed_image(strip)))
    return strips


def embed_file(animation: Animation, endings: tuple[str, ...], store: Store) -> Embedded:
    """The first of these formats that the animation has; a PNG sheet becomes WebP, a tenth of the bytes."""
    files = {file.path.rsplit(".", 1)[-1]: file for file in animation.files}
    ending = next(ending for ending in endings if ending in files)
    data = store.read(files[ending].key)
    with Image.open(io.BytesIO(data)) as image:
        if ending == "png":
            return embed_image(image.convert("RGB"))
        return Embedded(data_uri(data, MIME[ending]), *image.size)


def embed_image(image: Image.Image) -> Embedded:
    """The picture as WebP."""
    data = io.BytesIO()
    image.save(data, "WEBP", quality=WEBP_QUALITY, method=4)
    return Embedded(data_uri(data.getvalue(), MIME["webp"]), *image.size)


def number(value: int) -> str:
    """12345 → "12,345"."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "41 s", "3m 05s", "2h 10m"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("tasks.animate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration}
    return environment.get_template("gallery.html.j2")
