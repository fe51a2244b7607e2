"""The gallery: one HTML file that opens from disk, with every picture inside it."""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from tasks.animate.charts import MeasureChart, measure_charts
from tasks.animate.embed import Pictures
from tasks.animate.encode import MIME
from tasks.animate.labels import epoch_label
from tasks.animate.page import Dialled, GalleryPage, MeasureRow, Nearest, Recommended, WikiPicture
from tasks.animate.players import Dial, Player, Times, noise_player, straight_player, style_dial, training_player
from tasks.animate.share import share_sheet
from tasks.animate.words import FILTERS
from tasks.common.curves import loss_curve_svg
from tasks.common.pictures import data_uri, evenly
from tasks.common.records import Animation
from tasks.common.store import Store

MOST_REJECTS_SHOWN = 200
PICTURES_ROOM = (
    30_000_000  # bytes of base64, give or take a tenth; with films, sheet and words a page stays below 40 MB
)
FILMS_ROOM = 4_000_000  # bytes of films to keep in the page; larger ones are read from the folder beside it
THUMBNAIL, STRIP = 224, 12  # px of a wiki's drawing, and how many of them come first


@dataclass(frozen=True)
class Download:
    """A file to keep: from the page itself, or from the run's folder in which the page lies."""

    name: str
    href: str
    what: str
    bytes: int


@dataclass(frozen=True)
class Thumbnail:
    """A drawing of the wiki, by its number among the pictures; width and height in px."""

    picture: int
    size: tuple[int, int]
    of: WikiPicture


@dataclass(frozen=True)
class Pair:
    """A sample beside the trained picture nearest to it, by their numbers among the pictures."""

    sample: Dialled
    picture: int
    size: tuple[int, int]
    trained: Thumbnail
    similarity: float
    copied: bool


@dataclass(frozen=True)
class Sheet:
    """The sheet to share as a data: address, with its size in px."""

    src: str
    width: int
    height: int


@dataclass(frozen=True)
class View:
    """What the template shows beside the page's own facts."""

    hero: Player | None
    training: Player | None
    straight: list[Player]
    noise: Player | None
    dial: Dial | None
    dataset: list[Thumbnail]
    nearest: list[Pair]
    charts: list[MeasureChart]
    rows: list[MeasureRow]
    downloads: dict[str, list[Download]]
    recommended: str | None
    after: int  # which shot of the training is set against the first


def build_gallery(page: GalleryPage, store: Store) -> bytes:
    """UTF-8 HTML: no other file, no address needed, the same bytes for the same page.

    Raises StoreError when a picture is gone, AnimateError when an epoch lacks a seed.
    """
    pool = Pictures(store)
    view = _view(page, pool)
    best = _judged(page)
    marked = best.epoch if best else page.recommended_epoch
    curve = loss_curve_svg(page.losses, marked)
    html = _template().render(
        page=page,
        view=view,
        menu=_menu(page, view, bool(curve)),
        pictures=pool.encoded(PICTURES_ROOM),
        strip=evenly(view.dataset, STRIP),
        curve=curve,
        marked=marked,
        share=_sheet(page, store),
        rejects=page.rejects[:MOST_REJECTS_SHOWN],
    )
    return html.encode()


def _view(page: GalleryPage, pool: Pictures) -> View:
    times = Times(page.frame_ms, page.hold_last_ms)
    prompts = list(dict.fromkeys(sample.prompt for sample in page.samples))
    training = training_player("training-player", prompts, page.samples, times, pool) if prompts else None
    ways = [
        [d for d in page.straight if d.prompt == prompt] for prompt in dict.fromkeys(d.prompt for d in page.straight)
    ]
    straight = [straight_player(f"way-{i}", way, times, pool) for i, way in enumerate(ways)]
    hero = straight[0] if straight else None
    if hero is None and prompts:
        hero = replace(training_player("hero", prompts[:1], page.samples, times, pool), autoplay=True)
    best = _judged(page)
    at = (best.epoch, best.strength) if best else (None, None)
    return View(
        hero=hero,
        training=training,
        straight=straight,
        noise=noise_player("noise", page.denoising_prompt, page.denoising, times, pool) if page.denoising else None,
        dial=style_dial(page.dial, at, pool) if page.dial else None,
        dataset=[_thumbnail(picture, pool) for picture in page.dataset],
        nearest=[_pair(near, pool) for near in page.nearest],
        charts=measure_charts(page.measured) if page.measured else [],
        rows=sorted(page.measured.rows, key=lambda row: (row.epoch, row.strength)) if page.measured else [],
        downloads=_downloads(page.films, pool.store),
        recommended=_recommended(page),
        after=_after(page, training),
    )


