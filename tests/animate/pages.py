"""Pages of plain pictures whose colours tell which epoch and seed they are."""

import io
from collections.abc import Callable

from PIL import Image

from tasks.animate.films import training_film
from tasks.animate.page import (
    Anchor,
    Anchors,
    Cost,
    Credit,
    Dialled,
    Figure,
    GalleryPage,
    Measured,
    MeasureRow,
    Nearest,
    Recommended,
    StageRow,
    WikiPicture,
)
from tasks.animate.settings import AnimateSettings
from tasks.common.records import EpochLoss, Reject, Sample
from tasks.common.store import Store

SETTINGS = AnimateSettings(tile=64, sheet_tile=32)
PROMPTS, EPOCHS, SEEDS = ("a cat", "a <red> car"), (0, 2, 4), (0, 1)
Draw = Callable[..., Sample]


def drawn_into(store: Store) -> Draw:
    """Puts a plain picture into the store; its colour tells which epoch and seed it is."""

    def one(prompt: str, seed: int, epoch: int, size: int = 32) -> Sample:
        data = io.BytesIO()
        Image.new("RGB", (size, size), (20 * epoch, 60 * seed, 90)).save(data, "PNG")
        return Sample(prompt=prompt, seed=seed, epoch=epoch, key=store.put(data.getvalue()))

    return one


def small_page(store: Store, draw: Draw) -> GalleryPage:
    """Two prompts, three epochs, two seeds; names with what HTML must escape."""
    samples = [draw(prompt, seed, epoch) for prompt in PROMPTS for epoch in EPOCHS for seed in SEEDS]
    return GalleryPage(
        title="Drawing like <Toons>",
        wiki_name="Toons",
        wiki_url="https://wiki.example",
        base_model="A base model",
        base_source="/models/base",
        films=tuple(training_film(prompt, samples, [], SETTINGS, store) for prompt in PROMPTS),
        denoising=tuple(sample.key for sample in samples[:3]),
        denoising_prompt="a cat",
        samples=tuple(samples),
        losses=tuple(EpochLoss(epoch=e, train_loss=0.2 / (e + 1), heldout_loss=0.3 / (e + 1)) for e in range(5)),
        recommended_epoch=2,
        images_trained=1234,
        cost=Cost(
            stages=(StageRow(stage="convert", came_in=1300, out=1234, rejected=66, ran=40, cached=2, seconds=75.2),)
        ),
        rejects=(Reject(title="File:<script>alert(1)</script>.png", sha1="0" * 40, stage="convert", reason="torn"),),
        settings_json='{"tile": 64}',
        credits=(Credit(text="Drawings: Toons, CC BY-SA 4.0", url="https://toons.example"), Credit(text="A base")),
    )  # fmt: skip


def own(draw: Draw, n: int) -> WikiPicture:
    """The n-th drawing of a wiki; its colour is like no sample's."""
    return WikiPicture(
        key=draw("own", n, 12).key, title=f"File:Thing <{n}>.png", uploader="Ann <b>", license="CC-BY-SA-4.0",
        page_url=f"https://wiki.example/{n}", caption=f"a thing, {n}",
    )  # fmt: skip


def full_page(page: GalleryPage, draw: Draw) -> GalleryPage:
    """The same page with all that can be on it."""

    def dialled(prompt: str, seed: int, epoch: int, strength: float) -> Dialled:
        key = draw(prompt, seed, round(10 * strength) if epoch == 4 else epoch).key
        return Dialled(prompt=prompt, seed=seed, epoch=epoch, strength=strength, key=key)

    rows = [
        MeasureRow(
            epoch=e, strength=s, style_distance=Figure(value=9 - e * s, low=8 - e * s, high=10 - e * s),
            style_way=Figure(value=e * s / 5, low=e * s / 5 - 0.1, high=e * s / 5 + 0.1),
            copies=Figure(value=0.05, low=0, high=0.1), heldout_loss=0.1, probe_loss=0.09,
        )
        for e in EPOCHS for s in ((1.0,) if e == 0 else (0.5, 1.0))
    ]  # fmt: skip
    return page.model_copy(
        update={
            "straight": tuple(dialled(p, s, 4, t) for p in PROMPTS for t in (0, 0.5, 1) for s in SEEDS),
            "dial": tuple(dialled("a cat", s, e, t) for e in (2, 4) for t in (0, 0.5, 1, 1.25) for s in SEEDS),
            "measured": Measured(
                rows=tuple(rows),
                anchors=Anchors(style_distance=Anchor(base=9, wiki=1.5)),
                recommended=Recommended(epoch=4, strength=0.5, because="Nearest to the wiki <of all>."),
            ),
            "nearest": tuple(
                Nearest(sample=dialled("a cat", s, 4, 0.5), trained=own(draw, s), similarity=0.7, copied=s == 1)
                for s in SEEDS
            ),
            "dataset": tuple(own(draw, n) for n in range(14)),
            "dataset_rows": 99,
        }
    )