def _menu(page: GalleryPage, view: View, curve: bool) -> list[tuple[str, str]]:
    """Id and name of each section there is."""
    sections = (
        ("film", "Film", view.hero),
        ("wiki", "The wiki", view.dataset),
        ("dial", "Dial", view.dial),
        ("ways", "All films", view.straight[1:]),
        ("training", "Epochs", view.training),
        ("before", "Before and after", view.training),
        ("seeds", "Seeds", view.training),
        ("noise-film", "Noise", view.noise),
        ("measures", "Which epoch?", curve or view.charts or _judged(page)),
        ("nearest", "Copies?", view.nearest),
        ("dataset", "Dataset", view.dataset or page.rejects),
        ("made", "Cost", True),
        ("share", "Share", page.samples or page.films),
        ("credits", "Credits", True),
    )
    return [(name, words) for name, words, there in sections if there]


def _judged(page: GalleryPage) -> Recommended | None:
    return page.measured.recommended if page.measured else None


def _recommended(page: GalleryPage) -> str | None:
    """The point that the measures recommend; without measures the epoch at which the held-out loss turns."""
    best = _judged(page)
    if best is None:
        return None if page.recommended_epoch is None else epoch_label(page.recommended_epoch)
    if best.epoch is None:
        return None
    strength = "" if best.strength in (None, 1) else f" at {best.strength:g}"
    return epoch_label(best.epoch) + strength


def _after(page: GalleryPage, training: Player | None) -> int:
    """The shot of the epoch that the measures recommend, else the last."""
    best = _judged(page)
    epochs = [shot.epoch for shot in training.shots] if training else [0]
    return epochs.index(best.epoch) if best and best.epoch in epochs else len(epochs) - 1


def _thumbnail(picture: WikiPicture, pool: Pictures) -> Thumbnail:
    return Thumbnail(pool.use(picture.key, THUMBNAIL), pool.size(picture.key), picture)


def _pair(near: Nearest, pool: Pictures) -> Pair:
    number, size = pool.use(near.sample.key), pool.size(near.sample.key)
    return Pair(near.sample, number, size, _thumbnail(near.trained, pool), near.similarity, near.copied)


def _sheet(page: GalleryPage, store: Store) -> Sheet | None:
    sheet = share_sheet(page, store)
    if sheet is None:
        return None
    with Image.open(io.BytesIO(sheet)) as image:
        return Sheet(data_uri(sheet), *image.size)


def _downloads(films: tuple[Animation, ...], store: Store) -> dict[str, list[Download]]:
    """The files of the films of each prompt, the smallest of each film inside the page as long as there is room."""
    found: dict[str, list[Download]] = {film.prompt: [] for film in films}
    room = FILMS_ROOM
    for film in films:
        moving = [file for file in film.files if not file.path.endswith(".png")]
        inside = min(moving, key=lambda file: file.bytes, default=None)
        for file in film.files:
            path = PurePosixPath(file.path)
            href, ending = f"../gifs/{path}", path.suffix[1:]
            if file is inside and file.bytes <= room:
                room -= file.bytes
                href = data_uri(store.read(file.key), MIME.get(ending, "application/octet-stream"))
            what = f"{film.kind} sheet" if ending == "png" else film.kind
            found[film.prompt].append(Download(f"{film.kind}-{path.name}", href, f"{what}, {ending}", file.bytes))
    return found


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("tasks.animate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("gallery.html.j2")
